"""What only S3 does: signed addresses for parts and ranges, and trouble which is told in a sentence."""

import hashlib
import json
import os
import urllib.error
import urllib.request
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from models_registry.errors import BadRequest, StorageUnavailable
from models_registry.hfapi import lfs_parts
from models_registry.storage.blobstore import blob_store
from models_registry.storage.local import LocalBlobStore
from models_registry.storage.models import Blob
from models_registry.storage.moving import copy_store, delete_copied
from models_registry.storage.services import read_range
from tests.factories import api_commit, push
from tests.models_registry.xet.test_cas import FILES, send, send_shard, token_of

DATA = os.urandom(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
KEY = f"blobs/{SHA256}"
MB = 1024 * 1024


def http(method, url, data=None, headers=None):
    headers = ({"Content-Type": "application/octet-stream"} if data is not None else {}) | (headers or {})
    return urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=20)


def put(store, tmp_path, data=DATA, key=KEY):
    path = tmp_path / "incoming"
    path.write_bytes(data)
    store.put_file(key, path)


def test_an_address_gives_ranges(bucket, tmp_path):
    put(bucket, tmp_path)
    answer = http("GET", bucket.presigned_url(KEY), headers={"Range": "bytes=10-19"})
    assert answer.status == 206 and answer.read() == DATA[10:20]
    assert http("GET", bucket.presigned_url(KEY)).read() == DATA


def test_an_address_for_one_range_gives_no_other(bucket, tmp_path, s3_place):
    put(bucket, tmp_path)
    url = bucket.presigned_url(KEY, span=(100, 200))
    assert http("GET", url, headers={"Range": "bytes=100-199"}).read() == DATA[100:200]
    assert "range" in url.lower().partition("signedheaders=")[2]
    if "FITHUB_TEST_S3" in os.environ:  # moto does not check signatures
        for headers in ({"Range": "bytes=0-199"}, {}):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                http("GET", url, headers=headers)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            http("GET", url.replace("Signature=", "Signature=0"), headers={"Range": "bytes=100-199"})


def test_parts_by_signed_addresses(bucket):
    upload = bucket.begin_parts("incoming/x")
    data = [os.urandom(5 * MB), os.urandom(1000)]
    etags = []
    for number, part in enumerate(data, 1):
        answer = http("PUT", bucket.part_url("incoming/x", upload, number, 60), part)
        etags.append(answer.headers["ETag"].strip('"'))
    with pytest.raises(BadRequest, match="send them again"):
        bucket.finish_parts("incoming/x", upload, [etags[0], "0" * 32])
    bucket.finish_parts("incoming/x", upload, etags)
    bucket.copy("incoming/x", "blobs/aa11")
    assert b"".join(bucket.read_range("blobs/aa11", 0, 5 * MB + 1000)) == b"".join(data)


def test_parts_which_were_never_completed_are_forgotten(bucket):
    upload = bucket.begin_parts("incoming/x")
    http("PUT", bucket.part_url("incoming/x", upload, 1, 60), b"half")
    if "FITHUB_TEST_S3" in os.environ:  # moto says that every upload began in 2010
        assert bucket.clear_up(timezone.now() - timedelta(days=1)) == 0
    assert bucket.clear_up(timezone.now() + timedelta(minutes=1)) == 1
    assert bucket.clear_up(timezone.now() + timedelta(minutes=1)) == 0


# --- a hub which keeps its files there -----------------------------------------------------------------------------
@pytest.mark.django_db
def test_lfs_parts_go_to_s3_itself(as_alice, anonymous, model, hub_on_s3, monkeypatch):
    monkeypatch.setattr(lfs_parts, "PART_BYTES", 5 * MB)
    data = os.urandom(11 * MB)
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": oid, "size": len(data)}]}

    def begin():
        answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
        return answer["objects"][0]["actions"]["upload"]

    def complete(action, etags):
        parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
        path = action["href"].removeprefix("http://testserver")
        return anonymous.post(path, json.dumps({"oid": oid, "parts": parts}), content_type="application/json")

    def send_parts(action, data):
        urls = [url for name, url in sorted(action["header"].items()) if name.isdecimal()]
        chunk = int(action["header"]["chunk_size"])
        assert len(urls) == 3 and all(hub_on_s3.bucket in url for url in urls)
        pieces = [data[at : at + chunk] for at in range(0, len(data), chunk)]
        return [http("PUT", url, piece).headers["ETag"] for url, piece in zip(urls, pieces, strict=True)]

    wrong = begin()
    refused = complete(wrong, send_parts(wrong, data[:-1] + bytes([data[-1] ^ 1])))
    assert refused.status_code == 400 and "another SHA-256" in refused.json()["error"]
    assert not Blob.objects.exists() and list(hub_on_s3.keys("incoming")) == []
    action = begin()
    etags = send_parts(action, data)
    assert complete(action, etags[:2]).status_code == 400
    assert complete(action, etags).status_code == 200 and complete(action, etags).status_code == 200
    assert list(hub_on_s3.keys("incoming")) == [] and list(hub_on_s3.keys("blobs")) == [f"blobs/{oid}"]
    line = {"path": "w.bin", "algo": "sha256", "oid": oid, "size": len(data)}
    assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200
    answer = anonymous.get("/alice/m/resolve/main/w.bin")
    assert answer.status_code == 302 and answer["X-Linked-Size"] == str(len(data)) and answer["X-Repo-Commit"]
    assert hashlib.sha256(http("GET", answer["Location"]).read()).hexdigest() == oid
    assert anonymous.head("/alice/m/resolve/main/w.bin").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["parts swapped", "etags swapped", "longer", "shorter", "one part twice"])
def test_parts_which_are_not_the_file_leave_nothing(as_alice, anonymous, model, hub_on_s3, monkeypatch, how):
    monkeypatch.setattr(lfs_parts, "PART_BYTES", 5 * MB)
    data = os.urandom(11 * MB)
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": oid, "size": len(data)}]}
    answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
    action = answer["objects"][0]["actions"]["upload"]
    first, second, last = data[: 5 * MB], data[5 * MB : 10 * MB], data[10 * MB :]
    if how == "parts swapped":
        first, second = second, first
    pieces = [first, second, {"longer": last + b"more", "shorter": last[:-1]}.get(how, last)]
    urls = [url for name, url in sorted(action["header"].items()) if name.isdecimal()]
    etags = [http("PUT", url, piece).headers["ETag"] for url, piece in zip(urls, pieces, strict=True)]
    if how == "etags swapped":
        etags[0], etags[1] = etags[1], etags[0]
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    if how == "one part twice":
        parts[2] = parts[1]
    path = action["href"].removeprefix("http://testserver")
    refused = anonymous.post(path, json.dumps({"oid": oid, "parts": parts}), content_type="application/json")
    assert refused.status_code == 400 and refused.json()["error"]
    assert not Blob.objects.exists()
    assert list(hub_on_s3.keys("incoming")) == list(hub_on_s3.keys("blobs")) == []


@pytest.mark.django_db
def test_xorbs_come_from_s3_itself(as_alice, anonymous, model, hub_on_s3):
    headers = token_of(as_alice)
    send(anonymous, headers)
    assert send_shard(anonymous, headers).status_code == 200
    found = anonymous.get(f"/cas/v1/reconstructions/{FILES[0].file_hash_hex}", headers=headers).json()
    for parts in found["fetch_info"].values():
        for part in parts:
            assert hub_on_s3.bucket in part["url"]
            span = part["url_range"]
            got = http("GET", part["url"], headers={"Range": f"bytes={span['start']}-{span['end']}"}).read()
            assert len(got) == span["end"] - span["start"] + 1
    whole = b"".join(read_range(Blob.objects.get(pk=FILES[0].sha256_hex)))
    assert hashlib.sha256(whole).hexdigest() == FILES[0].sha256_hex


# --- moving --------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_a_hub_moves_to_s3_and_back(alice, as_alice, anonymous, model, bucket, settings, data_folder, capsys):
    push(model, alice, {"a.bin": b"one", "b.bin": b"two" * 1000})
    send(anonymous, token_of(as_alice))
    send_shard(anonymous, token_of(as_alice))
    folder = blob_store()
    before = {
        key: b"".join(folder.read_range(key, 0, folder.size(key)))
        for kind in ("blobs", "xorbs")
        for key in folder.keys(kind)
    }
    assert len(before) == 3
    with pytest.raises(CommandError, match="S3_BUCKET"):
        call_command("move_storage", "s3")
    credentials = bucket.client._request_signer._credentials
    settings.S3_BUCKET, settings.S3_ENDPOINT_URL = bucket.bucket, bucket.client.meta.endpoint_url
    settings.S3_ACCESS_KEY, settings.S3_SECRET_KEY = credentials.access_key, credentials.secret_key
    call_command("move_storage", "s3")
    assert "copied 3 objects" in capsys.readouterr().out
    call_command("move_storage", "s3", "--delete")
    assert "copied 0 objects (0 bytes), 3 were there already, 3 deleted" in capsys.readouterr().out
    assert list(folder.keys("blobs")) == []
    assert {key: b"".join(bucket.read_range(key, 0, bucket.size(key))) for key in before} == before
    call_command("move_storage", "folder", "--delete")
    assert {key: b"".join(folder.read_range(key, 0, folder.size(key))) for key in before} == before
    assert list(bucket.keys("blobs")) == list(bucket.keys("xorbs")) == []


def test_a_move_goes_on_where_it_was_broken_off(bucket, tmp_path, settings):
    folder = LocalBlobStore(tmp_path / "store")
    for number in range(5):
        data = b"%d" % number
        put(folder, tmp_path, data, f"blobs/{hashlib.sha256(data).hexdigest()}")
    copies = []

    class Dying:
        def __getattr__(self, name):
            return getattr(bucket, name)

        def put_file(self, key, path):
            if len(copies) == 2:
                raise StorageUnavailable("gone")
            copies.append(key)
            bucket.put_file(key, path)

    with pytest.raises(StorageUnavailable):
        copy_store(folder, Dying())
    moved = copy_store(folder, bucket)
    assert (moved.copied, moved.there) == (3, 2)
    assert delete_copied(folder, bucket) == 5
    assert list((settings.FITHUB_DATA / "storage" / "staging").iterdir()) == []


def test_what_is_damaged_is_not_moved(bucket, tmp_path):
    folder = LocalBlobStore(tmp_path / "store")
    put(folder, tmp_path, b"not what the name says")
    said = []
    moved = copy_store(folder, bucket, said.append)
    assert moved.damaged == (KEY,) and not bucket.exists(KEY) and KEY in said[0]


# --- trouble -------------------------------------------------------------------------------------------------------
def test_every_call_to_a_broken_store_is_a_sentence(broken, tmp_path):
    path = tmp_path / "incoming"
    path.write_bytes(b"kept")
    calls = [
        lambda: broken.put_file(KEY, path), lambda: broken.size(KEY), lambda: broken.exists(KEY),
        lambda: broken.open(KEY), lambda: broken.read_range(KEY, 0, 5), lambda: broken.delete(KEY),
        lambda: list(broken.keys("blobs")), lambda: broken.begin_parts(KEY),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(StorageUnavailable, match="try again"):
            call()
    with pytest.raises(OSError, match="can not be reached"):
        broken.check()
    assert path.read_bytes() == b"kept"


@pytest.mark.django_db
def test_a_hub_whose_store_is_broken_says_503_and_keeps_nothing(
    as_alice, anonymous, model, broken, monkeypatch, data_folder
):
    from models_registry.storage import blobstore

    monkeypatch.setattr(blobstore, "_current", broken)
    sha256 = hashlib.sha256(b"x").hexdigest()
    body = {"operation": "upload", "objects": [{"oid": sha256, "size": 1}]}
    answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
    path = answer["objects"][0]["actions"]["upload"]["href"].removeprefix("http://testserver")
    for _ in range(2):
        answer = anonymous.put(path, b"x", content_type="application/octet-stream")
        assert answer.status_code == 503 and "try again" in answer.json()["error"] and answer["Retry-After"]
    line = {"path": "x.bin", "algo": "sha256", "oid": sha256, "size": 1}
    assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 400
    assert list((data_folder / "storage" / "staging").iterdir()) == []
    assert send(anonymous, token_of(as_alice)).status_code == 503
    assert send_shard(anonymous, token_of(as_alice)).status_code == 400
    blobstore.forget()
    assert anonymous.put(path, b"x", content_type="application/octet-stream").status_code == 200
    assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200


def test_a_download_whose_connection_breaks_goes_on(bucket, tmp_path, monkeypatch):
    put(bucket, tmp_path)
    real, breaks = bucket._body, []

    class Breaking:
        def __init__(self, body):
            self.body = body

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.body.close()

        def iter_chunks(self, size):
            yield next(self.body.iter_chunks(1000))
            raise OSError("reset")

    def body(key, start, end):
        if len(breaks) < 2:
            breaks.append(start)
            return Breaking(real(key, start, end))
        return real(key, start, end)

    monkeypatch.setattr(bucket, "_body", body)
    assert b"".join(bucket.read_range(KEY, 5, 600_000)) == DATA[5:600_005]
    assert breaks == [5, 1005]
