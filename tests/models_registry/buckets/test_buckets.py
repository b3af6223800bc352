"""Buckets over the API: rights, batches in which each operation stands alone, listings, and what they keep alive."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.buckets.models import BucketFile
from models_registry.repos.models import Repository, RepositoryBlob
from models_registry.storage.models import Blob
from models_registry.upkeep.garbage import Grace, collect
from models_registry.xet.models import Xorb
from tests.factories import client_of, make_repository
from tests.models_registry.xet.test_cas import FILES, send, send_shard, token_of

FIRST, SECOND = FILES[0], FILES[-1]


@pytest.fixture
def bucket(as_alice) -> Repository:
    answer = as_alice.post("/api/buckets/me/b", {}, content_type="application/json")
    assert answer.status_code == 200 and answer.json()["url"] == "http://testserver/buckets/alice/b"
    return Repository.objects.get(type="bucket")


def cas(client, name="alice/b", right="write"):
    answer = client.get(f"/api/buckets/{name}/xet-{right}-token")
    assert answer.status_code == 200 and answer.json()["casUrl"] == answer["X-Xet-Cas-Url"]
    return {"Authorization": f"Bearer {answer.json()['accessToken']}"}


@pytest.fixture
def filled(anonymous, as_alice, bucket):
    send(anonymous, cas(as_alice))
    assert send_shard(anonymous, cas(as_alice)).status_code == 200
    done = batch(as_alice, add("x/one.bin"), add("x/y/two.bin", SECOND), add("x.txt", mtime=1_700_000_000_123))
    assert done.status_code == 200 and done.json()["failed"] == []
    return bucket


def add(path, file=FIRST, mtime=None):
    return {"type": "addFile", "path": path, "xetHash": file.file_hash_hex} | ({"mtime": mtime} if mtime else {})


def batch(client, *operations, name="alice/b"):
    body = "\n".join(json.dumps(operation) for operation in operations)
    return client.post(f"/api/buckets/{name}/batch", body, content_type="application/x-ndjson")


def tree(client, prefix="", name="alice/b", **query):
    answer = client.get(f"/api/buckets/{name}/tree{prefix}", query)
    assert answer.status_code == 200
    return [(row["type"], row["path"]) for row in answer.json()]


def test_files_come_back_whole_in_ranges_and_by_xet(anonymous, as_alice, filled):
    answer = anonymous.get("/buckets/alice/b/resolve/x/one.bin")
    data = b"".join(answer.streaming_content)
    assert len(data) == FIRST.size_bytes and answer["X-Linked-Size"] == str(FIRST.size_bytes)
    assert answer["X-Xet-Hash"] == FIRST.file_hash_hex and "/api/buckets/alice/b/xet-read-token" in answer["Link"]
    part = anonymous.get("/buckets/alice/b/resolve/x/one.bin", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and b"".join(part.streaming_content) == data[10:20]
    found = anonymous.get(f"/cas/v1/reconstructions/{FIRST.file_hash_hex}", headers=cas(anonymous, right="read"))
    assert found.status_code == 200
    missing = anonymous.get("/buckets/alice/b/resolve/none")
    assert missing.status_code == 404 and missing["X-Error-Code"] == "EntryNotFound"


def test_listings(as_alice, filled):
    assert tree(as_alice) == [("file", "x.txt"), ("file", "x/one.bin"), ("file", "x/y/two.bin")]
    assert tree(as_alice, recursive="false") == [("directory", "x"), ("file", "x.txt")]
    assert tree(as_alice, "/x", recursive="false") == [
        ("file", "x.txt"), ("file", "x/one.bin"), ("directory", "x/y"),
    ]  # fmt: skip
    assert tree(as_alice, "/x%2F", recursive="false") == [("file", "x/one.bin"), ("directory", "x/y")]
    assert tree(as_alice, "/X") == []
    page = as_alice.get("/api/buckets/alice/b/tree", {"limit": 2})
    assert len(page.json()) == 2 and 'rel="next"' in page["Link"]
    rest = as_alice.get(page["Link"].partition(">")[0].removeprefix("<http://testserver"))
    assert [row["path"] for row in rest.json()] == ["x/y/two.bin"] and "Link" not in rest
    [row] = as_alice.post("/api/buckets/alice/b/paths-info", {"paths": ["x.txt", "x"]}, "application/json").json()
    assert row["mtime"] == "2023-11-14T22:13:20.123Z" and row["xetHash"] == FIRST.file_hash_hex
    info = as_alice.get("/api/buckets/alice/b").json()
    assert info["totalFiles"] == 3 and info["size"] == 2 * FIRST.size_bytes + SECOND.size_bytes


def test_one_level_in_pages(as_alice, filled):
    names = ["X/one", "x%/a", "x_/a", "x0/a", "x0/b", "x!", "xé/1/2", "x/z/9"]
    assert batch(as_alice, *(add(name) for name in names)).status_code == 200
    seen, url = [], "/api/buckets/alice/b/tree/x?recursive=false&limit=2"
    while url:
        answer = as_alice.get(url)
        seen += [(row["type"], row["path"]) for row in answer.json()]
        url = answer.get("Link", "").partition(">")[0].removeprefix("<http://testserver")
    assert seen == [
        ("file", "x!"), ("directory", "x%"), ("file", "x.txt"), ("file", "x/one.bin"), ("directory", "x/y"),
        ("directory", "x/z"), ("directory", "x0"), ("directory", "x_"), ("directory", "xé"),
    ]  # fmt: skip
    assert tree(as_alice, recursive="false")[0] == ("directory", "X")


def test_operations_succeed_and_fail_one_by_one(as_alice, filled):
    bad = [
        add("../out"), add("/abs"), add("a\\b"), add(""), {"type": "deleteFile", "path": "none"},
        {"type": "addFile", "path": "z", "xetHash": "0" * 63 + "1"}, add("m", mtime=-5), add("m", mtime=10**16),
    ]  # fmt: skip
    answer = batch(as_alice, *bad)
    assert answer.status_code == 422 and len(answer.json()["failed"]) == len(bad)
    assert all(row["error"] for row in answer.json()["failed"])
    mixed = batch(as_alice, add("good"), bad[0], {"type": "deleteFile", "path": "x.txt"})
    assert mixed.status_code == 200 and mixed.json()["succeeded"] == 2 and not mixed.json()["success"]
    assert {path for _, path in tree(as_alice)} == {"good", "x/one.bin", "x/y/two.bin"}


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"nope", b"[1]", b'{"type": "rename", "path": "x"}', b'{"path": 1}', b'{"type":"addFile","path":"x"}']
)  # fmt: skip
def test_a_batch_which_is_none_is_refused(as_alice, filled, body):
    answer = as_alice.post("/api/buckets/alice/b/batch", body, content_type="application/x-ndjson")
    assert answer.status_code == 400 and answer.json()["error"]


def test_nobody_adds_what_they_did_not_send(as_alice, as_bob, bob, filled):
    as_bob.post("/api/buckets/bob/own", {}, content_type="application/json")
    assert batch(as_bob, add("stolen"), name="bob/own").status_code == 422
    assert batch(as_bob, add("x"), name="alice/b").status_code == 403
    as_alice.put("/api/buckets/alice/b/settings", {"private": True}, "application/json")
    copy = {"type": "copyFile", "path": "c", "xetHash": FIRST.file_hash_hex, "sourceRepoType": "bucket"}
    hidden = batch(as_bob, copy | {"sourceRepoId": "alice/b"}, name="bob/own")
    assert hidden.status_code == 422 and "not found" in hidden.json()["failed"][0]["error"].lower()
    as_alice.put("/api/buckets/alice/b/settings", {"private": False}, "application/json")
    assert batch(as_bob, copy | {"sourceRepoId": "alice/b"}, name="bob/own").status_code == 200
    other = batch(as_bob, copy | {"sourceRepoId": "alice/b", "xetHash": "0" * 63 + "2"}, name="bob/own")
    assert other.status_code == 422
    assert batch(as_bob, copy | {"sourceRepoType": "x", "sourceRepoId": "a/b"}, name="bob/own").status_code == 422


def test_a_model_takes_no_file_without_its_sha256_but_a_bucket_does(anonymous, as_alice, model, bucket):
    from models_registry.xet.formats import hash_to_hex
    from tests.models_registry.xet.xet_encoder import encode_file, encode_shard, encode_xorb, xorb_hash

    plains = [b"abc" * 1000, b"de" * 900]
    name = hash_to_hex(xorb_hash(plains))
    shard = encode_shard([encode_file({name: plains}, [(name, 0, 2)], None)], [])
    assert send(anonymous, token_of(as_alice), encode_xorb([(plain, 1) for plain in plains]), name).status_code == 200
    assert send_shard(anonymous, token_of(as_alice), shard).status_code == 400
    assert send_shard(anonymous, cas(as_alice), shard).status_code == 200


def test_what_a_bucket_names_stays_and_what_it_does_not_goes(as_alice, filled):
    batch(as_alice, {"type": "deleteFile", "path": "x/y/two.bin"})
    later = timezone.now() + timedelta(days=1000)
    planned = collect(Grace(days=7), dry_run=True, now=later)
    assert collect(Grace(days=7), now=later) == planned
    later += timedelta(days=8)
    collect(Grace(days=7), now=later)
    assert set(Blob.objects.values_list("pk", flat=True)) == {BucketFile.objects.first().blob_id}
    assert Xorb.objects.exists() and RepositoryBlob.objects.count() == 1
    assert as_alice.delete("/api/buckets/alice/b").status_code == 200
    collect(Grace(days=7), now=later + timedelta(days=30))
    assert not Blob.objects.exists() and not Xorb.objects.exists()


def test_making_moving_and_types(as_alice, as_bob, alice, bucket):
    again = as_alice.post("/api/buckets/alice/b", {}, content_type="application/json")
    assert again.status_code == 409 and again.json()["url"].endswith("/buckets/alice/b")
    assert as_bob.post("/api/buckets/alice/c", {}, content_type="application/json").status_code == 403
    bad = as_alice.post("/api/buckets/alice/c", {"region": "eu"}, content_type="application/json")
    assert bad.status_code == 400 and "region" in bad.json()["error"]
    made = as_alice.post("/api/repos/create", {"name": "c", "type": "bucket"}, content_type="application/json")
    assert made.status_code == 400 and "/api/buckets/" in made.json()["error"]
    make_repository(alice, "b")  # a model of the same name is another thing
    assert as_alice.get("/api/models/alice/b").status_code == 200
    moved = as_alice.post(
        "/api/repos/move", {"fromRepo": "alice/b", "toRepo": "alice/d", "type": "bucket"}, "application/json"
    )
    assert moved.status_code == 200
    old = as_alice.get("/api/buckets/alice/b")
    assert old.status_code == 307 and old["Location"].endswith("/api/buckets/alice/d")
    assert client_of(alice, "read").delete("/api/buckets/alice/d").status_code == 403
    assert Actor(alice).name == "alice"


def test_its_page(browser_of, alice, filled):
    page = browser_of(alice).get("/buckets/alice/b")
    assert page.status_code == 200 and b"x.txt" in page.content and b"hf buckets cp" in page.content
    folder = browser_of().get("/buckets/alice/b/tree/x")
    assert folder.status_code == 200 and b"one.bin" in folder.content and b"hf buckets cp" not in folder.content
    assert browser_of().get("/buckets/alice/b/tree/none").status_code == 404
    assert b"alice/b" in browser_of().get("/alice").content
    Repository.objects.update(private=True)
    assert browser_of().get("/buckets/alice/b").status_code == 404
