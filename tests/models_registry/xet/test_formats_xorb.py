import io
import struct
import tracemalloc

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xet_encoder import FOOTER, encode_chunk, encode_xorb, record, xorb_hash

from models_registry.xet.formats import (
    XORB_BODY_MAX_BYTES,
    XetFormatError,
    XorbIndex,
    chunk_hash,
    decode_chunks,
    hash_to_hex,
    hex_to_hash,
    node_hash,
    read_xorb,
)

chunks = st.tuples(st.binary(min_size=1, max_size=300) | st.integers(1, 2000).map(bytes), st.sampled_from([0, 1, 2]))
xorbs = st.lists(chunks, min_size=1, max_size=30)


@given(xorbs)
@settings(deadline=None)
def test_round_trip(parts):
    body = encode_xorb(parts)
    index = read_xorb(body)
    assert index.hash_hex == hash_to_hex(xorb_hash([plain for plain, _ in parts]))
    assert index.serialized_length == len(body)
    assert [(c.scheme, c.uncompressed_len, c.hash) for c in index.chunks] == [
        (scheme, len(plain), chunk_hash(plain)) for plain, scheme in parts
    ]
    assert XorbIndex.from_bytes(index.to_bytes()) == index
    assert read_xorb(memoryview(body)) == read_xorb(io.BytesIO(body), index.hash_hex) == index
    start = len(parts) // 2
    assert list(decode_chunks(io.BytesIO(body), index, start, len(parts))) == [plain for plain, _ in parts[start:]]


@given(st.lists(st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 2**20)), max_size=200))
@settings(deadline=None)
def test_node_hash_of_a_stream_equals_the_specification_read_plainly(pairs):
    assert node_hash(iter(pairs)) == _node_hash_by_the_text(pairs)


def _node_hash_by_the_text(pairs):
    """docs/xet/hashing.md with whole lists: 2 to 9 children, cut after the third or later whose last u64 % 4 == 0."""
    from blake3 import blake3

    from models_registry.xet.formats import hashes

    while len(pairs) > 1:
        parents = []
        while pairs:
            size = next(
                (i + 1 for i in range(2, min(9, len(pairs))) if struct.unpack("<4Q", pairs[i][0])[3] % 4 == 0), 9
            )
            group, pairs = pairs[:size], pairs[size:]
            text = "".join(f"{''.join(f'{n:016x}' for n in struct.unpack('<4Q', h))} : {size}\n" for h, size in group)
            parents.append((blake3(text.encode(), key=hashes._NODE_KEY).digest(), sum(size for _, size in group)))
        pairs = parents
    return pairs[0][0] if pairs else bytes(32)


@given(st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_hex_form_is_four_little_endian_numbers(value):
    assert hash_to_hex(value) == "".join(f"{number:016x}" for number in struct.unpack("<4Q", value))
    assert hex_to_hash(hash_to_hex(value)) == value


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 62 + " 0", "０" * 64])
def test_hex_form_refuses_other_text(text):
    with pytest.raises(XetFormatError):
        hex_to_hash(text)


@given(xorbs, st.data())
@settings(max_examples=200, deadline=None)
def test_a_cut_xorb_is_refused_or_has_another_hash(parts, data):
    body = encode_xorb(parts)
    cut = data.draw(st.integers(0, len(body) - 1))
    _refused_or_other(body, body[:cut])


@given(xorbs, st.data())
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_is_refused_or_seen_in_the_hash(parts, data):
    body = encode_xorb(parts)
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    _refused_or_other(body, bytes(changed))


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_rubbish_never_raises_anything_else(body):
    try:
        read_xorb(body)
    except XetFormatError:
        return


def _refused_or_other(body, hostile):
    before = read_xorb(body)
    try:
        after = read_xorb(hostile)
    except XetFormatError:
        return
    if after.hash_hex == before.hash_hex:
        # LZ4 has many spellings of the same bytes: an equal hash must mean equal content.
        assert list(decode_chunks(io.BytesIO(hostile), after, 0, len(after))) == list(
            decode_chunks(io.BytesIO(body), before, 0, len(before))
        )


def test_a_footer_is_ignored_but_other_bytes_behind_the_chunks_are_refused():
    body = encode_xorb([(b"abc", 0), (bytes(5000), 1)])
    assert read_xorb(body + FOOTER) == read_xorb(body)
    for garbage in (b"x", b"XETB", b"XETBLOB", FOOTER[:-1], FOOTER + b"\0", bytes(9), b"PK\x03\x04" * 5):
        with pytest.raises(XetFormatError):
            read_xorb(body + garbage)


def test_a_frame_which_expands_past_its_stated_length_is_stopped_there():
    bomb = lz4.frame.compress(bytes(200 * 1024 * 1024), block_size=lz4.frame.BLOCKSIZE_MAX64KB)
    body = record(bomb, 1, 131072)
    tracemalloc.start()
    try:
        with pytest.raises(XetFormatError, match="does not unpack to the 131,072 bytes"):
            read_xorb(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < len(body) * 3 + 1024 * 1024


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "no chunk"),
        (record(b"abc", 0, 3, version=1), "version 1"),
        (record(b"abc", 3, 3), "scheme 3"),
        (record(b"abc", 0, 4), "does not unpack"),
        (record(b"", 0, 0), "1 to 131,072"),
        (record(bytes(131073), 0, 131073), "1 to 131,072"),
        (record(b"abc", 0, 3, packed_len=4), "middle of chunk 0"),
        (record(b"abc", 0, 3) + b"\0\0", "header of chunk 1"),
        (record(b"not lz4 at all", 1, 3), "LZ4"),
        (record(lz4.frame.compress(b"abc")[:-1], 1, 3), "LZ4"),
        (record(lz4.frame.compress(b"abc") + b"x", 1, 3), "LZ4"),
        (record(lz4.frame.compress(b"abc") * 2, 1, 3), "LZ4"),
        (record(lz4.frame.compress(b"ab"), 2, 3), "does not unpack"),
    ],
)
def test_what_is_outside_the_specification_is_refused_with_a_sentence(body, sentence):
    with pytest.raises(XetFormatError, match=sentence):
        read_xorb(body)


def test_limits(monkeypatch):
    from models_registry.xet.formats import xorb

    with pytest.raises(XetFormatError, match="64 MiB"):
        read_xorb(_Long(XORB_BODY_MAX_BYTES + 1))
    body = encode_xorb([(b"abc", 0)] * 10)
    for name, value in (("XORB_MAX_CHUNKS", 9), ("XORB_UNPACKED_MAX_BYTES", 29), ("XORB_PACKED_MAX_BYTES", 29)):
        with monkeypatch.context() as patch:
            patch.setattr(xorb, name, value + 1)
            read_xorb(body)
            patch.setattr(xorb, name, value)
            with pytest.raises(XetFormatError, match="holds more"):
                read_xorb(body)


class _Long(io.BytesIO):
    """A file which says that it is long without being it."""

    def __init__(self, length):
        super().__init__()
        self.length = length

    def seek(self, offset, whence=0):
        return self.length if whence == 2 else super().seek(offset, whence)


def test_a_wrong_claim_is_refused():
    with pytest.raises(XetFormatError, match="and not 0000"):
        read_xorb(encode_chunk(b"abc", 0), "0" * 64)


def test_decoding_tells_a_damaged_store_from_a_wrong_range():
    body = encode_xorb([(b"abc", 0), (b"defg" * 100, 2)])
    index = read_xorb(body)
    for start, end in ((0, 3), (-1, 1), (1, 1), (2, 3)):
        with pytest.raises(XetFormatError, match="this xorb holds 2"):
            list(decode_chunks(io.BytesIO(body), index, start, end))
    with pytest.raises(XetFormatError, match="ends too early"):
        list(decode_chunks(io.BytesIO(body[:-1]), index, 0, 2))
    with pytest.raises(XetFormatError, match="damaged"):
        list(decode_chunks(io.BytesIO(b"\x01" + body), index, 0, 2))


@pytest.mark.parametrize("damage", [b"", b"xix1", b"nope" + bytes(72), b"xix1" + bytes(73)])
def test_a_damaged_index_is_refused(damage):
    with pytest.raises(XetFormatError, match="index"):
        XorbIndex.from_bytes(damage)
