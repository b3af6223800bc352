"""A small Xet encoder for tests: what a client would send, one chunk a list item."""

import struct

import lz4.frame

from models_registry.xet.formats import chunk_hash, file_hash, hex_to_hash, node_hash, verification_hash

SHARD_TAG = b"HFRepoMetaData" + bytes(
    [0, 85, 105, 103, 69, 106, 123, 129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169]
)
BOOKEND = b"\xff" * 32 + bytes(16)
FOOTER = b"XETBLOB\x01" + b"whatever older clients put here" + struct.pack("<I", 39)


def record(data: bytes, scheme: int, unpacked_len: int, version: int = 0, packed_len: int | None = None) -> bytes:
    packed_len = len(data) if packed_len is None else packed_len
    return (
        bytes([version])
        + packed_len.to_bytes(3, "little")
        + bytes([scheme])
        + unpacked_len.to_bytes(3, "little")
        + data
    )


def encode_chunk(plain: bytes, scheme: int) -> bytes:
    if scheme == 0:
        return record(plain, 0, len(plain))
    body = plain if scheme == 1 else b"".join(plain[lane::4] for lane in range(4))
    return record(lz4.frame.compress(body), scheme, len(plain))


def encode_xorb(chunks: list[tuple[bytes, int]]) -> bytes:
    return b"".join(encode_chunk(plain, scheme) for plain, scheme in chunks)


def pairs(plains: list[bytes]) -> list[tuple[bytes, int]]:
    return [(chunk_hash(plain), len(plain)) for plain in plains]


def xorb_hash(plains: list[bytes]) -> bytes:
    return node_hash(pairs(plains))


def encode_file(
    plains_by_xorb: dict[str, list[bytes]], ranges: list[tuple[str, int, int]], sha256_hex: str | None
) -> bytes:
    """A file block: `ranges` are (xorb hash_hex, start, end)."""
    segments, verification, all_pairs = b"", b"", []
    for name, start, end in ranges:
        part = plains_by_xorb[name][start:end]
        segments += hex_to_hash(name) + struct.pack("<IIII", 0, sum(map(len, part)), start, end)
        verification += verification_hash(b"".join(chunk_hash(plain) for plain in part)) + bytes(16)
        all_pairs += pairs(part)
    flags = 1 << 31 | (1 << 30 if sha256_hex else 0)
    head = file_hash(all_pairs) + struct.pack("<IIQ", flags, len(ranges), 0)
    return head + segments + verification + (hex_to_hash(sha256_hex) + bytes(16) if sha256_hex else b"")


def encode_xorb_block(name: str, plains: list[bytes], serialized_len: int) -> bytes:
    out, position = hex_to_hash(name) + struct.pack("<IIII", 0, len(plains), sum(map(len, plains)), serialized_len), 0
    for plain in plains:
        out += chunk_hash(plain) + struct.pack("<IIQ", position, len(plain), 0)
        position += len(plain)
    return out


def encode_shard(files: list[bytes], xorbs: list[bytes], footer: bytes = b"") -> bytes:
    head = SHARD_TAG + struct.pack("<QQ", 2, len(footer))
    return head + b"".join(files) + BOOKEND + b"".join(xorbs) + BOOKEND + footer
