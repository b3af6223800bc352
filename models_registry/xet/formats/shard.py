"""Uploaded shards: which xorb ranges make up which files (hub-docs docs/xet/shard.md)."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from models_registry.xet.formats.errors import XetFormatError
from models_registry.xet.formats.hashes import HASH_BYTES, hash_to_hex

SHARD_BODY_MAX_BYTES = 64 * 1024 * 1024
SHARD_MAX_SEGMENTS = 256 * 1024  # runs of chunks of all files together
SHARD_MAX_CHUNKS = 8 * 1024 * 1024  # chunks that all files together may refer to: 512 GiB in chunks of 64 KiB

TAG = b"HFRepoMetaData" + bytes.fromhex("00556967456a7b815783a5bdd95ccdd14aa9")
VERSION, HEADER_BYTES = 2, 48
_ENTRY_BYTES = 48
_BOOKEND_HASH = b"\xff" * HASH_BYTES
BOOKEND = _BOOKEND_HASH + bytes(16)
_WITH_VERIFICATION, _WITH_SHA256 = 1 << 31, 1 << 30
FOOTER_BYTES = 200


@dataclass(frozen=True)
class Segment:
    """A run of chunks of one xorb: `start` up to `end` (not included), `unpacked_bytes` long when plain."""

    xorb_hash_hex: str
    unpacked_bytes: int
    start: int
    end: int


@dataclass(frozen=True)
class ShardFile:
    """A file as the sender describes it. Nothing of it is verified yet."""

    file_hash_hex: str
    segments: list[Segment]
    verification: list[bytes] | None  # one 32-byte hash a segment
    sha256_hex: str | None  # the ordinary hexadecimal form

    @property
    def size_bytes(self) -> int:
        return sum(segment.unpacked_bytes for segment in self.segments)


@dataclass(frozen=True)
class ShardXorb:
    """A xorb as the sender lists it; `chunks` are `(hash, start_bytes, unpacked_bytes)`."""

    hash_hex: str
    unpacked_bytes: int
    serialized_bytes: int
    chunks: list[tuple[bytes, int, int]]


@dataclass(frozen=True)
class Shard:
    files: list[ShardFile]
    xorbs: list[ShardXorb]


def parse_shard(body: bytes | memoryview) -> list[ShardFile]:
    """The files that an uploaded shard registers, in its order. XetFormatError when the body is no whole shard."""
    reader = _opened(body)
    files = _read_files(reader)
    for _ in _xorb_blocks(reader):  # nothing is kept of them: they are what the sender says, and known already
        pass
    _require_end(reader)
    return files


def read_shard(body: bytes | memoryview) -> Shard:
    """The whole of an uploaded shard. XetFormatError when the body is cut, hostile or of another version.

    A footer, as older clients send it, is allowed and ignored.
    """
    reader = _opened(body)
    files = _read_files(reader)
    xorbs = _read_xorbs(reader)
    _require_end(reader)
    return Shard(files, xorbs)


def _opened(body: bytes | memoryview) -> "_Reader":
    if len(body) > SHARD_BODY_MAX_BYTES:
        raise XetFormatError("A shard may have 64 MiB at most; split the upload into smaller ones.")
    reader = _Reader(bytes(body))
    tag, version, footer_bytes = reader.take("<32sQQ", "header")
    if tag != TAG:
        raise XetFormatError("This is not a Xet shard: it does not start with the shard's tag.")
    if version != VERSION:
        raise XetFormatError(f"The shard has version {version}; only version {VERSION} is known.")
    if footer_bytes not in (0, FOOTER_BYTES):
        raise XetFormatError("The shard states a footer of an unknown length; send it without one.")
    reader.footer_bytes = footer_bytes
    return reader


def _require_end(reader: "_Reader") -> None:
    if reader.left < reader.footer_bytes or (reader.left and not reader.footer_bytes):
        raise XetFormatError("The shard does not end where its last block ends; send it again.")


def _read_files(reader: "_Reader") -> list[ShardFile]:
    files: list[ShardFile] = []
    chunks = segment_count = 0
    while True:
        file_hash, flags, count, _ = reader.take("<32sIIQ", "file list")
        if file_hash == _BOOKEND_HASH:
            break
        reader.expect(count * (2 if flags & _WITH_VERIFICATION else 1), "file")
        segment_count += max(count, 1)  # empty files cost memory too
        if segment_count > SHARD_MAX_SEGMENTS:
            raise XetFormatError("The shard has more than 262,144 runs of chunks; upload fewer files at a time.")
        segments = [_read_segment(reader) for _ in range(count)]
        chunks += sum(segment.end - segment.start for segment in segments)
        if chunks > SHARD_MAX_CHUNKS:
            raise XetFormatError("The shard refers to more than 512 GiB of chunks; upload fewer files at a time.")
        verification = None
        if flags & _WITH_VERIFICATION:
            verification = [reader.take("<32s16x", "verification entry")[0] for _ in range(count)]
        sha256_hex = None
        if flags & _WITH_SHA256:
            sha256_hex = hash_to_hex(reader.take("<32s16x", "sha256 entry")[0])
        files.append(ShardFile(hash_to_hex(file_hash), segments, verification, sha256_hex))
    return files


def _read_segment(reader: "_Reader") -> Segment:
    xorb_hash, _flags, unpacked_bytes, start, end = reader.take("<32sIIII", "segment")
    if start >= end:
        raise XetFormatError("The shard has a segment without chunks; send it again.")
    return Segment(hash_to_hex(xorb_hash), unpacked_bytes, start, end)


def _read_xorbs(reader: "_Reader") -> list[ShardXorb]:
    return [
        ShardXorb(
            hash_to_hex(xorb_hash),
            unpacked_bytes,
            serialized_bytes,
            [reader.take("<32sII8x", "chunk entry", at + number * _ENTRY_BYTES) for number in range(count)],
        )
        for xorb_hash, count, unpacked_bytes, serialized_bytes, at in _xorb_blocks(reader)
    ]


def _xorb_blocks(reader: "_Reader") -> Iterator[tuple[bytes, int, int, int, int]]:
    """(hash, chunks, plain bytes, packed bytes, where its chunk entries begin) of each xorb; the reader skips them."""
    while True:
        xorb_hash, _flags, count, unpacked_bytes, serialized_bytes = reader.take("<32sIIII", "xorb list")
        if xorb_hash == _BOOKEND_HASH:
            return
        yield xorb_hash, count, unpacked_bytes, serialized_bytes, reader.skip(count, "xorb")


class _Reader:
    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = self.footer_bytes = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._position

    def expect(self, entries: int, what: str) -> None:
        # Before any list is built: a count is only believed when the body is long enough for it.
        if entries * _ENTRY_BYTES > self.left:
            raise XetFormatError(f"The shard ends in the middle of a {what}; send it again.")

    def skip(self, entries: int, what: str) -> int:
        """Go on behind so many entries; returns where they begin."""
        self.expect(entries, what)
        at = self._position
        self._position += entries * _ENTRY_BYTES
        return at

    def take(self, layout: str, what: str, at: int | None = None) -> tuple:
        if at is not None:
            return struct.unpack_from(layout, self._body, at)
        if self.left < _ENTRY_BYTES:
            raise XetFormatError(f"The shard ends in the middle of its {what}; send it again.")
        values = struct.unpack_from(layout, self._body, self._position)
        self._position += _ENTRY_BYTES
        return values
