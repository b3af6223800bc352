"""Xet hashes: BLAKE3 under fixed keys, and the merkle tree over chunks (hub-docs docs/xet/hashing.md)."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from blake3 import blake3

from models_registry.xet.formats.errors import XetFormatError

HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_VERIFICATION_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(32)

_GROUP_MAX = 9
_HEX_DIGITS = frozenset("0123456789abcdef")


def chunk_hash(data: bytes | memoryview) -> bytes:
    """The 32-byte hash of one chunk's plain bytes."""
    return blake3(data, key=_CHUNK_KEY).digest()


def node_hash(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    """The root over `(hash, length_bytes)` pairs: a xorb's hash. No pairs give 32 zero bytes, one pair its own hash.

    Takes an iterator of any length and keeps only the level above it in memory: about 10 bytes a chunk.
    """
    pairs = iter(chunks)
    first_two = list(islice(pairs, 2))
    if len(first_two) < 2:
        return first_two[0][0] if first_two else ZERO_HASH
    level = _Level(_parents(chain(first_two, pairs)))
    while len(level) > 1:
        level = _Level(_parents(iter(level)))
    return next(iter(level))[0]


def file_hash(chunks: Iterable[tuple[bytes, int]]) -> bytes:
    """The hash which names a file: the root over its chunks, keyed once more. An empty file is 32 zero bytes."""
    root = node_hash(chunks)
    return ZERO_HASH if root == ZERO_HASH else blake3(root, key=_FILE_KEY).digest()


def verification_hash(chunk_hashes: bytes | memoryview) -> bytes:
    """Proof that a sender knows a term's chunks, from their hashes one after the other (`n × 32` bytes)."""
    return blake3(chunk_hashes, key=_VERIFICATION_KEY).digest()


def hash_to_hex(value: bytes) -> str:
    """The text form of a 32-byte hash: four little-endian u64, each printed as 16 digits. Not `value.hex()`."""
    return (value[7::-1] + value[15:7:-1] + value[23:15:-1] + value[31:23:-1]).hex()


def hex_to_hash(text: str) -> bytes:
    """The 32 bytes behind `hash_to_hex`'s text. XetFormatError unless it is 64 lower-case hexadecimal digits."""
    if len(text) != 2 * HASH_BYTES or not _HEX_DIGITS.issuperset(text):
        raise XetFormatError("A Xet hash is written as 64 hexadecimal digits in lower case.")
    value = bytes.fromhex(text)
    return value[7::-1] + value[15:7:-1] + value[23:15:-1] + value[31:23:-1]


class _Level:
    """One level of the tree: its `(hash, length_bytes)` pairs, packed."""

    def __init__(self, pairs: Iterable[tuple[bytes, int]]) -> None:
        self._hashes = bytearray()
        self._lengths = array("Q")
        for value, length in pairs:
            self._hashes += value
            self._lengths.append(length)

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[tuple[bytes, int]]:
        for index, length in enumerate(self._lengths):
            yield bytes(self._hashes[index * HASH_BYTES : (index + 1) * HASH_BYTES]), length


def _parents(pairs: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    # Only the next nine pairs can matter to where a group ends, so a window of nine is enough.
    window = list(islice(pairs, _GROUP_MAX))
    while window:
        size = _group_size(window)
        group, window = window[:size], window[size:]
        text = "".join(f"{hash_to_hex(value)} : {length}\n" for value, length in group)
        yield blake3(text.encode(), key=_NODE_KEY).digest(), sum(length for _, length in group)
        window += islice(pairs, size)


def _group_size(window: list[tuple[bytes, int]]) -> int:
    if len(window) <= 2:
        return len(window)
    for index in range(2, len(window)):
        # The last of the four little-endian u64 divides by 4 when the low two bits of byte 24 are clear.
        if window[index][0][24] & 3 == 0:
            return index + 1
    return len(window)
