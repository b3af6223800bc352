"""Uploads by the API: preupload, commit, LFS, card checks, and every refusal."""

import base64
import hashlib
import json

import pytest

from models_registry.repos.entries import list_entries
from models_registry.repos.models import GitObject
from models_registry.repos.revisions import branch_head
from tests.factories import api_commit, client_of, push, store


def b64(data):
    return base64.b64encode(data).decode()


def preupload(client, *files, **extra):
    body = {"files": [{"path": path, "size": size, "sample": b64(sample)} for path, size, sample in files], **extra}
    return client.post("/api/models/alice/m/preupload/main", json.dumps(body), content_type="application/json")


def paths(repository):
    return [entry.path for entry in list_entries(repository, branch_head(repository), recursive=True)]


def test_preupload_sorts_files(as_alice, model, alice):
    push(model, alice, {"same.txt": b"1", "w.bin": b"w", ".gitignore": b"*.log\nbuild/\n"})
    files = [
        ("same.txt", 1, b"1"), ("w.bin", 1, b"w"), ("new.bin", 12, b"x"), ("big.txt", 11 * 1024**2, b"t"),
        ("nine.txt", 9 * 1024**2, b"text"), ("zero.bin", 0, b""), ("blob", 9, b"a\0b"), ("latin", 9, b"\xe9\xe9abcdefgh"),
        ("a.log", 3, b"x"), ("build/x", 3, b"x"),
    ]  # fmt: skip
    answers = {row["path"]: row for row in preupload(as_alice, *files).json()["files"]}
    modes = {path: row["uploadMode"] for path, row in answers.items()}
    assert [path for path, mode in modes.items() if mode == "lfs"] == ["w.bin", "new.bin", "big.txt", "blob", "latin"]
    assert answers["w.bin"]["oid"] == hashlib.sha256(b"w").hexdigest() and "oid" not in answers["new.bin"]
    assert answers["same.txt"]["oid"] == hashlib.sha1(b"blob 1\x001").hexdigest()
    assert [path for path, row in answers.items() if row["shouldIgnore"]] == ["a.log", "build/x"]


@pytest.mark.parametrize("path", ["..\\ddd", "../x", "/etc/passwd", ".git/config", "a\0b", "", "a/../b"])
def test_preupload_refuses_paths(as_alice, model, path):
    answer = preupload(as_alice, (path, 1, b"x"))
    assert answer.status_code == 422 and answer.json()["error"]


@pytest.mark.parametrize(
    "body", [{"files": "x"}, {"files": [1]}, {"files": [{}]}, {"files": [{"path": "x", "size": "1"}]},
             {"files": [{"path": "x", "size": -1}]}, {"files": [{"path": "x", "size": 1, "sample": "%"}]}]
)  # fmt: skip
def test_preupload_refuses_bodies(as_alice, model, body):
    answer = as_alice.post("/api/models/alice/m/preupload/main", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400 and answer.json()["error"]


def test_preupload_answers_for_so_many_files_at_once(as_alice, model):
    answer = preupload(as_alice, *[(f"{i}.txt", 1, b"a") for i in range(1001)])
    assert answer.status_code == 413 and "At most 1,000 files" in answer.json()["error"]


@pytest.mark.parametrize("url", ["tag/main", "preupload/main", "branch/x", "paths-info/main"])
def test_half_a_surrogate_pair_is_no_text(as_alice, model, url):
    body = b'{"tag": "\\ud800", "files": [], "paths": ["\\ud800"], "startingPoint": "\\ud800"}'
    answer = as_alice.post(f"/api/models/alice/m/{url}", body, content_type="application/json")
    assert answer.status_code == 400 and answer.json()["error"] == "The body is not valid JSON."


def test_a_commit_of_all_kinds(as_alice, model, alice):
    push(model, alice, {"old.txt": b"1", "dir/a.txt": b"1", "w.bin": b"w"})
    sha256 = store(model, b"weights")
    answer = api_commit(
        as_alice, model,
        {"key": "file", "value": {"path": "a.txt", "content": b64(b"hi"), "encoding": "base64"}},
        {"key": "file", "value": {"path": "b.txt", "content": "hé", "encoding": "utf-8"}},
        {"key": "lfsFile", "value": {"path": "m.bin", "algo": "sha256", "oid": sha256, "size": 7}},
        {"key": "lfsFile", "value": {"path": "w2.bin", "oldPath": "w.bin"}},
        {"key": "deletedFile", "value": {"path": "old.txt"}},
        {"key": "deletedFolder", "value": {"path": "dir/"}},
        summary="many", description="in one",
    )  # fmt: skip
    body = answer.json()
    assert answer.status_code == 200 and body["success"] and body["commitOid"] == branch_head(model)
    assert body["commitUrl"] == f"http://testserver/alice/m/commit/{body['commitOid']}"
    assert paths(model) == [".gitattributes", "a.txt", "b.txt", "m.bin", "w.bin", "w2.bin"]
    top = as_alice.get("/api/models/alice/m/commits/main").json()[0]
    assert top["title"] == "many" and top["message"] == "in one" and top["authors"][0]["user"] == "alice"


def test_the_one_object_of_old_clients(as_alice, model):
    body = {"summary": "old", "files": [{"path": "a.txt", "content": b64(b"hi"), "encoding": "base64"}]}
    url = "/api/models/alice/m/commit/main"
    assert as_alice.post(url, json.dumps(body), content_type="application/json").status_code == 200
    assert "a.txt" in paths(model)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"{"], 400), ([b'{"key": 1}'], 400), ([b"[]"], 400), ([b'{"key": "nope", "value": {"path": "x"}}'], 400),
        ([b'{"key":"file","value":{"path":"x","content":"%%"}}'], 400), ([b'{"key":"file","value":{"path":"x","content":5}}'], 400),
        ([b'{"key":"file","value":{"path":"../x","content":"aGk="}}'], 422), ([b'{"key":"file","value":{"path":".git/config","content":""}}'], 422),
        ([b'{"key":"file","value":{"path":"/x","content":""}}'], 422), ([b'{"key":"file","value":{"path":"a\\u0000b","content":""}}'], 422),
        ([b'{"key":"lfsFile","value":{"path":"x","oid":"zz"}}'], 400),
        ([b'{"key":"lfsFile","value":{"path":"x","oid":"' + b"a" * 64 + b'","size":1}}'], 400),
        ([b'{"key":"deletedFile","value":{"path":"nope"}}'], 404), ([b"[" * 100_000], 400), ([b"\xff\xfe"], 400),
        ([b'{"key":"file","value":{"path":"x","content":"","encoding":"rot13"}}'], 400),
    ],
)  # fmt: skip
def test_bad_commits_leave_nothing(as_alice, model, lines, status):
    before = (branch_head(model), GitObject.objects.count())
    header = b'{"key": "header", "value": {"summary": "x"}}'
    answer = as_alice.post(
        "/api/models/alice/m/commit/main", b"\n".join([header, *lines]), content_type="application/x-ndjson"
    )
    assert answer.status_code == status and answer.json()["error"]
    assert (branch_head(model), GitObject.objects.count()) == before


def test_a_commit_needs_its_header(as_alice, model):
    answer = as_alice.post("/api/models/alice/m/commit/main", b"", content_type="application/x-ndjson")
    assert answer.status_code == 400 and "header" in answer.json()["error"]


def test_a_stale_parent_is_412(as_alice, model):
    answer = api_commit(as_alice, model, {"key": "file", "value": {"path": "x", "content": ""}}, parentCommit="0" * 40)
    assert answer.status_code == 412 and answer.json()["error"].startswith("The branch was updated since you opened")


def test_commits_need_the_right_and_the_branch(as_bob, as_alice, anonymous, model, alice):
    line = {"key": "file", "value": {"path": "x", "content": ""}}
    assert api_commit(as_bob, model, line).status_code == 403
    assert api_commit(client_of(alice, "read"), model, line).status_code == 403
    assert api_commit(anonymous, model, line).status_code == 401
    assert api_commit(as_alice, model, line, branch="nope")["X-Error-Code"] == "RevisionNotFound"
    assert api_commit(as_bob, model, line, branch="main?create_pr=1").status_code == 200


def test_a_wrong_card_is_refused_at_push(as_alice, model):
    text = b64(b"---\nlicense: [\n---\n")
    answer = api_commit(as_alice, model, {"key": "file", "value": {"path": "README.md", "content": text}})
    assert answer.status_code == 400 and "README.md" in answer.json()["error"]
    text = b64(b"---\ntags: [a]\nlicense: nope\n---\n")
    answer = api_commit(as_alice, model, {"key": "file", "value": {"path": "README.md", "content": text}})
    assert answer.status_code == 400 and 'Line 3: "license" must be one of [apache-2.0, ' in answer.json()["error"]
    elsewhere = {"key": "file", "value": {"path": "docs/README.md", "content": text}}
    assert api_commit(as_alice, model, elsewhere).status_code == 200


def test_validate_yaml(anonymous):
    def check(content, **headers):
        body = json.dumps({"content": content, "repoType": "model"})
        return anonymous.post("/api/validate-yaml", body, content_type="application/json", headers=headers)

    assert check("---\nlicense: mit\n---\n").json() == {"errors": [], "warnings": []}
    assert "empty or missing yaml" in check("# x").json()["warnings"][0]["message"]
    bad = check("---\nlicense: nope\n---\n")
    assert bad.status_code == 400 and bad.json()["errors"][0]["message"].startswith('"license" must be one of [')
    text = check("---\nlicense: nope\n---\n", Accept="text/plain")
    assert text.status_code == 400 and text.content.startswith(b'- Error: "license" must be one of [')
    for kind in ("bucket", [{"repoType": "model"}], {"a": 1}, 7):
        body = json.dumps({"content": "", "repoType": kind})
        refused = anonymous.post("/api/validate-yaml", body, content_type="application/json")
        assert refused.status_code == 400 and "repoType is one of" in refused.json()["error"]


# --- LFS ----------------------------------------------------------------------------------------------------------
DATA = b"content by lfs" * 1000
OID = hashlib.sha256(DATA).hexdigest()


def batch(client, operation="upload", oid=OID, size=len(DATA)):
    body = {
        "operation": operation,
        "transfers": ["basic"],
        "objects": [{"oid": oid, "size": size}],
        "hash_algo": "sha256",
    }
    headers = {"Accept": "application/vnd.git-lfs+json"}
    url = "/alice/m.git/info/lfs/objects/batch"
    return client.post(url, json.dumps(body), content_type="application/vnd.git-lfs+json", headers=headers)


def test_lfs_upload_verify_download(as_alice, anonymous, model):
    row = batch(as_alice).json()["objects"][0]
    href, verify = row["actions"]["upload"]["href"], row["actions"]["verify"]["href"]
    put = anonymous.put(href.removeprefix("http://testserver"), DATA, content_type="application/octet-stream")
    assert put.status_code == 200
    check = json.dumps({"oid": OID, "size": len(DATA)})
    assert (
        as_alice.post(verify.removeprefix("http://testserver"), check, content_type="application/json").status_code
        == 200
    )
    assert "actions" not in batch(as_alice).json()["objects"][0]
    down = batch(anonymous, "download").json()["objects"][0]["actions"]["download"]["href"]
    assert b"".join(anonymous.get(down.removeprefix("http://testserver")).streaming_content) == DATA


def test_lfs_refuses_what_does_not_verify(as_alice, anonymous, model, data_folder):
    href = batch(as_alice).json()["objects"][0]["actions"]["upload"]["href"].removeprefix("http://testserver")
    for wrong in (DATA[:-1], b"x" * len(DATA), DATA + b"x"):
        answer = anonymous.put(href, wrong, content_type="application/octet-stream")
        assert answer.status_code in (400, 413) and answer.json()["error"]
    assert not list((data_folder / "storage").glob("blobs/*/*")) and not list(
        (data_folder / "storage/staging").iterdir()
    )
    assert anonymous.put("/lfs/forged", b"", content_type="application/octet-stream").status_code == 403
    assert anonymous.get(href).status_code == 405


def test_lfs_never_says_that_anothers_content_is_here(as_bob, as_alice, model, alice, bob):
    """Knowing a hash must not be enough to own the content."""
    from tests.factories import make_repository

    store(make_repository(bob, "theirs"), DATA)
    assert "upload" in batch(as_alice).json()["objects"][0]["actions"]
    assert batch(as_alice, "download").json()["objects"][0]["error"]["code"] == 404
    # A reader may send it for a pull request (test_discussions_api.py), and is asked for the bytes all the same.
    assert "upload" in batch(as_bob).json()["objects"][0]["actions"]


@pytest.mark.parametrize(("oid", "size"), [("zz", 1), ("A" * 64, 1), (OID, -1), (OID, "1"), (OID, 2**60)])
def test_lfs_refuses_odd_objects(as_alice, model, oid, size):
    assert batch(as_alice, oid=oid, size=size).status_code == 400


# --- listings -----------------------------------------------------------------------------------------------------
def test_tree_and_paths_info(as_alice, model, alice):
    push(model, alice, {"a/b/c.txt": b"1", "w.bin": b"12345", "z.txt": b"1"}, "second")
    url = "/api/models/alice/m/tree/main"
    flat = as_alice.get(url).json()
    assert [(row["type"], row["path"], row["size"]) for row in flat][1:] == [
        ("directory", "a", 0), ("file", "w.bin", 5), ("file", "z.txt", 1),
    ]  # fmt: skip
    assert flat[2]["lfs"]["pointerSize"] == 126 and flat[2]["lfs"]["oid"] != flat[2]["oid"]
    assert [row["path"] for row in as_alice.get(url + "?recursive=true").json()][1:4] == ["a", "a/b", "a/b/c.txt"]
    assert [row["path"] for row in as_alice.get(url + "/a%2Fb").json()] == ["a/b/c.txt"]
    assert as_alice.get(url + "/nope")["X-Error-Code"] == "EntryNotFound"
    expanded = as_alice.get(url + "?expand=true").json()
    assert expanded[0]["lastCommit"]["title"] == "initial commit" and expanded[1]["lastCommit"]["title"] == "second"
    assert expanded[2]["securityFileStatus"]["status"] in ("safe", "queued")
    page = as_alice.get(url + "?limit=2")
    assert len(page.json()) == 2 and 'rel="next"' in page["Link"]
    form = as_alice.post("/api/models/alice/m/paths-info/main", {"paths": ["z.txt", "nope", "a"], "expand": "false"})
    assert [row["path"] for row in form.json()] == ["z.txt", "a"]
    body = json.dumps({"paths": ["w.bin"], "expand": True})
    assert as_alice.post("/api/models/alice/m/paths-info/main", body, content_type="application/json").json()[0][
        "lastCommit"
    ]
    many = json.dumps({"paths": ["x"] * 1001})
    assert (
        as_alice.post("/api/models/alice/m/paths-info/main", many, content_type="application/json").status_code == 413
    )


def test_commits_are_paged_and_counted(as_alice, model, alice):
    for number in range(3):
        push(model, alice, {"a.txt": b"%d" % number}, f"<b>{number}</b>")
    answer = as_alice.get("/api/models/alice/m/commits/main?limit=2&expand[]=formatted")
    assert [row["title"] for row in answer.json()] == ["<b>2</b>", "<b>1</b>"] and answer["X-Total-Count"] == "4"
    assert answer.json()[0]["formatted"]["title"] == "&lt;b&gt;2&lt;/b&gt;" and 'rel="next"' in answer["Link"]
