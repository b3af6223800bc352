"""Xorbs: up to 64 MiB of compressed chunks in one object (hub-docs docs/xet/xorb.md)."""

import io
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, NamedTuple

import lz4.frame

from models_registry.xet.formats.errors import XetFormatError
from models_registry.xet.formats.hashes import HASH_BYTES, chunk_hash, hash_to_hex, node_hash

CHUNK_HEADER_BYTES = 8
CHUNK_MAX_BYTES = 128 * 1024  # the specification's limit for one plain chunk
XORB_PACKED_MAX_BYTES = 64 * 1024 * 1024  # the specification's limit, counted without the headers
XORB_BODY_MAX_BYTES = 65 * 1024 * 1024  # room for the headers and the footer of older clients
XORB_MAX_CHUNKS = 32 * 1024  # four times what the reference client puts into one xorb
XORB_UNPACKED_MAX_BYTES = 1024 * 1024 * 1024  # what the reference client's 8,192 chunks can unpack to at most

SCHEME_NONE, SCHEME_LZ4, SCHEME_BYTE_GROUPED_LZ4 = 0, 1, 2
_FOOTER_IDENT = b"XETBLOB"
_FOOTER_MAX_BYTES = XORB_BODY_MAX_BYTES - XORB_PACKED_MAX_BYTES
_INDEX_MAGIC = b"xix1"


class Chunk(NamedTuple):
    """One chunk: its header stands at `offset`, its packed bytes behind it."""

    offset: int
    compressed_len: int
    scheme: int
    uncompressed_len: int
    hash: bytes


@dataclass(frozen=True)
class XorbIndex:
    """Where the chunks of one verified xorb lie. Cheap to keep: 40 bytes a chunk."""

    hash_hex: str
    headers: bytes  # n × 8 bytes, as on the wire
    hashes: bytes  # n × 32 bytes

    def __len__(self) -> int:
        return len(self.hashes) // HASH_BYTES

    @cached_property
    def offsets(self) -> "array[int]":
        """Where each chunk's header starts, and last where the chunks end: `n + 1` numbers of bytes."""
        offsets, position = array("Q", [0]), 0
        for at in range(0, len(self.headers), CHUNK_HEADER_BYTES):
            position += CHUNK_HEADER_BYTES + _u24(self.headers, at + 1)
            offsets.append(position)
        return offsets

    @cached_property
    def unpacked_lengths(self) -> "array[int]":
        """The plain length of each chunk in bytes."""
        return array("I", (_u24(self.headers, at + 5) for at in range(0, len(self.headers), CHUNK_HEADER_BYTES)))

    def packed_between(self, start: int, end: int) -> int:
        """The bytes which chunks `start` up to `end` (not included) take, with their headers. No table is built."""
        part = self.headers[start * CHUNK_HEADER_BYTES : end * CHUNK_HEADER_BYTES]
        low, middle, high = (sum(part[at::CHUNK_HEADER_BYTES]) for at in (1, 2, 3))
        return len(part) + low + (middle << 8) + (high << 16)

    @property
    def serialized_length(self) -> int:
        """The length of the chunks with their headers, in bytes, without a footer: what is worth storing."""
        return self.packed_between(0, len(self))

    @property
    def chunks(self) -> list[Chunk]:
        """Every chunk in order."""
        return [self.chunk(number) for number in range(len(self))]

    def chunk(self, number: int) -> Chunk:
        at = number * CHUNK_HEADER_BYTES
        return Chunk(
            self.offsets[number],
            _u24(self.headers, at + 1),
            self.headers[at + 4],
            self.unpacked_lengths[number],
            self.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES],
        )

    def to_bytes(self) -> bytes:
        """For a database column. `from_bytes` reads it back."""
        return _INDEX_MAGIC + bytes.fromhex(self.hash_hex) + self.headers + self.hashes

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "XorbIndex":
        """Read what `to_bytes` wrote. XetFormatError when it is something else."""
        data = bytes(data)
        start = len(_INDEX_MAGIC) + HASH_BYTES
        count, rest = divmod(len(data) - start, CHUNK_HEADER_BYTES + HASH_BYTES)
        if not data.startswith(_INDEX_MAGIC) or rest or count < 1:
            raise XetFormatError("The stored index of this xorb is damaged; upload the xorb again.")
        hashes_at = start + count * CHUNK_HEADER_BYTES
        return cls(data[len(_INDEX_MAGIC) : start].hex(), data[start:hashes_at], data[hashes_at:])


def read_xorb(body: bytes | bytearray | memoryview | BinaryIO, expected_hash_hex: str | None = None) -> XorbIndex:
    """Check a serialized xorb, given as bytes or as a seekable binary file, and return its index.

    Every chunk is unpacked (never past 128 KiB at a time) and hashed. A footer which starts with `XETBLOB`, as older
    clients send it, is allowed and ignored: store only the first `serialized_length` bytes. Raises XetFormatError on
    anything outside the specification, and where the hash is not `expected_hash_hex`.
    """
    file = io.BytesIO(body) if isinstance(body, bytes | bytearray | memoryview) else body
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    if length > XORB_BODY_MAX_BYTES:
        raise XetFormatError("A xorb may have 64 MiB at most; split the upload into smaller ones.")
    headers, hashes, lengths = bytearray(), bytearray(), array("I")
    packed, unpacked, position = 0, 0, 0
    while position < length:
        head = _read_exactly(file, min(CHUNK_HEADER_BYTES, length - position))
        if head.startswith(_FOOTER_IDENT):
            _check_footer(file, length - position)
            break
        header = _check_header(head, len(lengths))
        packed += header.compressed_len
        unpacked += header.uncompressed_len
        if packed > XORB_PACKED_MAX_BYTES or unpacked > XORB_UNPACKED_MAX_BYTES or len(lengths) >= XORB_MAX_CHUNKS:
            raise XetFormatError(
                f"A xorb may hold {XORB_MAX_CHUNKS:,} chunks and 64 MiB (1 GiB unpacked) at most; this one holds more."
            )
        if header.compressed_len > length - position - CHUNK_HEADER_BYTES:
            raise XetFormatError(f"The xorb ends in the middle of chunk {len(lengths)}; send it again.")
        plain = _unpack(_read_exactly(file, header.compressed_len), header, len(lengths))
        headers += head
        hashes += chunk_hash(plain)
        lengths.append(len(plain))
        position += CHUNK_HEADER_BYTES + header.compressed_len
    if not lengths:
        raise XetFormatError("The xorb holds no chunk; send the serialized chunks as the request's body.")
    root = node_hash((bytes(hashes[i * HASH_BYTES : (i + 1) * HASH_BYTES]), size) for i, size in enumerate(lengths))
    hash_hex = hash_to_hex(root)
    if expected_hash_hex is not None and hash_hex != expected_hash_hex:
        raise XetFormatError(f"The xorb's hash is {hash_hex} and not {expected_hash_hex}; send it again.")
    return XorbIndex(hash_hex, bytes(headers), bytes(hashes))


def decode_chunks(file: BinaryIO, index: XorbIndex, start: int, end: int) -> Iterator[bytes]:
    """Yield the plain bytes of chunks `start` up to `end` (not included) from a file of the serialized xorb.

    The file is sought once and then read forward. XetFormatError when the range or the file does not match the index.
    """
    if not 0 <= start < end <= len(index):
        raise XetFormatError(f"Chunks {start} to {end} were asked for; this xorb holds {len(index)}.")
    file.seek(index.offsets[start])
    for number in range(start, end):
        header = index.chunk(number)
        record = _read_exactly(file, CHUNK_HEADER_BYTES + header.compressed_len)
        at = number * CHUNK_HEADER_BYTES
        if record[:CHUNK_HEADER_BYTES] != index.headers[at : at + CHUNK_HEADER_BYTES]:
            raise XetFormatError(f"Chunk {number} of the stored xorb {index.hash_hex} is damaged.")
        yield _unpack(record[CHUNK_HEADER_BYTES:], header, number)


def _check_header(head: bytes, number: int) -> Chunk:
    if len(head) < CHUNK_HEADER_BYTES:
        raise XetFormatError(f"The xorb ends in the middle of the header of chunk {number}; send it again.")
    header = Chunk(0, _u24(head, 1), head[4], _u24(head, 5), b"")
    if head[0] != 0:
        raise XetFormatError(f"Chunk {number} has version {head[0]}; only version 0 is known.")
    if header.scheme not in (SCHEME_NONE, SCHEME_LZ4, SCHEME_BYTE_GROUPED_LZ4):
        raise XetFormatError(f"Chunk {number} has compression scheme {header.scheme}; only 0, 1 and 2 are known.")
    if not 0 < header.uncompressed_len <= CHUNK_MAX_BYTES:
        raise XetFormatError(f"Chunk {number} states {header.uncompressed_len:,} bytes; a chunk has 1 to 131,072.")
    return header


def _unpack(data: bytes, header: Chunk, number: int) -> bytes:
    plain = data if header.scheme == SCHEME_NONE else _lz4(data, header.uncompressed_len, number)
    if len(plain) != header.uncompressed_len:
        raise XetFormatError(
            f"Chunk {number} does not unpack to the {header.uncompressed_len:,} bytes which it states."
        )
    return _ungroup(plain) if header.scheme == SCHEME_BYTE_GROUPED_LZ4 else plain


def _lz4(data: bytes, stated_len: int, number: int) -> bytes:
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        # One byte more than stated, so that a frame which goes on is noticed and never expands further.
        plain = decompressor.decompress(data, max_length=stated_len + 1)
    except (RuntimeError, ValueError, EOFError, MemoryError) as error:
        raise XetFormatError(f"Chunk {number} is not a whole LZ4 frame; send the xorb again.") from error
    if len(plain) == stated_len and (not decompressor.eof or decompressor.unused_data):
        raise XetFormatError(f"Chunk {number} is not exactly one LZ4 frame; send the xorb again.")
    return plain


def _ungroup(grouped: bytes) -> bytes:
    plain, position = bytearray(len(grouped)), 0
    for lane in range(4):
        count = (len(grouped) - lane + 3) // 4
        plain[lane::4] = grouped[position : position + count]
        position += count
    return bytes(plain)


def _check_footer(file: BinaryIO, footer_len: int) -> None:
    # The last four bytes of a footer give its length without themselves; that tells it from rubbish.
    footer = file.read(_FOOTER_MAX_BYTES + 1)
    if int.from_bytes(footer[-4:], "little") != footer_len - 4 or footer_len != len(footer) + CHUNK_HEADER_BYTES:
        raise XetFormatError("What follows the last chunk is not a whole footer; send the chunks alone.")


def _read_exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    while len(data) < size:
        more = file.read(size - len(data))
        if not more:
            raise XetFormatError("The xorb's file ends too early.")
        data += more
    return data


def _u24(data: bytes, at: int) -> int:
    return data[at] | data[at + 1] << 8 | data[at + 2] << 16
