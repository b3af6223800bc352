"""git-lfs's own protocol: batches, uploads in parts, locks, what a browser may do, and how refusals are said."""

import hashlib
import json
import time

import pytest
from django.core import signing
from django.test import Client

from models_registry.hfapi import lfs, lfs_parts
from models_registry.repos.models import RepositoryBlob
from tests import factories

DATA = b"0123456789" * 25  # in parts of 100 bytes: two whole ones and a half
OID = hashlib.sha256(DATA).hexdigest()


def batch(client, repository, operation="upload", transfers=("basic", "multipart"), objects=None, size=len(DATA)):
    body = {"operation": operation, "transfers": list(transfers), "objects": objects or [{"oid": OID, "size": size}]}
    return client.post(
        f"/{repository.path}.git/info/lfs/objects/batch", json.dumps(body), content_type="application/vnd.git-lfs+json"
    )


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.setattr(lfs_parts, "PART_BYTES", 100)
    monkeypatch.setattr(lfs_parts, "WHOLE_BYTES", 100)


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


def put(url: str, data: bytes):
    return Client().put(path_of(url), data, content_type="application/octet-stream")


def complete(url: str, etags: dict[int, str], oid: str = OID):
    body = {"oid": oid, "parts": [{"partNumber": number, "etag": etag} for number, etag in etags.items()]}
    return Client().post(path_of(url), json.dumps(body), content_type="application/json")


def test_a_file_in_parts(as_alice, model, parts, data_folder) -> None:
    answer = batch(as_alice, model).json()
    assert answer["transfer"] == "multipart"
    actions = answer["objects"][0]["actions"]
    header = actions["upload"]["header"]
    assert list(header) == ["chunk_size", "00001", "00002", "00003"] and header["chunk_size"] == "100"
    href = actions["upload"]["href"]
    early = complete(href, {1: "x", 2: "x", 3: "x"})
    assert early.status_code == 400 and "Part 1 has not arrived" in early.json()["error"]
    etags = {}
    assert put(header["00002"], b"y" * 100).status_code == 200  # sent again below, as it should be
    for number in (3, 1, 2):
        sent = put(header[f"{number:05d}"], DATA[(number - 1) * 100 : number * 100])
        assert sent.status_code == 200 and sent["Access-Control-Expose-Headers"].startswith("ETag")
        etags[number] = sent["ETag"]
    assert put(header["00001"], b"short").status_code == 400
    assert put(header["00003"], b"x" * 51).status_code == 413
    wrong = complete(href, etags | {2: '"0"'})
    assert wrong.status_code == 400 and "Part 2 is not the one" in wrong.json()["error"]
    for given in ({1: etags[1]}, {**etags, 4: "x"}):
        assert "parts 1 to 3" in complete(href, given).json()["error"]
    assert complete(href, etags, "0" * 64).status_code == 400
    assert not RepositoryBlob.objects.filter(repository=model).exists()
    for _ in range(2):  # the second time as after a lost answer
        assert complete(href, dict(sorted(etags.items()))).status_code == 200
    assert not list((data_folder / "storage" / "staging").iterdir())
    verify = path_of(actions["verify"]["href"])
    assert Client().post(verify, "{}", content_type="application/json").status_code == 200
    download = batch(as_alice, model, "download").json()
    assert download["transfer"] == "basic"
    got = Client().get(path_of(download["objects"][0]["actions"]["download"]["href"]))
    assert b"".join(got) == DATA
    assert "actions" not in batch(as_alice, model).json()["objects"][0]


def test_parts_which_make_another_file(as_alice, model, parts) -> None:
    actions = batch(as_alice, model).json()["objects"][0]["actions"]
    header = actions["upload"]["header"]
    etags = {
        number: put(header[f"{number:05d}"], b"x" * length)["ETag"] for number, length in ((1, 100), (2, 100), (3, 50))
    }
    answer = complete(actions["upload"]["href"], etags)
    assert answer.status_code == 400 and "SHA-256" in answer.json()["error"]
    assert Client().post(path_of(actions["verify"]["href"])).status_code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"oid": 1}', b'{"oid": "%s", "parts": [1]}' % OID.encode()])
def test_odd_completions(body: bytes, as_alice, model, parts) -> None:
    href = batch(as_alice, model).json()["objects"][0]["actions"]["upload"]["href"]
    assert Client().post(path_of(href), body, content_type="application/json").status_code == 400


def test_a_completion_without_end(as_alice, model, parts, monkeypatch) -> None:
    monkeypatch.setattr(lfs, "MAX_JSON_BYTES", 1000)
    href = batch(as_alice, model).json()["objects"][0]["actions"]["upload"]["href"]
    assert Client().post(path_of(href), b" " * 1001, content_type="application/json").status_code == 413


def test_parts_only_for_those_who_know_them_and_files_which_are_worth_them(as_alice, model, parts) -> None:
    assert batch(as_alice, model, transfers=["basic"]).json()["transfer"] == "basic"
    assert batch(as_alice, model, size=100).json()["transfer"] == "basic"
    assert batch(as_alice, model, "download").json()["transfer"] == "basic"
    assert lfs_parts.count_of(0, 100) == 1 and lfs_parts.chunk_bytes(10**15) * lfs_parts.MOST_PARTS >= 10**15


def test_links_end_with_the_rights(as_alice, alice, model, parts) -> None:
    actions = batch(as_alice, model).json()["objects"][0]["actions"]
    alice.access_tokens.all().delete()
    for url in (actions["upload"]["href"], actions["verify"]["href"]):
        assert Client().post(path_of(url)).status_code == 404
    assert put(actions["upload"]["header"]["00001"], DATA[:100]).status_code == 404


def test_links_which_have_ended_or_were_changed_are_refused(as_alice, model, monkeypatch, data_folder) -> None:
    href = batch(as_alice, model).json()["objects"][0]["actions"]["upload"]["href"]
    forged = href[:-1] + ("A" if href[-1] != "A" else "B")
    assert put(forged, DATA).status_code == 403
    now = time.time()
    with monkeypatch.context() as later:
        later.setattr(signing.time, "time", lambda: now + lfs.URL_SECONDS + 1)
        ended = put(href, DATA)
    assert ended.status_code == 403 and "ask the batch API for a new one" in ended.json()["error"]
    assert not [path for path in (data_folder / "storage").rglob("*") if path.is_file()]
    for _ in range(2):  # repeated bodies are harmless
        assert put(href, DATA).status_code == 200
    assert put(href, DATA[:-1]).status_code == 400


def test_other_methods_and_preflights(as_alice, model) -> None:
    href = path_of(batch(as_alice, model).json()["objects"][0]["actions"]["upload"]["href"])
    assert Client().get(href).status_code == 405
    preflight = Client().options(href, headers={"Origin": "https://example.com"})
    assert preflight.status_code == 204 and "PUT" in preflight["Access-Control-Allow-Methods"]
    assert preflight["Access-Control-Allow-Origin"] == "*"


def test_refusals_in_words_of_git_lfs(anonymous, as_bob, as_alice, alice) -> None:
    secret = factories.make_repository(alice, "secret", private=True)
    for client, status in ((anonymous, 401), (as_bob, 404)):
        answer = batch(client, secret, "download")
        assert answer.status_code == status and answer.json()["message"] == answer.json()["error"]
        assert ("LFS-Authenticate" in answer) == (status == 401)
    public = factories.make_repository(alice, "public")
    answer = batch(anonymous, public)
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Basic")
    for path in ("locks/verify", "locks"):
        url = f"/{public.path}.git/info/lfs/{path}"
        for answer in (as_alice.post(url, "{}", content_type="application/json"), as_alice.get(url)):
            assert answer.status_code == 404 and "no file locks" in answer.json()["message"]
    assert anonymous.post(f"/{secret.path}.git/info/lfs/locks/verify").status_code == 401
