"""Files over xorbs: verify what a shard claims, and decode the bytes again."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from models_registry.xet.formats.errors import XetFormatError
from models_registry.xet.formats.hashes import HASH_BYTES, file_hash, hash_to_hex, verification_hash
from models_registry.xet.formats.shard import Segment, ShardFile
from models_registry.xet.formats.xorb import XorbIndex, decode_chunks

# What a shard may cost beyond what was sent for it: a file of 16 GiB of zeros passes, and seconds of work.
FREE_CHUNKS, MOST_REPEATS = 128 * 1024, 4
FREE_BYTES, MOST_EXPANSION = 16 * 1024**3, 256

OpenXorb = Callable[[str], AbstractContextManager[BinaryIO]]  # a xorb's hash_hex → its serialized bytes, seekable


def check_work(files: Sequence[ShardFile], xorb_index_by_hash: Mapping[str, XorbIndex]) -> None:
    """XetFormatError where to verify these files costs far more than to send what they are made of.

    A shard of a few kB can name the chunks of one small xorb again and again; each is hashed and unpacked each time.
    """
    used = {segment.xorb_hash_hex for file in files for segment in file.segments}
    chunks = sum(segment.end - segment.start for file in files for segment in file.segments)
    held = sum(len(xorb_index_by_hash[name]) for name in used)
    packed = sum(xorb_index_by_hash[name].serialized_length for name in used)
    plain = sum(file.size_bytes for file in files)
    if chunks > FREE_CHUNKS + MOST_REPEATS * held or plain > FREE_BYTES + MOST_EXPANSION * packed:
        raise XetFormatError(
            f"The files repeat the same chunks too often ({chunks:,} of {held:,} chunks, {plain:,} bytes): upload "
            "fewer files at a time, or pack this one."
        )


def verify_file(file: ShardFile, xorb_index_by_hash: Mapping[str, XorbIndex]) -> int:
    """Check one file of a shard against the xorbs which it names, and return its size in bytes.

    Checked: every xorb is known, the chunk ranges lie inside, byte counts, the verification hash of each segment, and
    the file hash over all chunks. Raises XetFormatError. The sha256 is left to `file_sha256`.
    """
    if file.verification is None and file.segments:
        raise XetFormatError(
            f"File {file.file_hash_hex} comes without verification hashes; update the client (hf_xet)."
        )
    for number, segment in enumerate(file.segments):
        index = _index_of(segment, xorb_index_by_hash)
        if not 0 <= segment.start < segment.end <= len(index):
            raise XetFormatError(
                f"File {file.file_hash_hex} names chunks {segment.start} to {segment.end} of xorb {index.hash_hex}, "
                f"which holds {len(index)}."
            )
        if sum(index.unpacked_lengths[segment.start : segment.end]) != segment.unpacked_bytes:
            raise XetFormatError(f"Segment {number} of file {file.file_hash_hex} states a wrong number of bytes.")
        hashes = index.hashes[segment.start * HASH_BYTES : segment.end * HASH_BYTES]
        if file.verification is not None and verification_hash(hashes) != file.verification[number]:
            raise XetFormatError(f"Segment {number} of file {file.file_hash_hex} has a wrong verification hash.")
    found = hash_to_hex(file_hash(_chunks_of(file.segments, xorb_index_by_hash)))
    if found != file.file_hash_hex:
        raise XetFormatError(f"The chunks make up file {found} and not {file.file_hash_hex}; upload it again.")
    return file.size_bytes


def file_sha256(segments: Sequence[Segment], xorb_index_by_hash: Mapping[str, XorbIndex], open_xorb: OpenXorb) -> str:
    """The sha256 of a file's bytes in ordinary hexadecimal, decoded as a stream: one chunk in memory at a time."""
    digest = hashlib.sha256()
    for block in decode_segments(segments, xorb_index_by_hash, open_xorb):
        digest.update(block)
    return digest.hexdigest()


def decode_segments(
    segments: Sequence[Segment],
    xorb_index_by_hash: Mapping[str, XorbIndex],
    open_xorb: OpenXorb,
    start_byte: int = 0,
    end_byte: int | None = None,
) -> Iterator[bytes]:
    """Yield a file's bytes from `start_byte` up to `end_byte` (not included; None for all), at most 128 KiB a block.

    Segments and chunks outside the range are neither read nor decoded, and a xorb which serves neighbouring segments
    is opened once for each. XetFormatError when a stored xorb does not match its index.
    """
    position = 0
    for segment in segments:
        if end_byte is not None and position >= end_byte:
            return
        if position + segment.unpacked_bytes > start_byte:
            index = _index_of(segment, xorb_index_by_hash)
            first, last, at = chunk_window(segment, index, position, start_byte, end_byte)
            with open_xorb(segment.xorb_hash_hex) as xorb:
                for plain in decode_chunks(xorb, index, first, last):
                    stop = len(plain) if end_byte is None else max(0, min(len(plain), end_byte - at))
                    block = plain[max(0, start_byte - at) : stop]
                    if block:
                        yield block
                    at += len(plain)
        position += segment.unpacked_bytes


def segments_between(segments: Sequence[Segment], start_byte: int, end_byte: int) -> tuple[list[Segment], int]:
    """The segments which a byte range touches, and where it starts counted from the first of them."""
    found: list[Segment] = []
    position, offset = 0, start_byte
    for segment in segments:
        after = position + segment.unpacked_bytes
        if after > start_byte and position < end_byte:
            if not found:
                offset = start_byte - position
            found.append(segment)
        position = after
    return found, offset


def chunk_window(
    segment: Segment, index: XorbIndex, position: int, start_byte: int, end_byte: int | None
) -> tuple[int, int, int]:
    """The chunks of a segment (which begins at byte `position` of its file) that a byte range touches.

    Returns (first, last (not included), the byte of the file at which the first one starts).
    """
    first = segment.start
    while first < segment.end - 1 and position + index.unpacked_lengths[first] <= start_byte:
        position += index.unpacked_lengths[first]
        first += 1
    last, reached = first, position
    while last < segment.end and (end_byte is None or reached < end_byte):
        reached += index.unpacked_lengths[last]
        last += 1
    return first, max(last, first + 1), position


def _chunks_of(segments: Sequence[Segment], xorb_index_by_hash: Mapping[str, XorbIndex]) -> Iterator[tuple[bytes, int]]:
    for segment in segments:
        index = xorb_index_by_hash[segment.xorb_hash_hex]
        for number in range(segment.start, segment.end):
            yield index.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES], index.unpacked_lengths[number]


def _index_of(segment: Segment, xorb_index_by_hash: Mapping[str, XorbIndex]) -> XorbIndex:
    index = xorb_index_by_hash.get(segment.xorb_hash_hex)
    if index is None:
        raise XetFormatError(f"Xorb {segment.xorb_hash_hex} is not on this hub; upload it before the shard.")
    return index
