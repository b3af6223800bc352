"""The shard by which a CAS tells which chunks it holds already (hub-docs docs/xet/shard.md, "Global Deduplication").

Chunk hashes are keyed: only who has a chunk finds it, and learns of no other.
"""

import struct
from collections.abc import Sequence

from blake3 import blake3

from models_registry.xet.formats.hashes import HASH_BYTES, hex_to_hash
from models_registry.xet.formats.shard import BOOKEND, FOOTER_BYTES, HEADER_BYTES, TAG, VERSION
from models_registry.xet.formats.xorb import XorbIndex

_FOOTER_VERSION = 1
ASKED_EVERY = 1024  # clients ask for a chunk whose hash divides by this
NOTED_EVERY = 8  # the hub itself finds what two files share by these: half a MiB of a file holds one


def is_asked(chunk: bytes) -> bool:
    """Whether clients ask for a chunk by its hash alone (they also ask for the first of each file)."""
    return int.from_bytes(chunk[24:32], "little") % ASKED_EVERY == 0


def asked_chunks(index: XorbIndex) -> list[bytes]:
    """The hashes of a xorb's chunks after which clients ask."""
    hashes = (index.hashes[at : at + HASH_BYTES] for at in range(0, len(index.hashes), HASH_BYTES))
    return [chunk for chunk in hashes if is_asked(chunk)]


def noted_chunks(index: XorbIndex) -> list[bytes]:
    """The hashes of chunks whose place is remembered: all after which clients ask, and more for the hub itself."""
    hashes = (index.hashes[at : at + HASH_BYTES] for at in range(0, len(index.hashes), HASH_BYTES))
    return [chunk for chunk in hashes if is_noted(chunk)]


def is_noted(chunk: bytes) -> bool:
    """Whether the hub remembers where a chunk of this hash lies."""
    return chunk[24] % NOTED_EVERY == 0


def dedupe_shard(indexes: Sequence[XorbIndex], key: bytes, created_s: int, ends_s: int) -> bytes:
    """The answer which offers these xorbs until `ends_s` (seconds since 1970). `key`: 32 bytes."""
    out = bytearray(TAG + struct.pack("<QQ", VERSION, FOOTER_BYTES) + BOOKEND)
    xorbs_at = len(out)
    for index in indexes:
        lengths = index.unpacked_lengths
        out += hex_to_hash(index.hash_hex)
        out += struct.pack("<IIII", 0, len(index), sum(lengths), index.serialized_length)
        position = 0
        for number, length in enumerate(lengths):
            chunk = index.hashes[number * HASH_BYTES : (number + 1) * HASH_BYTES]
            out += blake3(chunk, key=key).digest() + struct.pack("<IIQ", position, length, 0)
            position += length
    out += BOOKEND
    footer_at = len(out)
    # Three look-up tables, all empty; hf_xet reckons the number of chunks from where the first would begin.
    tables = (footer_at, 0) * 3
    offsets = struct.pack("<9Q", _FOOTER_VERSION, HEADER_BYTES, xorbs_at, *tables)
    out += offsets + struct.pack("<32sQQ72xQ", key, created_s, ends_s, footer_at)
    return bytes(out)
