"""Requests which the hub takes, one a route that changes something: what the fuzzer spoils (hub-protocol §2 and §3)."""

import base64
import json
from typing import Any

from tests.live.hub_process import Hub

Request = tuple[str, str, Any]


def prepare(hub: Hub) -> dict[str, str]:
    """Fresh things of bob's for the requests to speak of, whatever the last round left of the old ones; their names."""
    token, names = hub.tokens["bob"], {}

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = hub.call("POST", path, body, token=token)
        assert answer.status == 200, f"{path}: {answer.status} {answer.body[:300]!r}"
        return answer.json()

    mark = str(_count())
    names["mark"], names["repo"], names["data"] = mark, f"bob/right-{mark}", f"bob/right-{mark}-data"
    for kind, repo in (("model", names["repo"]), ("dataset", names["data"]), ("model", names["repo"] + "-old")):
        post("/api/repos/create", {"name": repo.split("/")[1], "organization": "bob", "type": kind})
    lines = [
        {"key": "header", "value": {"summary": "files"}},
        *(
            {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}}
            for path in ("a.txt", "b/c.txt", "d.txt")
        ),
    ]
    kind = {"Content-Type": "application/x-ndjson"}
    body = "\n".join(map(json.dumps, lines)).encode()
    answer = hub.call("POST", f"/api/models/{names['repo']}/commit/main", body, token=token, headers=kind)
    assert answer.status == 200, answer
    names["head"] = answer.json()["commitOid"]
    talk = post(f"/api/models/{names['repo']}/discussions", {"title": "Talk", "description": "x", "pullRequest": False})
    names["num"] = str(talk["num"])
    names["comment"] = post(f"/api/models/{names['repo']}/discussions/{talk['num']}/comment", {"comment": "Hello"})[
        "newMessage"
    ]["id"]
    names["pr"] = str(
        post(
            f"/api/models/{names['repo']}/discussions",
            {"title": "A pull request", "description": "x", "pullRequest": True},
        )["num"]
    )
    made = post("/api/collections", {"title": f"Right {mark}", "namespace": "bob", "private": False})
    names["slug"] = made["slug"]
    item = post(f"/api/collections/{made['slug']}/items", {"item": {"id": names["repo"], "type": "model"}, "note": "x"})
    names["item"] = item["items"][0]["_id"]
    watched = [{"type": "user", "name": "bob"}]
    hook = post("/api/settings/webhooks", {"watched": watched, "url": "https://example.org/x", "domains": ["repo"]})
    names["hook"] = hook["webhook"]["id"]
    return names


_made = 0


def _count() -> int:
    global _made
    _made += 1
    return _made


def of(names: dict[str, str], mark: str) -> list[Request]:
    """The requests about these things. Made anew for each round: some of them may be sent only once."""
    repo, data = f"/api/models/{names['repo']}", f"/api/datasets/{names['data']}"
    talk, pr = f"{repo}/discussions/{names['num']}", f"{repo}/discussions/{names['pr']}"
    collection, hook = f"/api/collections/{names['slug']}", f"/api/settings/webhooks/{names['hook']}"
    sample = base64.b64encode(b"sample").decode()
    header = {"key": "header", "value": {"summary": "a title", "description": "why"}}
    watched = [{"type": "model", "name": names["repo"]}, {"type": "org", "name": "acme"}]
    oid = "ab" * 32
    return [
        ("GET", "/api/whoami-v2", None),
        ("POST", "/api/validate-yaml", {"content": "---\nlicense: mit\nmodel-index: []\n---\n# x", "repoType": "model"}),
        ("POST", "/api/repos/create", {"name": f"made-{names['mark']}-{mark}", "organization": "bob", "type": "space", "sdk": "static", "visibility": "public"}),
        ("PUT", f"{repo}/settings", {"gated": "manual", "visibility": "public", "discussionsDisabled": False}),
        ("POST", f"{repo}/duplicate", {"repository": f"bob/copy-{names['mark']}-{mark}", "visibility": "private"}),
        ("POST", "/api/repos/move", {"fromRepo": f"{names['repo']}-old", "toRepo": f"bob/moved-{names['mark']}-{mark}", "type": "model"}),
        ("GET", f"{repo}?blobs=true&securityStatus=true", None),
        ("GET", f"{repo}/revision/main?expand=siblings&expand=sha", None),
        ("GET", f"{repo}/tree/main/b?recursive=true&expand=true&limit=10", None),
        ("POST", f"{repo}/paths-info/main", {"paths": ["a.txt", "b"], "expand": True}),
        ("GET", f"{repo}/refs?include_prs=1", None),
        ("GET", f"{repo}/commits/main?limit=1&expand[]=formatted", None),
        ("GET", "/api/models?search=right&author=bob&filter=license:mit&sort=likes&limit=3&full=true&cardData=true", None),
        ("GET", "/api/datasets?language=en&num_parameters=min:1,max:6B&gated=false&limit=2", None),
        ("GET", "/api/models-tags-by-type", None),
        ("POST", f"{repo}/preupload/main", {"files": [{"path": "x.bin", "sample": sample, "size": 6}], "gitIgnore": "*.log\n", "gitAttributes": "*.bin filter=lfs -text\n"}),
        ("POST", f"{repo}/commit/main", (header, {"key": "file", "value": {"path": f"f-{mark}.txt", "content": sample, "encoding": "base64"}}, {"key": "deletedFile", "value": {"path": "d.txt"}} if mark == "right" else {"key": "file", "value": {"path": "d.txt", "content": "eA=="}})),
        ("POST", f"{data}/commit/main", (header, {"key": "file", "value": {"path": "README.md", "content": base64.b64encode(b"---\nlicense: mit\nlanguage: [en]\n---\n").decode()}})),
        ("POST", f"{repo}/commit/main?create_pr=1", (header, {"key": "file", "value": {"path": "p.txt", "content": "eA=="}})),
        ("POST", f"{repo}/branch/dev%2F{names['mark']}-{mark}", {"startingPoint": "main", "overwrite": True}),
        ("POST", f"{repo}/tag/main", {"tag": f"t-{names['mark']}-{mark}", "message": "x"}),
        ("GET", f"{repo}/lfs-files?limit=5", None),
        ("POST", f"/{names['repo']}.git/info/lfs/objects/batch", {"operation": "upload", "transfers": ["basic", "multipart"], "objects": [{"oid": oid, "size": 10}], "hash_algo": "sha256", "ref": {"name": "main"}}),
        ("GET", f"{repo}/xet-write-token/main", None),
        ("GET", f"{repo}/discussions?p=0&type=all&status=open&author=bob", None),
        ("POST", f"{repo}/discussions", {"title": "Another", "description": "**x**", "pullRequest": False}),
        ("GET", f"{talk}?diff=1", None),
        ("POST", f"{talk}/comment", {"comment": "A comment <b>"}),
        ("POST", f"{talk}/comment/{names['comment']}/edit", {"content": "Edited"}),
        ("POST", f"{talk}/title", {"title": f"Renamed {mark}"}),
        ("POST", f"{pr}/status", {"status": "open", "comment": "Ready"}),
        ("GET", f"{pr}?diff=1", None),
        ("POST", f"{repo}/like", {}),
        ("GET", f"{repo}/likers", None),
        ("GET", "/api/users/bob/likes", None),
        ("GET", "/api/users/bob/overview", None),
        ("GET", "/api/organizations/acme/members", None),
        ("GET", f"{repo}/user-access-request/pending", None),
        ("POST", f"{repo}/user-access-request/grant", {"user": "alice"}),
        ("POST", f"{repo}/user-access-request/handle", {"user": "alice", "status": "rejected", "rejectionReason": "x"}),
        ("GET", f"/api/collections?owner=bob&item=models/{names['repo']}&sort=lastModified&limit=3", None),
        ("POST", "/api/collections", {"title": f"More {names['mark']} {mark}", "namespace": "bob", "private": True, "description": "x"}),
        ("PATCH", collection, {"title": f"Right {names['mark']}", "description": "y", "private": False, "theme": "pink", "position": 1}),
        ("POST", f"{collection}/items", {"item": {"id": names["data"], "type": "dataset"}, "note": "y"}),
        ("PATCH", f"{collection}/items/{names['item']}", {"note": "z", "position": 0}),
        ("GET", "/api/settings/webhooks", None),
        ("POST", "/api/settings/webhooks", {"watched": watched, "url": "https://example.org/y", "domains": ["repo", "discussion"], "secret": "s"}),
        ("POST", hook, {"watched": watched, "url": "https://example.org/z", "domains": ["repo"]}),
        ("POST", f"{hook}/disable", {}),
        ("GET", "/api/settings/repositories", None),
        ("POST", f"{repo}/super-squash/main", {"message": "One"}),
    ]  # fmt: skip
