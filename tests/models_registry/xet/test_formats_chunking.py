"""Cutting and packing against the stock hf_xet wheel and against our own reader."""

import io
import random

import hf_xet
import pytest

from models_registry.xet.formats import chunk_hash, decode_chunks, file_hash, hash_to_hex, read_xorb
from models_registry.xet.formats.chunking import CHUNK_MIN_BYTES, _length, cut
from models_registry.xet.formats.packing import XorbWriter
from models_registry.xet.formats.xorb import CHUNK_MAX_BYTES


def parts(seed: int) -> bytes:
    """Noise, zeros and repetitions of lengths around the limits."""
    rng, found = random.Random(seed), bytearray()
    for _ in range(rng.randint(1, 6)):
        length = rng.choice([1, 63, 64, 65, 8191, 8192, 8193, 100_000, 400_000])
        found += rng.choice(
            [bytes(length), rng.randbytes(length), (rng.randbytes(9000) * (length // 9000 + 1))[:length]]
        )
    return bytes(found)


@pytest.mark.parametrize("seed", range(12))
def test_the_chunks_are_those_of_the_stock_client(seed, tmp_path):
    data, path = parts(seed), tmp_path / "file"
    path.write_bytes(data)
    size = random.Random(seed).choice([1000, 65_536, 262_144, len(data)])
    chunks = list(cut(data[start : start + size] for start in range(0, len(data), size)))
    assert b"".join(chunks) == data
    name = hash_to_hex(file_hash((chunk_hash(chunk), len(chunk)) for chunk in chunks))
    assert name == hf_xet.hash_files([str(path)])[0].hash


def test_chunks_keep_their_limits_and_a_change_moves_only_those_around_it():
    data = random.Random(1).randbytes(2_000_000)
    before = list(cut([data]))
    after = list(cut([data[:1_000_000], b"xx", data[1_000_000:]]))
    assert all(CHUNK_MIN_BYTES <= len(chunk) <= CHUNK_MAX_BYTES for chunk in before[:-1])
    assert len(set(after) - set(before)) <= 3
    assert list(cut([])) == []


def test_where_every_byte_could_be_an_end_chunks_have_the_least_length():
    assert _length(list(range(1, 300_000)), 5) == CHUNK_MIN_BYTES
    assert _length([5, 100, 9000], 900) == CHUNK_MAX_BYTES


def test_what_is_packed_reads_back_and_floats_are_grouped():
    floats = b"".join(
        number.to_bytes(2, "little") + b"\x80\x3f" for number in random.Random(2).choices(range(65536), k=9000)
    )
    chunks = [bytes(50_000), random.Random(3).randbytes(9_000), floats]
    file = io.BytesIO()
    writer = XorbWriter(file)
    assert [writer.add(chunk, chunk_hash(chunk)) for chunk in chunks] == [0, 1, 2]
    index = writer.index()
    assert read_xorb(file.getvalue(), index.hash_hex) == index and writer.size_bytes == len(file.getvalue())
    assert [chunk.scheme for chunk in index.chunks] == [1, 0, 2]
    assert list(decode_chunks(file, index, 0, 3)) == chunks
