"""Reading by Xet: a client of our own follows the reconstruction, decodes the chunks and gets the file."""

import json
import time
from io import BytesIO

import pytest
from django.core import signing

from models_registry.repos.models import Repository
from models_registry.storage.services import get_blob, read_range
from models_registry.xet.formats.xorb import XorbIndex, decode_chunks
from models_registry.xet.models import XetFile, Xorb
from models_registry.xet.services import TOKEN_SECONDS
from tests.factories import api_commit, client_of, make_repository
from tests.models_registry.xet.test_cas import FILES, send, send_shard, token_of

FILE = max(FILES, key=lambda file: file.size_bytes)


@pytest.fixture
def pushed(as_alice, anonymous, model):
    """The model with one file which came by Xet; its bytes."""
    send(anonymous, token_of(as_alice))
    send_shard(anonymous, token_of(as_alice))
    line = {"path": "x.bin", "algo": "sha256", "oid": FILE.sha256_hex, "size": FILE.size_bytes}
    assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200
    return b"".join(read_range(get_blob(FILE.sha256_hex)))


def ask(client, headers, hash_hex=None, span=None):
    extra = {"Range": span} if span else {}
    return client.get(f"/cas/v1/reconstructions/{hash_hex or FILE.file_hash_hex}", headers=headers | extra)


def fetch(client, info, **headers):
    span = info["url_range"]
    path = info["url"].removeprefix("http://testserver")
    return client.get(path, headers={"Range": f"bytes={span['start']}-{span['end']}"} | headers)


def rebuilt(client, answer):
    """What a Xet client makes of a reconstruction: the chunks of all terms, the first offset cut off."""
    data = b""
    for term in answer["terms"]:
        index = XorbIndex.from_bytes(bytes(Xorb.objects.get(pk=term["hash"]).index))
        wanted = term["range"]
        info = next(
            one
            for one in answer["fetch_info"][term["hash"]]
            if one["range"]["start"] <= wanted["start"] and wanted["end"] <= one["range"]["end"]
        )
        got = fetch(client, info)
        assert got.status_code == 206
        packed = b"".join(got.streaming_content)
        assert len(packed) == info["url_range"]["end"] - info["url_range"]["start"] + 1
        whole = BytesIO(b"\0" * info["url_range"]["start"] + packed)
        plain = b"".join(decode_chunks(whole, index, wanted["start"], wanted["end"]))
        assert len(plain) == term["unpacked_length"]
        data += plain
    return data[answer["offset_into_first_range"] :]


def test_a_file_is_rebuilt_from_its_chunks(pushed, as_alice, anonymous):
    answer = ask(anonymous, token_of(as_alice, "read"))
    assert answer.status_code == 200
    assert rebuilt(anonymous, answer.json()) == pushed


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 999), (1000, 70_000), (65_536, None), (-1, None), (-1, 10**15)])
def test_a_range_of_a_file(pushed, as_alice, anonymous, start, end):
    start = len(pushed) + start if start < 0 else start
    answer = ask(anonymous, token_of(as_alice, "read"), span=f"bytes={start}-{'' if end is None else end}")
    assert answer.status_code == 200
    wanted = pushed[start : None if end is None else end + 1]
    assert rebuilt(anonymous, answer.json())[: len(wanted)] == wanted


def test_a_range_after_the_end_is_416(pushed, as_alice, anonymous):
    answer = ask(anonymous, token_of(as_alice, "read"), span=f"bytes={len(pushed)}-")
    assert answer.status_code == 416 and answer["Content-Range"] == f"bytes */{len(pushed)}"


@pytest.mark.parametrize("span", ["bytes=-5", "bytes=a-b", "chunks=1-2", "bytes=1-2,4-5"])
def test_what_is_no_range_is_refused(pushed, as_alice, anonymous, span):
    assert ask(anonymous, token_of(as_alice, "read"), span=span).status_code == 400


def test_resolve_and_tree_name_the_file_for_xet_clients(pushed, as_alice, anonymous, model):
    head = anonymous.head("/alice/m/resolve/main/x.bin")
    assert head["X-Xet-Hash"] == FILE.file_hash_hex
    assert 'rel="xet-auth"' in head["Link"] and 'rel="xet-reconstruction-info"' in head["Link"]
    url = head["Link"].split(">")[0].removeprefix("<http://testserver")
    assert anonymous.get(url).json()["accessToken"]
    assert "X-Xet-Hash" not in anonymous.head("/alice/m/resolve/main/.gitattributes")
    tree = {item["path"]: item for item in anonymous.get("/api/models/alice/m/tree/main").json()}
    assert tree["x.bin"]["xetHash"] == FILE.file_hash_hex and "xetHash" not in tree[".gitattributes"]


def test_what_lies_beside_an_onnx_graph_is_offered_as_plain_bytes(pushed, as_alice, anonymous, model, alice):
    """onnxruntime opens no external data outside the graph's folder, and Xet files lie apart in the client's cache."""
    for path in ("onnx/model.onnx", "onnx/model.onnx_data", "other/w.bin"):
        line = {"path": path, "algo": "sha256", "oid": FILE.sha256_hex, "size": FILE.size_bytes}
        assert api_commit(as_alice, model, {"key": "lfsFile", "value": line}).status_code == 200
    tree = {item["path"]: item for item in anonymous.get("/api/models/alice/m/tree/main?recursive=true").json()}
    assert [path for path, item in tree.items() if "xetHash" in item] == ["other/w.bin", "x.bin"]
    assert "X-Xet-Hash" not in anonymous.head("/alice/m/resolve/main/onnx/model.onnx_data")
    assert "X-Xet-Hash" in anonymous.head("/alice/m/resolve/main/other/w.bin")


def test_a_download_counts_once(pushed, as_alice, anonymous, model):
    headers = token_of(as_alice, "read")
    ask(anonymous, headers, span="bytes=0-99")
    ask(anonymous, headers, span="bytes=100-")
    model.refresh_from_db()
    assert model.downloads == 1


def test_a_token_reads_what_its_repository_holds_and_nothing_else(pushed, as_alice, as_bob, anonymous, alice, bob):
    make_repository(bob, "mine")
    make_repository(alice, "other", private=True)
    assert ask(anonymous, token_of(as_bob, "read", "bob/mine")).status_code == 404
    assert ask(anonymous, token_of(as_alice, "read", "alice/other")).status_code == 404
    assert ask(anonymous, {}).status_code == 401
    assert ask(anonymous, token_of(as_alice, "read"), hash_hex="0" * 64).status_code == 404


def test_the_files_behind_a_gate_stay_there(pushed, as_bob, anonymous, model, bob):
    headers = token_of(as_bob, "read")
    Repository.objects.filter(pk=model.pk).update(gated="manual")
    assert ask(anonymous, headers).status_code == 404
    assert client_of(bob, "read").get("/api/models/alice/m/xet-read-token/main").status_code in (403, 401)


def test_a_signed_address_is_for_its_range_only(pushed, as_alice, anonymous):
    """A xorb may hold chunks of other files."""
    answer = ask(anonymous, token_of(as_alice, "read"), span="bytes=0-99").json()
    (info,) = next(iter(answer["fetch_info"].values()))
    assert fetch(anonymous, info).status_code == 206
    beyond = {"Range": f"bytes=0-{info['url_range']['end'] + 1}"}
    assert fetch(anonymous, info, **beyond).status_code == 403
    assert anonymous.get(info["url"].removeprefix("http://testserver")).status_code == 403
    forged = info["url"].removeprefix("http://testserver")[:-1] + "A"
    assert anonymous.get(forged, headers={"Range": "bytes=0-9"}).status_code == 403


def test_an_address_which_has_ended_or_was_signed_for_something_else_is_refused(
    pushed, as_alice, anonymous, monkeypatch
):
    info = next(iter(ask(anonymous, token_of(as_alice, "read")).json()["fetch_info"].values()))[0]
    assert fetch(anonymous, info).status_code == 206
    body = {"operation": "download", "objects": [{"oid": FILE.sha256_hex, "size": FILE.size_bytes}]}
    answer = as_alice.post("/alice/m.git/info/lfs/objects/batch", body, content_type="application/json").json()
    link = answer["objects"][0]["actions"]["download"]["href"]
    of_lfs = info | {"url": info["url"].rpartition("/")[0] + "/" + link.rpartition("/")[2]}
    assert fetch(anonymous, of_lfs).status_code == 403
    now = time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + TOKEN_SECONDS + 1)
    assert fetch(anonymous, info).status_code == 403


def test_a_file_which_came_whole_before_gets_its_xet_name(as_alice, anonymous, model, pushed):
    XetFile.objects.all().delete()
    blob = get_blob(FILE.sha256_hex)
    type(blob).objects.filter(pk=blob.pk).update(xet_hash="", is_whole=True)
    send_shard(anonymous, token_of(as_alice))
    assert get_blob(FILE.sha256_hex).xet_hash == FILE.file_hash_hex
    assert json.dumps(XetFile.objects.get(hash=FILE.file_hash_hex).terms)
