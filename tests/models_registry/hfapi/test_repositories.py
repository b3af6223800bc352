"""Who am I, repositories, branches, tags: the wire shapes and texts which clients compare."""

import json
import re

import pytest

from models_registry.repos.models import GIT_TYPES, Repository, RepoType
from tests.factories import client_of, make_repository, push


def post(client, url, body):
    return client.post(url, json.dumps(body), content_type="application/json")


def test_whoami_tells_the_user_the_organisations_and_the_token(as_alice):
    body = as_alice.get("/api/whoami-v2").json()
    assert body["name"] == "alice" and body["type"] == "user" and body["orgs"] == []
    assert body["auth"]["accessToken"]["role"] == "write"


def test_a_wrong_token_is_told_apart_from_a_missing_repository(anonymous):
    for header in ("Bearer hf_wrong", "Bearer ", "Basic !!!", "Digest x"):
        answer = anonymous.get("/api/whoami-v2", headers={"Authorization": header})
        assert answer.status_code == 401
        assert answer["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert "X-Error-Code" not in answer
    assert anonymous.get("/api/whoami-v2").status_code == 401


def test_the_request_id_is_the_callers(as_alice):
    assert as_alice.get("/api/whoami-v2", headers={"X-Request-Id": "abc"})["X-Request-Id"] == "abc"
    assert "trace" in as_alice.get("/healthz", headers={"X-Amzn-Trace-Id": "trace"})["X-Request-Id"]
    assert as_alice.get("/api/nope")["X-Request-Id"].startswith("Root=")


@pytest.mark.parametrize("kind", [kind.value for kind in GIT_TYPES])
def test_create_and_create_again(as_alice, kind):
    answer = post(as_alice, "/api/repos/create", {"name": "m", "type": kind, "visibility": "private", "sdk": "static"})
    prefix = "" if kind == "model" else f"{kind}s/"
    assert answer.status_code == 200 and answer.json()["url"] == f"http://testserver/{prefix}alice/m"
    assert Repository.objects.get().private
    again = post(as_alice, "/api/repos/create", {"name": "alice/M", "type": kind, "sdk": "static"})
    assert again.status_code == 409 and again.json()["url"] == f"http://testserver/{prefix}alice/m"
    assert again.json()["error"].startswith("You already created this")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "x", "type": "bucket"}, 400), ({"name": "x..y"}, 400), ({"name": "../x"}, 403), ({"name": 5}, 400), ({}, 400), ([], 400),
        ({"name": "x", "organization": "bob"}, 403), ({"name": "x", "organization": "nobody"}, 403),
        ({"name": "x", "visibility": "protected"}, 400), ({"name": "x", "private": "yes"}, 400),
        ({"name": "x\0"}, 400), ({"name": "x", "organization": 3}, 400),
    ],
)  # fmt: skip
def test_what_is_not_created(as_alice, bob, body, status):
    answer = post(as_alice, "/api/repos/create", body)
    assert answer.status_code == status and answer.json()["error"]
    assert not Repository.objects.exists()


def test_a_body_which_is_no_json(as_alice):
    answer = as_alice.post("/api/repos/create", b"{", content_type="application/json")
    assert answer.status_code == 400 and "JSON" in answer.json()["error"]


def test_a_read_token_creates_nothing(alice):
    assert post(client_of(alice, "read"), "/api/repos/create", {"name": "x"}).status_code == 403
    assert not Repository.objects.exists()


def test_anonymous_creates_nothing(anonymous):
    assert post(anonymous, "/api/repos/create", {"name": "x"}).status_code == 401


def test_delete_needs_the_right(as_alice, as_bob, model):
    body = json.dumps({"name": "m", "organization": "alice", "type": "model"})
    assert as_bob.delete("/api/repos/delete", body, content_type="application/json").status_code == 403
    assert as_alice.delete("/api/repos/delete", body, content_type="application/json").status_code == 200
    assert as_alice.get("/api/models/alice/m").status_code == 404


def test_visibility_changes(as_alice, as_bob, model):
    put = {"path": "/api/models/alice/m/settings", "content_type": "application/json"}
    assert as_bob.put(data='{"private": true}', **put).status_code == 403
    assert as_alice.put(data='{"visibility": "private"}', **put).json()["private"] is True
    assert as_bob.get("/api/models/alice/m").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["", "/revision/main", "/tree/main", "/refs", "/commits/main", "/auth-check", "/variants", "/fit", "/jobs",
     "/xet-read-token/main", "/xet-write-token/main"],
)  # fmt: skip
def test_a_private_repository_does_not_exist_for_others(path, alice, as_alice, as_bob, anonymous):
    make_repository(alice, "secret", private=True)
    url = "/api/models/alice/secret" + path
    outside, missing = as_bob.get(url), as_bob.get(url.replace("secret", "nothing"))
    assert outside.status_code == missing.status_code == 404 and outside.json() == missing.json()
    assert outside["X-Error-Code"] == "RepoNotFound"
    nobody = anonymous.get(url)
    assert nobody.status_code == 401 and nobody["X-Error-Code"] == "RepoNotFound"
    assert as_alice.get(url).status_code == 200


def test_auth_check(as_alice, as_bob, model):
    assert as_bob.get("/api/models/alice/m/auth-check").status_code == 200
    assert as_bob.get("/api/models/alice/m/auth-check/write").status_code == 403
    assert as_alice.get("/api/models/alice/m/auth-check/write").status_code == 200


def test_branches_and_tags_with_the_texts_of_the_protocol(as_alice, model):
    base = "/api/models/alice/m"
    assert post(as_alice, f"{base}/branch/dev%2Fx", {}).status_code == 200
    again = post(as_alice, f"{base}/branch/dev%2Fx", {})
    assert again.status_code == 409 and again.json()["error"] == "Reference refs/heads/dev/x already exists"
    assert post(as_alice, f"{base}/branch/x", {"startingPoint": "nope"}).status_code == 404
    assert post(as_alice, f"{base}/branch/a..b", {}).status_code == 400
    assert post(as_alice, f"{base}/tag/main", {"tag": "v1", "message": "first"}).status_code == 200
    assert post(as_alice, f"{base}/tag/main", {"tag": "v1"}).status_code == 409
    assert post(as_alice, f"{base}/tag/nope", {"tag": "a..b"})["X-Error-Code"] == "RevisionNotFound"
    assert post(as_alice, f"{base}/tag/main", {"tag": "a..b"}).status_code == 400
    refs = as_alice.get(f"{base}/refs?include_prs=1").json()
    assert [row["name"] for row in refs["branches"]] == ["main", "dev/x"] and refs["branches"][0][
        "ref"
    ] == "refs/heads/main"
    assert [row["name"] for row in refs["tags"]] == ["v1"] and refs["converts"] == [] and refs["pullRequests"] == []
    missing = as_alice.delete(f"{base}/branch/v1")
    assert missing.status_code == 404 and "Invalid rev id" in missing.json()["error"]
    assert "Cannot delete refs/heads/main" in as_alice.delete(f"{base}/branch/main").json()["error"]
    assert as_alice.delete(f"{base}/tag/dev").status_code == 404
    assert as_alice.delete(f"{base}/tag/v1").status_code == as_alice.delete(f"{base}/branch/dev%2Fx").status_code == 200


def test_unknown_routes_are_json(as_alice):
    answer = as_alice.get("/api/spaces/hardware/x/y/z")
    assert answer.status_code == 404 and "error" in answer.json()


def test_wrong_methods_are_said(as_alice):
    answer = as_alice.get("/api/repos/create")
    assert answer.status_code == 405 and answer.json()["error"]


def test_listing_filters_sorts_and_pages(as_alice, as_bob, alice, bob, anonymous):
    card = b"---\nlicense: mit\ntags: [vision]\npipeline_tag: image-classification\n---\n# One\nfirst words"
    make_repository(alice, "one", files={"README.md": card, "m.onnx": b"x"})
    make_repository(alice, "two")
    make_repository(bob, "hidden", private=True)
    make_repository(alice, "rows", RepoType.DATASET)

    def ids(query, client=anonymous):
        return [row["id"] for row in client.get("/api/models?" + query).json()]

    assert ids("") == ["alice/two", "alice/one"] and ids("", as_bob) == ["bob/hidden", "alice/two", "alice/one"]
    assert ids("author=ALICE&search=on") == ["alice/one"] and ids("search=first+words") == ["alice/one"]
    assert ids("filter=license:mit&filter=vision") == ["alice/one"] and ids("filter=nope") == []
    assert ids("filter=onnx") == ["alice/one"] and ids("pipeline_tag=image-classification") == ["alice/one"]
    assert ids("gated=true") == [] and ids("sort=createdAt") == ["alice/two", "alice/one"]
    page = anonymous.get("/api/models?limit=1&filter=license:mit&sort=likes")
    assert "Link" not in page
    page = anonymous.get("/api/models?limit=1")
    address = re.fullmatch(r'<(http://testserver/api/models\?limit=1&cursor=[^>]+)>; rel="next"', page["Link"])[1]
    assert [row["id"] for row in anonymous.get(address).json()] == ["alice/one"]
    full = anonymous.get("/api/models?full=true&cardData=true&search=one").json()[0]
    assert full["cardData"]["license"] == "mit" and {"rfilename": "m.onnx"} in full["siblings"] and full["sha"]
    assert [row["id"] for row in anonymous.get("/api/datasets").json()] == ["alice/rows"]
    for bad in ("sort=nope", "limit=x", "cursor=-1", "search=%00", "expand=nope"):
        assert anonymous.get("/api/models?" + bad).status_code == 400, bad
    tags = anonymous.get("/api/models-tags-by-type").json()
    assert {"id": "license:mit", "label": "mit", "type": "license"} in tags["license"]


def test_info_in_the_protocols_shape(as_alice, alice, model):
    push(model, alice, {"README.md": b"---\nlicense: mit\n---\nhello", "m.bin": b"12345"})
    body = as_alice.get("/api/models/alice/m?blobs=true").json()
    assert body["id"] == body["modelId"] == "alice/m" and len(body["sha"]) == 40 and body["private"] is False
    assert body["cardData"] == {"license": "mit"} and "license:mit" in body["tags"]
    entry = next(row for row in body["siblings"] if row["rfilename"] == "m.bin")
    assert entry["size"] == 5 and entry["lfs"]["size"] == 5 and len(entry["lfs"]["sha256"]) == 64
    assert body["createdAt"].endswith("Z") and len(body["createdAt"]) == 24
    few = as_alice.get("/api/models/alice/m?expand=sha&expand=tags").json()
    assert set(few) == {"_id", "id", "modelId", "sha", "tags"}
    bad = as_alice.get("/api/models/alice/m?expand=foo")
    assert bad.status_code == 400 and bad.json()["error"].startswith("✖ Invalid option: expected one of")
    assert as_alice.get("/api/models/alice/m/revision/nope")["X-Error-Code"] == "RevisionNotFound"
    assert as_alice.get("/api/models/ALICE/M").status_code == 200
