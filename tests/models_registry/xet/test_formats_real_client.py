"""The formats against the stock hf_xet wheel: samples/ holds one real upload of hf_xet 1.8.0 (xorb and shard)."""

import hashlib
import struct
from pathlib import Path

import pytest
from blake3 import blake3

from models_registry.xet.formats import (
    XorbIndex,
    chunk_hash,
    decode_segments,
    file_hash,
    file_sha256,
    hash_to_hex,
    read_shard,
    read_xorb,
    verify_file,
)

SAMPLES = Path(__file__).parent / "samples"
XORB = SAMPLES / "hf_xet-1.8.0.xorb"
SHARD = SAMPLES / "hf_xet-1.8.0.shard"


def words() -> bytes:
    line = "row {:06d} of {:04d} squares, the same long line of words again and again so that it packs well\n"
    return "".join(line.format(i, i * i % 9973) for i in range(9000)).encode()


def floats() -> bytes:
    return struct.pack("<9000f", *((i * 7919 % 65521) / 65536 for i in range(9000)))


def noise() -> bytes:
    return blake3(b"noise").digest(length=9001)


@pytest.fixture(scope="module")
def xorb() -> XorbIndex:
    with XORB.open("rb") as file:
        return read_xorb(file)


def test_the_real_xorb_uses_every_scheme_and_has_the_hash_which_the_shard_names(xorb):
    shard = read_shard(SHARD.read_bytes())
    assert {chunk.scheme for chunk in xorb.chunks} == {0, 1, 2}
    assert [listed.hash_hex for listed in shard.xorbs] == [xorb.hash_hex]
    assert [chunk[0] for chunk in shard.xorbs[0].chunks] == [chunk.hash for chunk in xorb.chunks]
    assert xorb.serialized_length == XORB.stat().st_size == xorb.offsets[-1]
    for start, end in ((0, 1), (1, 3), (2, 2), (0, len(xorb))):
        assert xorb.packed_between(start, end) == xorb.offsets[end] - xorb.offsets[start]
    assert XorbIndex.from_bytes(xorb.to_bytes()) == xorb


def test_the_real_shard_verifies_and_decodes_to_the_files_which_were_sent(xorb):
    sent = {hashlib.sha256(plain).hexdigest(): plain for plain in (words(), floats(), noise())}
    indexes = {xorb.hash_hex: xorb}
    files = read_shard(SHARD.read_bytes()).files
    assert {file.sha256_hex for file in files} == set(sent)
    for file in files:
        plain = sent[file.sha256_hex]
        assert verify_file(file, indexes) == len(plain) == file.size_bytes
        assert file_sha256(file.segments, indexes, lambda _: XORB.open("rb")) == file.sha256_hex
        assert b"".join(decode_segments(file.segments, indexes, lambda _: XORB.open("rb"))) == plain


def test_file_hashes_equal_those_of_the_installed_wheel(tmp_path, xorb):
    hf_xet = pytest.importorskip("hf_xet")
    names = {"words": words(), "floats": floats(), "noise": noise(), "empty": b"", "one": b"x"}
    paths = []
    for name, plain in names.items():
        (tmp_path / name).write_bytes(plain)
        paths.append(str(tmp_path / name))
    of_wheel = [info.hash for info in hf_xet.hash_files(paths)]
    by_sha256 = {file.sha256_hex: file.file_hash_hex for file in read_shard(SHARD.read_bytes()).files}
    assert of_wheel[:3] == [by_sha256[hashlib.sha256(plain).hexdigest()] for plain in list(names.values())[:3]]
    assert of_wheel[3] == hash_to_hex(file_hash([]))
    assert of_wheel[4] == hash_to_hex(file_hash([(chunk_hash(b"x"), 1)]))
