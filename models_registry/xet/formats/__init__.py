"""Xet wire formats (hub-docs docs/xet): hashes, xorbs, shards. Pure Python; hostile input ends in XetFormatError."""

from models_registry.xet.formats.errors import XetFormatError
from models_registry.xet.formats.files import decode_segments, file_sha256, verify_file
from models_registry.xet.formats.hashes import (
    chunk_hash,
    file_hash,
    hash_to_hex,
    hex_to_hash,
    node_hash,
    verification_hash,
)
from models_registry.xet.formats.shard import Segment, Shard, ShardFile, ShardXorb, parse_shard, read_shard
from models_registry.xet.formats.xorb import XORB_BODY_MAX_BYTES, Chunk, XorbIndex, decode_chunks, read_xorb

__all__ = [
    "XORB_BODY_MAX_BYTES",
    "Chunk",
    "Segment",
    "Shard",
    "ShardFile",
    "ShardXorb",
    "XetFormatError",
    "XorbIndex",
    "chunk_hash",
    "decode_chunks",
    "decode_segments",
    "file_hash",
    "file_sha256",
    "hash_to_hex",
    "hex_to_hash",
    "node_hash",
    "parse_shard",
    "read_shard",
    "read_xorb",
    "verification_hash",
    "verify_file",
]
