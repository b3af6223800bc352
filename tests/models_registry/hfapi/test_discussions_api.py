"""Discussions and pull requests over the API: shapes, rights by status, uploads by readers, attachments, bad input."""

import base64
import hashlib
import json
import subprocess

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.community.discussions.models import Attachment, Discussion, Offer
from models_registry.repos.models import RepositoryBlob, RepoType
from models_registry.repos.revisions import branch_head
from tests.factories import api_commit, client_of, make_repository, make_user, push

BASE = "/api/models/alice/m/discussions"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)


def post(client, url, body=None, **options):
    data = "" if body is None else json.dumps(body)
    return client.post(url, data, content_type="application/json", **options)


def file_line(path, data):
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}}


def open_pull(client, model, *lines, branch="main", query="?create_pr=1"):
    answer = api_commit(client, model, *(lines or [file_line("new.txt", b"new\n")]), branch=branch + query)
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.fixture
def model(alice):
    return make_repository(alice, "m", files={"a.txt": b"1\n2\n3\n", "w.bin": b"weights"})


@pytest.fixture
def talk(as_bob, model):
    assert post(as_bob, BASE, {"title": "A question", "description": "What *is* this?"}).status_code == 200
    return f"{BASE}/1"


# --- discussions --------------------------------------------------------------------------------------------------
def test_opening_and_reading(as_bob, anonymous, model):
    made = post(as_bob, BASE, {"title": " A question ", "description": "What *is* this?", "pullRequest": False}).json()
    assert made == {"num": 1, "url": "http://testserver/alice/m/discussions/1", "pullRequest": False}
    found = anonymous.get(f"{BASE}/1?diff=1").json()
    assert found["num"] == 1 and found["title"] == "A question" and found["status"] == "open"
    assert found["author"]["name"] == "bob" and found["repo"] == {"name": "alice/m", "type": "model"}
    assert (found["isPullRequest"], found["pinned"], found["numComments"]) == (False, False, 1)
    assert "changes" not in found and "diff" not in found
    (event,) = found["events"]
    assert event["type"] == "comment" and event["id"] == event["id"].lower() and len(event["id"]) == 24
    assert event["data"]["latest"]["raw"] == "What *is* this?" and "<em>is</em>" in event["data"]["latest"]["html"]
    assert (event["data"]["edited"], event["data"]["hidden"], event["data"]["history"]) == (False, False, [])
    assert found["createdAt"].endswith("Z") and event["data"]["latest"]["author"]["name"] == "bob"


def test_a_list_is_paged_by_start_and_count(as_bob, model, monkeypatch):
    monkeypatch.setattr("models_registry.hfapi.discussions.PAGE", 2)
    for number in range(5):
        post(as_bob, BASE, {"title": f"Title {number}", "pullRequest": number == 4})
    post(as_bob, f"{BASE}/2/status", {"status": "closed"})
    pages = [as_bob.get(f"{BASE}?p={page}").json() for page in range(4)]
    assert [[row["num"] for row in page["discussions"]] for page in pages] == [[5, 4], [3, 2], [1], []]
    assert [page["start"] for page in pages] == [0, 2, 4, 6] and {page["count"] for page in pages} == {5}
    assert pages[0]["numClosedDiscussions"] == 1
    numbers = lambda query: [row["num"] for row in as_bob.get(f"{BASE}?{query}").json()["discussions"]]  # noqa: E731
    assert numbers("status=open&type=pull_request") == [5] and numbers("status=closed") == [2]
    assert numbers("author=bob&type=discussion&status=all") == [4, 3] and numbers("author=x") == []
    for wrong in ("type=x", "status=x", "p=x", "p=-1"):
        assert as_bob.get(f"{BASE}?{wrong}").status_code == 400


def test_comments(as_bob, as_alice, talk):
    new = post(as_alice, f"{talk}/comment", {"comment": "An answer"}).json()["newMessage"]
    edited = post(as_alice, f"{talk}/comment/{new['id'].upper()}/edit", {"content": "A better answer"}).json()
    data = edited["updatedComment"]["data"]
    assert data["edited"] and data["latest"]["raw"] == "A better answer"
    assert [version["raw"] for version in data["history"]] == ["An answer"]
    assert post(as_bob, f"{talk}/comment/{new['id']}/edit", {"content": "x"}).status_code == 403
    assert post(as_bob, f"{talk}/comment/{new['id']}/hide").status_code == 403
    hidden = post(as_alice, f"{talk}/comment/{new['id']}/hide").json()["updatedComment"]["data"]
    assert hidden["hidden"] and hidden["history"] == [] and "answer" not in json.dumps(hidden)
    assert "answer" not in as_bob.get(talk).content.decode()
    assert post(as_alice, f"{talk}/comment/{'0' * 24}/hide").status_code == 404


def test_titles_statuses_and_pins(as_bob, as_alice, talk):
    event = post(as_bob, f"{talk}/title", {"title": "Better"}).json()["newTitle"]
    assert event["type"] == "title-change" and event["data"] == {"from": "A question", "to": "Better"}
    event = post(as_bob, f"{talk}/status", {"status": "closed", "comment": "done"}).json()["newStatus"]
    assert event["type"] == "status-change" and event["data"] == {"status": "closed"}
    assert post(as_bob, f"{talk}/status", {"status": "closed"}).status_code == 409
    assert post(as_bob, f"{talk}/pin", {"pinned": True}).status_code == 403
    assert post(as_alice, f"{talk}/pin", {"pinned": True}).json() == {"pinned": True}
    found = as_bob.get(talk).json()
    assert found["pinned"] and found["numComments"] == 2
    assert [event["type"] for event in found["events"]] == ["comment", "title-change", "comment", "status-change"]


def test_datasets_have_them_too(alice, as_bob):
    make_repository(alice, "d", RepoType.DATASET)
    url = "/api/datasets/alice/d/discussions"
    assert post(as_bob, url, {"title": "Title"}).json()["url"] == "http://testserver/datasets/alice/d/discussions/1"
    assert as_bob.get(f"{url}/1").json()["repo"] == {"name": "alice/d", "type": "dataset"}


@pytest.mark.parametrize(
    ("tail", "body"),
    [
        ("", {"title": 1}), ("", {}), ("", {"title": "abc", "description": 1}), ("", {"title": "abc", "pullRequest": "x"}),
        ("", {"title": "x" * 300}), ("", {"title": "abc", "description": "x" * 70_000}), ("", []), ("", {"title": "a\0bc"}),
        ("/1/comment", {}), ("/1/comment", {"comment": " "}), ("/1/comment", {"comment": "a\0"}), ("/1/title", {"title": ""}),
        ("/1/status", {"status": "draft"}), ("/1/status", {"status": "merged"}), ("/1/status", {"status": "closed", "comment": 1}),
        ("/1/pin", {"pinned": 1}), ("/1/merge", {"comment": 1}), ("/1/merge", []), ("/1/merge", [1]), ("/1/merge", None),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(as_alice, talk, tail, body):
    answer = post(as_alice, BASE + tail, body)
    assert answer.status_code == 400 and answer.json()["error"], answer.content
    assert Discussion.objects.count() == 1


@pytest.mark.parametrize("num", ["2", "0", "-1", "1x", "9" * 12, "٣", "%00"])
def test_numbers_which_are_not_there(as_alice, talk, num):
    assert as_alice.get(f"{BASE}/{num}").status_code == 404
    assert post(as_alice, f"{BASE}/{num}/comment", {"comment": "x"}).status_code == 404


def test_outsiders_learn_nothing_of_a_private_repository(alice, as_alice, as_bob, anonymous):
    secret = make_repository(alice, "secret", private=True)
    base = "/api/models/alice/secret/discussions"
    open_pull(as_alice, secret)
    post(as_alice, base, {"title": "A secret"})
    for client, status in ((as_bob, 404), (anonymous, 401)):
        answers = [client.get(base), client.get(f"{base}/1?diff=1"), post(client, base, {"title": "Title"})]
        for tail in ("comment", "title", "status", "merge", "pin", "update", "comment/" + "0" * 24 + "/hide"):
            answers.append(post(client, f"{base}/1/{tail}", {}))
        answers.append(api_commit(client, secret, file_line("a", b"1"), branch="main?create_pr=1"))
        answers.append(api_commit(client, secret, file_line("a", b"1"), branch="refs%2Fpr%2F1"))
        for answer in answers:
            assert (answer.status_code, answer["X-Error-Code"]) == (status, "RepoNotFound")


def test_who_is_not_signed_in_or_may_only_read(bob, anonymous, talk, model):
    for tail, body in (("", {"title": "Title"}), ("/1/comment", {"comment": "x"}), ("/1/status", {"status": "closed"})):
        assert post(anonymous, BASE + tail, body).status_code == 401
        assert post(client_of(bob, "read"), BASE + tail, body).status_code == 403
    assert api_commit(anonymous, model, file_line("a", b"1"), branch="main?create_pr=1").status_code == 401
    assert api_commit(client_of(bob, "read"), model, file_line("a", b"1"), branch="main?create_pr=1").status_code == 403


def test_turned_off(as_bob, talk, model):
    model.discussions_disabled = True
    model.save()
    answers = [as_bob.get(BASE), as_bob.get(talk), post(as_bob, BASE, {"title": "Title"})]
    answers.append(api_commit(as_bob, model, file_line("a", b"1"), branch="main?create_pr=1"))
    for answer in answers:
        assert answer.status_code == 403 and "disabled" in answer.json()["error"]


# --- pull requests ------------------------------------------------------------------------------------------------
def test_a_draft_and_its_life(as_alice, as_bob, model):
    head = branch_head(model)
    assert (
        post(as_bob, BASE, {"title": "A draft", "description": "", "pullRequest": True}).json()["pullRequest"] is True
    )
    found = as_bob.get(f"{BASE}/1?diff=1").json()
    assert found["status"] == "draft" and found["changes"] == {"base": "refs/heads/main"}
    assert found["filesWithConflicts"] is False and found["diff"] == ""
    assert as_bob.get("/api/models/alice/m/commits/refs%2Fpr%2F1").json()[0]["id"] == head
    assert [row["num"] for row in as_bob.get(f"{BASE}?status=open").json()["discussions"]] == [1]
    committed = api_commit(as_bob, model, file_line("new.txt", b"new\n"), branch="refs%2Fpr%2F1", parentCommit=head)
    assert committed.status_code == 200 and "pullRequestUrl" not in committed.json()
    refused = post(as_alice, f"{BASE}/1/merge")
    assert refused.status_code == 400 and "draft" in refused.json()["error"]
    assert post(as_bob, f"{BASE}/1/status", {"status": "open"}).status_code == 200
    assert post(as_bob, f"{BASE}/1/merge").status_code == 403
    merged = as_alice.post(f"{BASE}/1/merge", "null", content_type="application/json")
    assert merged.status_code == 200 and merged.json()["mergeCommitId"] == branch_head(model)
    found = as_bob.get(f"{BASE}/1?diff=1").json()
    assert found["status"] == "merged" and found["changes"]["mergeCommitId"] == branch_head(model)
    assert (
        found["diff"].startswith("diff --git a/new.txt b/new.txt\nnew file mode 100644\n") and "+new\n" in found["diff"]
    )
    assert post(as_alice, f"{BASE}/1/merge").status_code == 409


def test_create_pr(as_bob, anonymous, model):
    made = open_pull(as_bob, model)
    assert made["pullRequestUrl"] == "http://testserver/alice/m/discussions/1"
    assert made["commitUrl"] == f"http://testserver/alice/m/commit/{made['commitOid']}"
    found = anonymous.get(f"{BASE}/1").json()
    assert (
        found["status"] == "open"
        and found["isPullRequest"]
        and [e["type"] for e in found["events"]] == ["comment", "commit"]
    )
    assert found["events"][1]["data"] == {"subject": "a commit", "oid": made["commitOid"]}
    assert b"".join(anonymous.get("/alice/m/resolve/refs%2Fpr%2F1/new.txt").streaming_content) == b"new\n"
    assert anonymous.get("/api/models/alice/m/revision/refs%2Fpr%2F1").json()["sha"] == made["commitOid"]


def test_create_pr_needs_a_branch(as_bob, model):
    open_pull(as_bob, model)
    for revision in (branch_head(model), "nope", "refs%2Fpr%2F1"):
        for url in ("commit", "preupload"):
            answer = post(as_bob, f"/api/models/alice/m/{url}/{revision}?create_pr=1", {"files": []})
            assert (answer.status_code, answer["X-Error-Code"]) == (404, "RevisionNotFound")


def test_refs_show_pull_requests_when_asked(as_bob, model):
    for _ in range(11):
        open_pull(as_bob, model)
    plain = as_bob.get("/api/models/alice/m/refs").json()
    assert "pullRequests" not in plain and [row["name"] for row in plain["branches"]] == ["main"]
    rows = as_bob.get("/api/models/alice/m/refs?include_prs=1").json()["pullRequests"]
    assert [row["name"] for row in rows] == [str(n) for n in range(1, 12)] and rows[10]["ref"] == "refs/pr/11"


def test_a_conflict_is_409_with_its_files(as_alice, as_bob, model, alice):
    open_pull(as_bob, model, file_line("a.txt", b"one\n2\n3\n"))
    push(model, alice, {"a.txt": b"uno\n2\n3\n"})
    assert as_bob.get(f"{BASE}/1").json()["filesWithConflicts"] == ["a.txt"]
    refused = post(as_alice, f"{BASE}/1/merge")
    assert refused.status_code == 409 and refused.json()["filesWithConflicts"] == ["a.txt"]
    for wrong in ("x", 1, [], {}):
        assert post(as_bob, f"{BASE}/1/update", {"keep": wrong}).status_code == 400
    assert post(as_bob, f"{BASE}/1/update", {}).status_code == 409
    assert post(as_bob, f"{BASE}/1/update", {"keep": "pullRequest"}).status_code == 200
    assert as_bob.get(f"{BASE}/1").json()["filesWithConflicts"] is False
    assert post(as_alice, f"{BASE}/1/merge", {"comment": "Thanks"}).status_code == 200
    assert b"".join(as_bob.get("/alice/m/resolve/main/a.txt").streaming_content) == b"one\n2\n3\n"


def test_the_diff_is_gits(as_bob, model, tmp_path):
    """`git apply` makes the pull request's files of main's."""
    before = {"a.txt": b"1\n2\n3\n", "gone.txt": b"x\n", "sp ace.txt": b"a\n", "ünï.txt": b"a", 'q"uote.txt': b"q\n"}
    push(model, model.creator, {path: data for path, data in before.items() if path != "a.txt"})
    after = {
        "a.txt": b"1\ntwo\n3\n",
        "sp ace.txt": b"b\n",
        "ünï.txt": b"a\nb",
        'q"uote.txt': b"Q",
        "deep/new.txt": b"n\n",
    }
    lines = [file_line(path, data) for path, data in after.items()]
    open_pull(as_bob, model, *lines, {"key": "deletedFile", "value": {"path": "gone.txt"}})
    diff = as_bob.get(f"{BASE}/1?diff=1").json()["diff"]
    for path, data in before.items():
        (tmp_path / path).write_bytes(data)
    subprocess.run(["git", "apply"], cwd=tmp_path, input=diff.encode(), check=True)
    there = {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert there == after


def test_what_is_binary_large_or_elsewhere_is_summarised(as_alice, model):
    push(model, model.creator, {"big.txt": b"x\n" * 400_000})
    lines = [file_line("nul.dat", b"\0\1"), file_line("big.txt", b"y\n" * 400_000)]
    sha256 = hashlib.sha256(b"weights").hexdigest()
    lines.append({"key": "lfsFile", "value": {"path": "copy.bin", "algo": "sha256", "oid": sha256}})
    open_pull(as_alice, model, *lines)
    diff = as_alice.get(f"{BASE}/1?diff=1").json()["diff"]
    assert (
        "Binary files /dev/null and b/nul.dat differ" in diff and "Binary files a/big.txt and b/big.txt differ" in diff
    )
    assert f"+oid sha256:{sha256}" in diff and len(diff) < 3000


def test_lists_and_details_cost_the_same_with_more_rows(as_bob, model):
    counts = []
    for _ in range(2):
        for number in range(6):
            post(as_bob, BASE, {"title": f"Title {number}", "pullRequest": number == 0})
            post(as_bob, f"{BASE}/1/comment", {"comment": "more"})
        row = []
        for url in (BASE, f"{BASE}/1?diff=1"):
            as_bob.get(url)
            with CaptureQueriesContext(connection) as captured:
                assert as_bob.get(url).status_code == 200
            row.append(len(captured))
        counts.append(row)
    assert counts[0] == counts[1], counts


# --- what readers send --------------------------------------------------------------------------------------------
def batch(client, data, operation="upload"):
    oid = hashlib.sha256(data).hexdigest()
    body = {"operation": operation, "transfers": ["basic"], "objects": [{"oid": oid, "size": len(data)}]}
    return post(client, "/alice/m.git/info/lfs/objects/batch", body)


def test_a_reader_sends_contents_by_lfs_for_a_pull_request(as_bob, as_alice, model, bob):
    data = b"bob's weights"
    oid = hashlib.sha256(data).hexdigest()
    actions = batch(as_bob, data).json()["objects"][0]["actions"]
    href = actions["upload"]["href"].removeprefix("http://testserver")
    assert as_bob.put(href, data, content_type="application/octet-stream").status_code == 200
    verify = actions["verify"]["href"].removeprefix("http://testserver")
    assert post(as_bob, verify, {"oid": oid, "size": len(data)}).status_code == 200
    assert "actions" not in batch(as_bob, data).json()["objects"][0]
    # Nobody else finds it here, the repository's owner included.
    assert "actions" in batch(as_alice, data).json()["objects"][0]
    assert batch(as_alice, data, "download").json()["objects"][0]["error"]["code"] == 404
    line = {"key": "lfsFile", "value": {"path": "b.bin", "algo": "sha256", "oid": oid, "size": len(data)}}
    assert api_commit(as_bob, model, line).status_code == 403
    assert api_commit(as_alice, model, line).status_code == 400
    carol = client_of(make_user("carol"))
    assert api_commit(carol, model, line, branch="main?create_pr=1").status_code == 400
    open_pull(as_bob, model, line)
    assert as_alice.get("/alice/m/resolve/refs%2Fpr%2F1/b.bin").status_code == 200
    assert RepositoryBlob.objects.filter(repository=model, blob=oid).exists() and not Offer.objects.exists()


def test_preupload_and_tokens_for_pull_requests(as_bob, as_alice, model, anonymous):
    files = {"files": [{"path": "x.bin", "size": 3, "sample": ""}]}
    url = "/api/models/alice/m/preupload"
    assert post(as_bob, f"{url}/main", files).status_code == 403
    assert post(as_bob, f"{url}/main?create_pr=1", files).json()["files"][0]["uploadMode"] == "lfs"
    open_pull(as_bob, model)
    assert post(as_bob, f"{url}/refs%2Fpr%2F1", files).status_code == 200
    carol = client_of(make_user("carol"))
    assert post(carol, f"{url}/refs%2Fpr%2F1", files).status_code == 403
    token = "/api/models/alice/m/xet-write-token"
    assert as_bob.get(f"{token}/main").status_code == 403
    assert as_bob.get(f"{token}/None?create_pr=1").status_code == 200
    assert as_bob.get(f"{token}/refs%2Fpr%2F1").status_code == 200
    assert carol.get(f"{token}/refs%2Fpr%2F1").status_code == 403
    assert anonymous.get(f"{token}/main?create_pr=1").status_code == 401
    assert as_alice.get(f"{token}/None").status_code == 404


# --- attachments --------------------------------------------------------------------------------------------------
def attach(client, data, kind="image/png"):
    return client.post("/uploads", data, content_type=kind)


def test_an_attachment_is_shown_and_never_run(as_bob, anonymous, talk):
    made = attach(as_bob, PNG)
    address = made.content.decode()
    assert made["Content-Type"].startswith("text/plain") and address.startswith("http://testserver/uploads/")
    served = anonymous.get(address.removeprefix("http://testserver"))
    assert b"".join(served.streaming_content) == PNG and served["Content-Type"] == "image/png"
    assert served["X-Content-Type-Options"] == "nosniff" and "sandbox" in served["Content-Security-Policy"]
    html = post(as_bob, f"{talk}/comment", {"comment": f"![shot]({address})"}).json()["newMessage"]["data"]["latest"][
        "html"
    ]
    assert f'<img src="{address.removeprefix("http://testserver")}"' in html and 'alt="shot"' in html


def test_attachments_are_known_types_only(as_bob, anonymous, bob):
    for data, kind in ((b"<svg/>", "image/svg+xml"), (b"<html>", "text/html"), (PNG, ""), (PNG, "image/PNG; x")):
        assert attach(as_bob, data, kind or "application/x").status_code in (200, 415), kind
    assert attach(as_bob, b"<script>alert(1)</script>", "image/png").status_code == 400
    assert attach(as_bob, b"\x89", "image/png").status_code == 400
    assert attach(anonymous, PNG).status_code == 401 and attach(client_of(bob, "read"), PNG).status_code == 403
    assert set(Attachment.objects.values_list("content_type", flat=True)) <= {"image/png"}


def test_attachments_have_bounds(as_bob, monkeypatch):
    from models_registry.community.discussions import attachments

    monkeypatch.setattr(attachments, "MAX_A_DAY", 1)
    assert attach(as_bob, PNG + bytes(attachments.MAX_BYTES)).status_code == 413
    assert attach(as_bob, PNG).status_code == 200 and attach(as_bob, PNG).status_code == 403
    assert as_bob.get("/uploads/nope.png").status_code == 404
