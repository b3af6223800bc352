"""Global deduplication: a machine which never pushed is told of what its user may read, and of nothing else."""

from datetime import timedelta

import pytest
from blake3 import blake3
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.repos.services import update_settings
from models_registry.xet.formats import hash_to_hex, hex_to_hash, read_shard, read_xorb
from models_registry.xet.formats.answers import asked_chunks, is_asked, noted_chunks
from models_registry.xet.models import ChunkPlace, Xorb
from tests.factories import make_repository
from tests.models_registry.xet.test_cas import FILES, HASH, SHARD, XORB, send, send_shard, token_of
from tests.models_registry.xet.xet_encoder import encode_file, encode_shard, encode_xorb, xorb_hash

INDEX = read_xorb(XORB)
FIRST = hash_to_hex(INDEX.hashes[FILES[0].segments[0].start * 32 :][:32])


def ask(client, headers, chunk=FIRST, prefix="default"):
    return client.get(f"/cas/v1/chunks/{prefix}/{chunk}", headers=headers)


@pytest.fixture
def sent(anonymous, as_alice, model):
    send(anonymous, token_of(as_alice))
    assert send_shard(anonymous, token_of(as_alice)).status_code == 200


@pytest.mark.parametrize("prefix", ["default", "default-merkledb"])
def test_the_answer_is_a_shard_of_the_xorb_with_keyed_hashes(anonymous, as_alice, sent, prefix):
    answer = ask(anonymous, token_of(as_alice), prefix=prefix)
    assert answer.status_code == 200 and answer["Content-Type"] == "application/octet-stream"
    shard = read_shard(answer.content)
    assert shard.files == [] and [xorb.hash_hex for xorb in shard.xorbs] == [HASH]
    footer = answer.content[-200:]
    key, created, ends = footer[72:104], *(int.from_bytes(footer[at : at + 8], "little") for at in (104, 112))
    assert int.from_bytes(footer[192:], "little") == len(answer.content) - 200
    assert 0 < ends - created <= 24 * 3600
    found = [chunk for chunk, _, _ in shard.xorbs[0].chunks]
    plain = [INDEX.hashes[at : at + 32] for at in range(0, len(INDEX.hashes), 32)]
    assert found == [blake3(chunk, key=key).digest() for chunk in plain]
    assert not any(chunk in answer.content for chunk in plain), "a hash is told to who does not have the chunk"
    assert [length for _, _, length in shard.xorbs[0].chunks] == list(INDEX.unpacked_lengths)


def test_only_what_the_user_may_read_is_told(anonymous, as_alice, as_bob, alice, model, sent, bob):
    make_repository(bob, "mine")
    assert ask(anonymous, token_of(as_bob, name="bob/mine")).status_code == 200, "alice/m is public"
    assert send_shard(anonymous, token_of(as_bob, name="bob/mine")).status_code == 200
    update_settings(Actor(alice), model, private=True)
    from models_registry.repos.models import Repository

    Repository.objects.get(name="mine").delete()
    make_repository(bob, "mine")
    hidden = ask(anonymous, token_of(as_bob, name="bob/mine"))
    unknown = ask(anonymous, token_of(as_bob, name="bob/mine"), "0" * 64)
    assert hidden.status_code == unknown.status_code == 404 and hidden.json() == unknown.json()
    assert send_shard(anonymous, token_of(as_bob, name="bob/mine")).status_code == 400
    assert ask(anonymous, token_of(as_alice)).status_code == 200


def test_it_takes_a_token(anonymous, sent):
    assert ask(anonymous, {}).status_code == 401
    assert ask(anonymous, {"Authorization": "Bearer xet_forged"}).status_code == 401


def test_what_was_told_stays_for_weeks(anonymous, as_alice, sent):
    Xorb.objects.update(used_at=timezone.now() - timedelta(days=27))
    ask(anonymous, token_of(as_alice))
    assert Xorb.objects.get().used_at > timezone.now() - timedelta(minutes=1)


def test_chunks_by_their_hash_and_the_first_of_each_file_are_known(sent):
    firsts = {hash_to_hex(INDEX.hashes[file.segments[0].start * 32 :][:32]) for file in FILES}
    noted = {hash_to_hex(chunk) for chunk in noted_chunks(INDEX)}
    assert set(ChunkPlace.objects.values_list("chunk", flat=True)) == firsts | noted
    assert set(asked_chunks(INDEX)) <= set(noted_chunks(INDEX))
    assert is_asked(bytes(24) + (1024 * 7).to_bytes(8, "little")) and not is_asked(bytes(24) + b"\1" + bytes(7))


def test_the_whole_file_around_a_chunk_is_told(anonymous, as_alice, model):
    headers = token_of(as_alice)
    plains = [[bytes([number, part]) * 5000 for part in range(3)] for number in range(3)]
    names = {hash_to_hex(xorb_hash(part)): part for part in plains}
    for name, part in names.items():
        assert send(anonymous, headers, encode_xorb([(plain, 1) for plain in part]), name).status_code == 200
    import hashlib

    order = list(names)
    data = b"".join(b"".join(names[name]) for name in order)
    file = encode_file(names, [(name, 0, 3) for name in order], hashlib.sha256(data).hexdigest())
    assert send_shard(anonymous, headers, encode_shard([file], [])).status_code == 200
    from models_registry.xet.formats import chunk_hash

    answer = ask(anonymous, headers, hash_to_hex(chunk_hash(plains[0][0])))
    assert [xorb.hash_hex for xorb in read_shard(answer.content).xorbs] == order


def test_the_second_versions_of_routes(anonymous, as_alice, model):
    headers = token_of(as_alice)
    send(anonymous, headers)
    answer = anonymous.post("/cas/v2/shards", SHARD, content_type="x/y", headers=headers)
    assert answer.status_code == 200 and answer.content.splitlines() == [b'{"type": "result", "result": 1}']
    assert anonymous.post("/cas/v2/shards", SHARD[:-60], content_type="x/y", headers=headers).status_code == 400
    path = f"reconstructions/{FILES[0].file_hash_hex}"
    first = anonymous.get(f"/cas/v1/{path}", headers=headers).json()
    second = anonymous.get(f"/cas/v2/{path}", headers=headers).json()
    assert second["terms"] == first["terms"] and set(second) == {"offset_into_first_range", "terms", "xorbs"}
    [part] = second["xorbs"][HASH]
    span = part["ranges"][0]["bytes"]
    whole = anonymous.get(
        part["url"].removeprefix("http://testserver"), headers={"Range": f"bytes={span['start']}-{span['end']}"}
    )
    assert whole.status_code == 206 and len(b"".join(whole.streaming_content)) == span["end"] - span["start"] + 1


@pytest.mark.parametrize("text", ["", "x" * 64, "A" * 64, "0" * 63])
def test_what_is_no_hash_is_not_there(anonymous, as_alice, model, text):
    assert ask(anonymous, token_of(as_alice), text).status_code == 404
    assert hex_to_hash("0" * 64) == bytes(32)
