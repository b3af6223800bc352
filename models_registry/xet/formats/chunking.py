"""Cutting a file into chunks as every Xet client does (hub-docs docs/xet/chunking.md), so that chunks meet.

A rolling hash of the last 64 bytes decides where a chunk ends. numpy reckons it for 64 KiB at once: 64 shifted sums in
six doublings. It is imported by whoever cuts, never by the web processes.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import numpy as np

from models_registry.xet.formats.gear import GEAR
from models_registry.xet.formats.xorb import CHUNK_MAX_BYTES

CHUNK_MIN_BYTES = 8 * 1024
_WINDOW = 64
_ENDS_BELOW = np.uint64(1 << 48)  # the upper 16 bits of the hash are 0
_AT_ONCE = 64 * 1024  # fits into the processor's cache: larger blocks are ten times slower
_GEAR = np.array(GEAR, dtype=np.uint64)


def cut(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of a stream, given in blocks of any size: 8 to 128 KiB each, the last one down to 1 byte."""
    held = bytearray()  # not cut yet; its first `scanned` bytes hold none of the ends but `ends`
    ends: list[int] = []
    scanned, tail = 0, b""
    for block in blocks:
        held += block
        while len(held) - scanned >= _AT_ONCE:
            piece = bytes(held[scanned : scanned + _AT_ONCE])
            ends += [scanned + end for end in _ends(tail, piece)]
            tail, scanned = piece[-_WINDOW:], scanned + len(piece)
        if scanned >= CHUNK_MAX_BYTES:
            taken = 0
            while scanned - taken >= CHUNK_MAX_BYTES:
                length = _length(ends, taken)
                yield bytes(held[taken : taken + length])
                taken += length
            del held[:taken]
            scanned, ends = scanned - taken, [end - taken for end in ends if end > taken]
    ends += [scanned + end for end in _ends(tail, bytes(held[scanned:]))] if len(held) > scanned else []
    taken = 0
    while taken < len(held):
        length = min(_length(ends, taken), len(held) - taken)
        yield bytes(held[taken : taken + length])
        taken += length


def _length(ends: list[int], start: int) -> int:
    """How long the chunk is which begins at `start`."""
    at = bisect_left(ends, start + CHUNK_MIN_BYTES)
    return min(ends[at] - start, CHUNK_MAX_BYTES) if at < len(ends) else CHUNK_MAX_BYTES


def _ends(before: bytes, piece: bytes) -> list[int]:
    """Where in `piece` the hash says that a chunk may end; `before` are up to 64 bytes which go before it."""
    hashes = _GEAR[np.frombuffer(before + piece, dtype=np.uint8)]
    width = 1
    while width < _WINDOW:
        doubled = hashes.copy()
        doubled[width:] += hashes[:-width] << np.uint64(width)
        hashes, width = doubled, 2 * width
    return [int(at) + 1 for at in np.flatnonzero(hashes[len(before) :] < _ENDS_BELOW)]
