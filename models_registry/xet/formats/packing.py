"""Writing a xorb: chunks one behind the other, each packed by the scheme which makes it smallest."""

from array import array
from typing import BinaryIO

import lz4.frame

from models_registry.xet.formats.hashes import HASH_BYTES, hash_to_hex, node_hash
from models_registry.xet.formats.xorb import (
    CHUNK_HEADER_BYTES,
    CHUNK_MAX_BYTES,
    SCHEME_BYTE_GROUPED_LZ4,
    SCHEME_LZ4,
    SCHEME_NONE,
    XORB_PACKED_MAX_BYTES,
    XORB_UNPACKED_MAX_BYTES,
    XorbIndex,
)

MAX_CHUNKS = 8192  # as the reference client
_LANES = 4  # bytes of a float


class XorbWriter:
    """Appends chunks to a binary file. `index()` names what was written so far; at least one chunk."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._headers, self._hashes, self._lengths = bytearray(), bytearray(), array("I")
        self.size_bytes = self._unpacked = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def has_room(self) -> bool:
        """Whether a chunk of any size still fits."""
        return (
            len(self) < MAX_CHUNKS
            and self.size_bytes + CHUNK_MAX_BYTES <= XORB_PACKED_MAX_BYTES
            and self._unpacked + CHUNK_MAX_BYTES <= XORB_UNPACKED_MAX_BYTES
        )

    def add(self, plain: bytes, hash_: bytes) -> int:
        """Write one chunk of this hash; returns its number."""
        packed, scheme = _pack(plain)
        header = bytes([0]) + len(packed).to_bytes(3, "little") + bytes([scheme]) + len(plain).to_bytes(3, "little")
        self._file.write(header)
        self._file.write(packed)
        self._headers += header
        self._hashes += hash_
        self._lengths.append(len(plain))
        self.size_bytes += CHUNK_HEADER_BYTES + len(packed)
        self._unpacked += len(plain)
        return len(self) - 1

    def index(self) -> XorbIndex:
        hashes = bytes(self._hashes)
        pairs = ((hashes[i * HASH_BYTES : (i + 1) * HASH_BYTES], size) for i, size in enumerate(self._lengths))
        return XorbIndex(hash_to_hex(node_hash(pairs)), bytes(self._headers), hashes)


def _pack(plain: bytes) -> tuple[bytes, int]:
    grouped = b"".join(plain[lane::_LANES] for lane in range(_LANES))
    ways = [
        (plain, SCHEME_NONE),
        (lz4.frame.compress(plain), SCHEME_LZ4),
        (lz4.frame.compress(grouped), SCHEME_BYTE_GROUPED_LZ4),
    ]
    return min(ways, key=lambda way: len(way[0]))
