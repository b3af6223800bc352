import hashlib
import io
import struct
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from xet_encoder import SHARD_TAG, encode_file, encode_shard, encode_xorb, encode_xorb_block

from models_registry.xet.formats import (
    Segment,
    ShardFile,
    XetFormatError,
    decode_segments,
    file_sha256,
    hash_to_hex,
    parse_shard,
    read_shard,
    read_xorb,
    verify_file,
)
from models_registry.xet.formats import shard as shard_format
from models_registry.xet.formats.files import check_work, segments_between

PLAINS = [b"first chunk", bytes(3000), b"third" * 50, b"4", b"the fifth one"]
BODY = encode_xorb([(plain, number % 3) for number, plain in enumerate(PLAINS)])
INDEX = read_xorb(BODY)
OTHER_PLAINS = [b"another xorb", b"with two chunks"]
OTHER_BODY = encode_xorb([(plain, 0) for plain in OTHER_PLAINS])
OTHER = read_xorb(OTHER_BODY)
INDEXES = {INDEX.hash_hex: INDEX, OTHER.hash_hex: OTHER}
STORE = {INDEX.hash_hex: BODY, OTHER.hash_hex: OTHER_BODY}
CONTENTS = {INDEX.hash_hex: PLAINS, OTHER.hash_hex: OTHER_PLAINS}
RANGES = [(INDEX.hash_hex, 1, 4), (OTHER.hash_hex, 0, 2), (INDEX.hash_hex, 0, 1)]
PLAIN_FILE = b"".join(b"".join(CONTENTS[name][start:end]) for name, start, end in RANGES)
SHA256 = hashlib.sha256(PLAIN_FILE).hexdigest()
FILES = [encode_file(CONTENTS, RANGES, SHA256), encode_file(CONTENTS, [(OTHER.hash_hex, 1, 2)], None)]
SHARD = encode_shard(FILES, [encode_xorb_block(INDEX.hash_hex, PLAINS, len(BODY))])


def open_xorb(hash_hex):
    return io.BytesIO(STORE[hash_hex])


def test_a_shard_is_read_and_its_files_verify():
    shard = read_shard(SHARD)
    first, second = shard.files
    assert [(s.xorb_hash_hex, s.start, s.end) for s in first.segments] == RANGES
    assert (first.sha256_hex, second.sha256_hex) == (SHA256, None)
    assert verify_file(first, INDEXES) == len(PLAIN_FILE) == first.size_bytes
    assert verify_file(second, INDEXES) == len(OTHER_PLAINS[1])
    assert file_sha256(first.segments, INDEXES, open_xorb) == SHA256
    assert shard.xorbs[0].hash_hex == INDEX.hash_hex
    assert (shard.xorbs[0].unpacked_bytes, shard.xorbs[0].serialized_bytes) == (sum(map(len, PLAINS)), len(BODY))


@given(st.integers(0, len(PLAIN_FILE) + 5), st.integers(0, len(PLAIN_FILE) + 5))
@example(3000, 2751)
@settings(deadline=None)
def test_any_byte_range_decodes_to_that_slice(start, end):
    segments = parse_shard(SHARD)[0].segments
    assert b"".join(decode_segments(segments, INDEXES, open_xorb, start, end)) == PLAIN_FILE[start : max(start, end)]
    assert b"".join(decode_segments(segments, INDEXES, open_xorb, start)) == PLAIN_FILE[start:]


def test_a_small_range_reads_no_chunk_outside_it():
    class Counting(io.BytesIO):
        read_bytes = 0

        def read(self, size=-1):
            data = super().read(size)
            Counting.read_bytes += len(data)
            return data

    segments = parse_shard(SHARD)[0].segments
    start = len(PLAINS[1]) + 3
    list(decode_segments(segments, INDEXES, lambda name: Counting(STORE[name]), start, start + 1))
    assert Counting.read_bytes == 8 + INDEX.chunks[2].compressed_len


@given(st.integers(0, len(SHARD) - 1))
@settings(deadline=None)
def test_every_cut_is_refused(cut):
    with pytest.raises(XetFormatError):
        parse_shard(SHARD[:cut])


@given(st.integers(0, len(SHARD) - 1), st.integers(1, 255))
@settings(max_examples=500, deadline=None)
def test_a_changed_byte_is_refused_or_changes_nothing_that_is_registered(at, change):
    hostile = bytearray(SHARD)
    hostile[at] ^= change
    original = {file.file_hash_hex: file for file in parse_shard(SHARD)}
    try:
        for file in parse_shard(bytes(hostile)):
            verify_file(file, INDEXES)
            same = original[file.file_hash_hex]
            # The sha256 and its flag are the caller's to check (file_sha256).
            assert replace(file, sha256_hex=None) == replace(same, sha256_hex=None)
    except XetFormatError:
        return


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_rubbish_never_raises_anything_else(tail):
    for body in (tail, SHARD_TAG + struct.pack("<QQ", 2, 0) + tail):
        with pytest.raises(XetFormatError):
            parse_shard(body)


@pytest.mark.parametrize("extra", [b"x", bytes(48)])
def test_bytes_behind_the_last_block_are_refused(extra):
    with pytest.raises(XetFormatError, match="does not end"):
        parse_shard(SHARD + extra)


def test_a_footer_of_older_clients_is_ignored():
    assert parse_shard(encode_shard(FILES, [], bytes(200))) == parse_shard(encode_shard(FILES, []))
    with pytest.raises(XetFormatError, match="footer"):
        parse_shard(encode_shard(FILES, [], bytes(100)))


def test_a_count_is_only_believed_as_far_as_the_body_goes():
    head = SHARD_TAG + struct.pack("<QQ", 2, 0)
    huge_file = bytes(32) + struct.pack("<IIQ", 1 << 31, 0xFFFFFFFF, 0)
    with pytest.raises(XetFormatError, match="middle of a file"):
        parse_shard(head + huge_file + bytes(480))
    huge_xorb = bytes(32) + struct.pack("<IIII", 0, 0xFFFFFFFF, 0, 0)
    with pytest.raises(XetFormatError, match="middle of a xorb"):
        parse_shard(head + b"\xff" * 32 + bytes(16) + huge_xorb + bytes(480))


def test_ranges_which_would_take_hours_to_check_are_refused_before_any_hashing():
    segment = bytes(32) + struct.pack("<IIII", 0, 1, 0, 0xFFFFFFFF)
    block = bytes(32) + struct.pack("<IIQ", 0, 1, 0) + segment
    with pytest.raises(XetFormatError, match="512 GiB"):
        parse_shard(encode_shard([block], []))


def test_verify_file_names_what_is_wrong():
    file = parse_shard(SHARD)[0]
    first, *rest = file.segments
    cases = [
        (replace(file, verification=None), "without verification hashes"),
        (replace(file, segments=[replace(first, xorb_hash_hex="0" * 64), *rest]), "is not on this hub"),
        (replace(file, segments=[replace(first, end=6), *rest]), "which holds 5"),
        (replace(file, segments=[replace(first, unpacked_bytes=1), *rest]), "wrong number of bytes"),
        (replace(file, verification=[bytes(32)] * 3), "wrong verification hash"),
        (replace(file, file_hash_hex="0" * 64), "and not 0000"),
    ]
    for wrong, sentence in cases:
        with pytest.raises(XetFormatError, match=sentence):
            verify_file(wrong, INDEXES)


def test_an_empty_file_has_the_zero_hash():
    empty = parse_shard(encode_shard([encode_file({}, [], None)], []))[0]
    assert (verify_file(empty, {}), empty.file_hash_hex) == (0, hash_to_hex(bytes(32)))


def test_a_segment_without_chunks_is_refused():
    block = bytes(32) + struct.pack("<IIQ", 0, 1, 0) + bytes(32) + struct.pack("<IIII", 0, 0, 3, 3)
    with pytest.raises(XetFormatError, match="without chunks"):
        parse_shard(encode_shard([block], []))
    assert Segment("0" * 64, 1, 0, 1).end == 1


def test_more_runs_of_chunks_than_any_upload_has_are_refused(monkeypatch):
    monkeypatch.setattr(shard_format, "SHARD_MAX_SEGMENTS", 2)
    segment = bytes(32) + struct.pack("<IIII", 0, 1, 0, 1)
    block = bytes(32) + struct.pack("<IIQ", 0, 3, 0) + 3 * segment
    with pytest.raises(XetFormatError, match="runs of chunks"):
        parse_shard(encode_shard([block], []))
    empty = bytes(32) + struct.pack("<IIQ", 0, 0, 0)
    assert len(parse_shard(encode_shard(2 * [empty], []))) == 2
    with pytest.raises(XetFormatError, match="runs of chunks"):
        parse_shard(encode_shard(3 * [empty], []))


def test_files_which_cost_more_to_verify_than_to_send_are_refused_at_once():
    name = next(iter(INDEXES))
    runs = [Segment(name, sum(INDEXES[name].unpacked_lengths), 0, len(INDEXES[name]))] * 100_000
    with pytest.raises(XetFormatError, match="repeat the same chunks"):
        check_work([ShardFile("0" * 64, runs, None, None)], INDEXES)
    large = [Segment(name, 2**32 - 1, 0, 1)] * 5
    with pytest.raises(XetFormatError, match="repeat the same chunks"):
        check_work([ShardFile("0" * 64, large, None, None)], INDEXES)
    check_work(parse_shard(SHARD), INDEXES)


@pytest.mark.parametrize(("start", "end", "names", "offset"), [
    (0, 100, "abc", 0), (9, 10, "a", 9), (10, 11, "b", 0), (12, 35, "bc", 2), (29, 30, "b", 19), (60, 70, "", 60),
])  # fmt: skip
def test_the_segments_of_a_range(start, end, names, offset):
    segments = [Segment("a", 10, 0, 1), Segment("b", 20, 0, 1), Segment("c", 30, 0, 1)]
    found, at = segments_between(segments, start, end)
    assert ("".join(segment.xorb_hash_hex for segment in found), at) == (names, offset)
