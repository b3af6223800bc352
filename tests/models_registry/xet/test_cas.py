"""The CAS over HTTP, with one real upload of hf_xet 1.8.0: what verifies is kept, everything else is refused."""

import hashlib
import struct
from pathlib import Path

import pytest
from django.core import signing

from models_registry.accounts.models import AccessToken
from models_registry.repos.models import RepositoryBlob
from models_registry.storage.models import Blob
from models_registry.storage.services import get_blob, read_range
from models_registry.xet import services
from models_registry.xet.formats import hex_to_hash, read_shard, read_xorb
from models_registry.xet.models import Realm, XetFile, Xorb
from tests.factories import api_commit, client_of, make_repository
from tests.models_registry.xet.xet_encoder import encode_shard

SAMPLES = Path(__file__).parent / "samples"
XORB = (SAMPLES / "hf_xet-1.8.0.xorb").read_bytes()
SHARD = (SAMPLES / "hf_xet-1.8.0.shard").read_bytes()
HASH = read_xorb(XORB).hash_hex
FILES = read_shard(SHARD).files


def token_of(client, right="write", name="alice/m"):
    answer = client.get(f"/api/models/{name}/xet-{right}-token/main")
    assert answer.status_code == 200 and answer["X-Xet-Access-Token"] == answer.json()["accessToken"]
    assert answer.json()["casUrl"] == answer["X-Xet-Cas-Url"] and "/cas/r" in answer.json()["casUrl"]
    return {"Authorization": f"Bearer {answer.json()['accessToken']}"}


def send(client, headers, body=XORB, hash_hex=HASH):
    return client.post(
        f"/cas/v1/xorbs/default/{hash_hex}", body, content_type="application/octet-stream", headers=headers
    )


def send_shard(client, headers, body=SHARD):
    return client.post("/cas/v1/shards", body, content_type="application/octet-stream", headers=headers)


def stored(data_folder):
    return [path for path in (data_folder / "storage").rglob("*") if path.is_file()]


def test_a_real_upload_is_kept_committed_and_read_back(as_alice, anonymous, model):
    headers = token_of(as_alice)
    assert send(anonymous, headers).json() == {"was_inserted": True}
    assert send(anonymous, headers).json() == {"was_inserted": False}
    assert send_shard(anonymous, headers).json() == {"result": 1}
    assert send_shard(anonymous, headers).json() == {"result": 1}
    assert XetFile.objects.count() == len(FILES) == RepositoryBlob.objects.count()
    for number, file in enumerate(FILES):
        line = {"path": f"{number}.bin", "algo": "sha256", "oid": file.sha256_hex, "size": file.size_bytes}
        assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200
        url = f"/alice/m/resolve/main/{number}.bin"
        whole = b"".join(anonymous.get(url).streaming_content)
        assert hashlib.sha256(whole).hexdigest() == file.sha256_hex
        part = anonymous.get(url, headers={"Range": "bytes=1000-70000"})
        assert b"".join(part.streaming_content) == whole[1000:70001]


def test_what_is_not_offered_is_a_quick_404(anonymous, as_alice, model):
    headers = token_of(as_alice)
    for path in (f"v1/xorb-grants/default/{HASH}", f"v2/file-chunk-hashes/{HASH}", "v1/telemetry", "x"):
        assert anonymous.post(f"/cas/{path}", b"", content_type="x/y", headers=headers).status_code == 404
    assert anonymous.get(f"/cas/v1/chunks/default/{HASH}", headers=headers).status_code == 404
    assert send(anonymous, headers, hash_hex="zz").status_code == 404


@pytest.mark.parametrize(
    "body",
    [b"", XORB[:-1], XORB[:7], XORB + b"x", b"\x01" + XORB[1:], XORB[:200] + b"\0" + XORB[201:], b"A" * 1000],
    ids=["empty", "cut", "cut in a header", "more", "version", "flipped", "noise"],
)
def test_a_xorb_which_does_not_verify_leaves_nothing(anonymous, as_alice, model, data_folder, body):
    answer = send(anonymous, token_of(as_alice), body)
    assert answer.status_code == 400 and answer.json()["error"]
    assert stored(data_folder) == [] and not Xorb.objects.exists()


def test_a_xorb_under_another_hash_is_refused(anonymous, as_alice, model, data_folder):
    assert send(anonymous, token_of(as_alice), hash_hex="0" * 64).status_code == 400
    assert stored(data_folder) == []


@pytest.mark.parametrize(
    "body", [b"", SHARD[:40], SHARD[:-60], b"x" * 500, SHARD[:60] + b"\xff" * 8 + SHARD[68:]],
    ids=["empty", "header cut", "cut", "noise", "flipped"],
)  # fmt: skip
def test_a_shard_which_does_not_verify_leaves_nothing(anonymous, as_alice, model, body):
    headers = token_of(as_alice)
    send(anonymous, headers)
    answer = send_shard(anonymous, headers, body)
    assert answer.status_code == 400 and answer.json()["error"]
    assert not XetFile.objects.exists() and not Blob.objects.exists()


def test_a_shard_whose_xorb_was_never_sent(anonymous, as_alice, model):
    answer = send_shard(anonymous, token_of(as_alice))
    assert answer.status_code == 400 and "upload it again" in answer.json()["error"]


def test_a_small_shard_which_would_cost_minutes_is_refused_at_once(anonymous, as_alice, model, monkeypatch):
    headers = token_of(as_alice)
    send(anonymous, headers)
    chunks = len(read_xorb(XORB))
    count = 128 * 1024 // chunks + 1000
    segment = hex_to_hash(HASH) + struct.pack("<IIII", 0, 1, 0, chunks)
    block = bytes(32) + struct.pack("<IIQ", 1 << 31, count, 0) + segment * count + bytes(48) * count
    monkeypatch.setattr(services, "verify_file", None)  # not even begun
    answer = send_shard(anonymous, headers, encode_shard([block], []))
    assert answer.status_code == 400 and "repeat the same chunks" in answer.json()["error"]


def test_a_file_named_twice_in_a_shard_is_verified_once(anonymous, as_alice, model):
    headers = token_of(as_alice)
    send(anonymous, headers)
    at = 48
    blocks = SHARD[at : SHARD.index(b"\xff" * 32 + bytes(16), at)]
    twice = SHARD[:at] + blocks + SHARD[at:]
    assert send_shard(anonymous, headers, twice).status_code == 200
    assert XetFile.objects.count() == len(FILES)


def test_knowing_a_hash_gives_nobody_anothers_bytes(anonymous, as_alice, as_bob, alice, bob):
    make_repository(alice, "secret", private=True)
    make_repository(bob, "mine")
    send(anonymous, token_of(as_alice, name="alice/secret"))
    send_shard(anonymous, token_of(as_alice, name="alice/secret"))
    stolen = send_shard(anonymous, token_of(as_bob, name="bob/mine"))
    assert stolen.status_code == 400
    line = {"path": "x.bin", "algo": "sha256", "oid": FILES[0].sha256_hex, "size": FILES[0].size_bytes}
    mine = as_bob.get("/api/models/bob/mine")
    assert mine.status_code == 200
    from models_registry.repos.models import Repository

    answer = api_commit(as_bob, Repository.objects.get(name="mine"), {"key": "lfsFile", "value": line})
    assert answer.status_code == 400


def test_a_second_repository_of_the_same_user_may_build_on_what_is_here(anonymous, as_alice, model, alice):
    """The client's cache names xorbs which it sent to another repository before."""
    send(anonymous, token_of(as_alice))
    make_repository(alice, "other")
    assert send_shard(anonymous, token_of(as_alice, name="alice/other")).status_code == 200


def test_a_deleted_repository_takes_no_shared_bytes_with_it(anonymous, as_alice, model, alice):
    other = make_repository(alice, "other")
    send(anonymous, token_of(as_alice))
    send_shard(anonymous, token_of(as_alice))
    send_shard(anonymous, token_of(as_alice, name="alice/other"))
    model.delete()
    assert RepositoryBlob.objects.filter(repository=other).count() == len(FILES)
    assert b"".join(read_range(get_blob(FILES[0].sha256_hex)))


def test_a_deleted_repository_can_be_pushed_again_by_a_client_which_remembers(anonymous, as_alice, alice, model):
    send(anonymous, token_of(as_alice))
    model.delete()
    make_repository(alice, "m")
    assert send_shard(anonymous, token_of(as_alice)).status_code == 200


def test_every_user_and_every_hub_has_an_address_of_its_own(as_alice, as_bob, anonymous, model):
    """What a client remembers by address must never be taken for sent to somebody else."""
    addresses = [
        c.get("/api/models/alice/m/xet-read-token/main").json()["casUrl"] for c in (as_alice, as_bob, anonymous)
    ]
    assert len(set(addresses)) == 3
    Realm.objects.all().delete()
    assert as_alice.get("/api/models/alice/m/xet-read-token/main").json()["casUrl"] not in addresses
    path = addresses[0].removeprefix("http://testserver")
    answer = anonymous.post(f"{path}/v1/xorbs/default/{HASH}", XORB, content_type="x/y", headers=token_of(as_alice))
    assert answer.json() == {"was_inserted": True}


def test_tokens(anonymous, as_alice, as_bob, alice, model):
    assert as_bob.get("/api/models/alice/m/xet-write-token/main").status_code == 403
    assert send(anonymous, token_of(as_bob, "read")).status_code == 403
    assert send(anonymous, {}).status_code == 401
    assert send(anonymous, {"Authorization": "Bearer xet_forged"}).status_code == 401
    old = signing.dumps({"repository": model.pk, "user": alice.pk, "token": None, "write": True}, salt="other")
    assert send(anonymous, {"Authorization": f"Bearer xet_{old}"}).status_code == 401
    assert as_alice.get("/api/models/alice/m/xet-write-token/nope")["X-Error-Code"] == "RevisionNotFound"
    headers = token_of(as_alice)
    AccessToken.objects.filter(user=alice).delete()
    assert send(anonymous, headers).status_code == 401


def test_a_read_token_may_not_get_a_write_token(alice, model):
    assert client_of(alice, "read").get("/api/models/alice/m/xet-write-token/main").status_code == 403
