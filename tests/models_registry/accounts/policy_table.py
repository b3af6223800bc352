"""Who may do what: the table, and the acts which stand for each of its groups. docs/roles.md shows it.

Cells: `y` allowed · `n` refused with 403 · `s` 401, sign in · `-` does not exist for them (404; 401 when anonymous) ·
`g` stopped by the gate · `.` not asked. Columns: everyone of WHO, by the credentials which they send.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.test import Client

# name -> what docs/roles.md says of them. The first nine by a session's or a write token's rights; the rest are tokens
# of an admin of the organisation which owns the repository.
WHO = {
    "anonymous": "nobody signed in",
    "outsider": "signed in, no member",
    "read": "member with the role read",
    "contributor": "contributor, on what somebody else made",
    "creator": "contributor, on what they made themselves",
    "write": "member with the role write",
    "admin": "member with the role admin",
    "owner": "a user, in their own namespace",
    "superuser": "administrator of the hub",
    "token:read": "an admin's classic token with the role read",
    "fine:nothing": "an admin's fine-grained token without a scope",
    "fine:read": "… with `repo.content.read` on this repository",
    "fine:write": "… with `repo.write` on this repository",
    "fine:elsewhere": "… with `repo.write` on another repository",
    "fine:namespace": "… with `repo.write` on the organisation",
    "fine:discuss": "… with `repo.content.read`, `discussion.write` on this repository",
}
VISIBILITIES = ("public", "private", "gated")

#                        anonymous outsider read contributor creator write admin owner superuser | token:read
#                        fine:nothing fine:read fine:write fine:elsewhere fine:namespace fine:discuss
TABLE = {
    "see":     {"public":  "y y y y y y y y y | y y y y y y y",
                "private": "- - y y y y y y y | y - y y - y y",
                "gated":   "y y y y y y y y y | y y y y y y y"},
    "files":   {"public":  "y y y y y y y y y | y y y y y y y",
                "private": "- - y y y y y y y | y - y y - y y",
                "gated":   "g g y y y y y y y | y g y y g y y"},
    "write":   {"public":  "s n n n y y y y y | n n n y n y n",
                "private": "- - n n y y y y y | n - n y - y n",
                "gated":   "s n n n y y y y y | n n n y n y n"},
    "push":    {"public":  "s n n n y y y y y | n n n y n y n",
                "private": "s - n n y y y y y | n - n y - y n",
                "gated":   "s n n n y y y y y | n n n y n y n"},
    "manage":  {"public":  "s n n n y y y y y | n n n y n y n",
                "private": "- - n n y y y y y | n - n y - y n",
                "gated":   "s n n n y y y y y | n n n y n y n"},
    "gate":    {"gated":   "s n n n y y y y y | n n n y n y n"},
    "move":    {"public":  "s n n n y y y y y | n n n n n y n",
                "private": "- - n n y y y y y | n - n n - y n",
                "gated":   "s n n n y y y y y | n n n n n y n"},
    "discuss": {"public":  "s y y y y y y y y | n n n n n n y",
                "private": "- - y y y y y y y | n - n n - n y",
                "gated":   "s y y y y y y y y | n n n n n n y"},
    "propose": {"public":  "s y y y y y y y y | n n n n n n y",
                "private": "- - y y y y y y y | n - n n - n y",
                "gated":   "s g y y y y y y y | n n n n n n y"},
    "send":    {"public":  "s y y y y y y y y | n n n y n y y",
                "private": "- - y y y y y y y | n - n y - y y",
                "gated":   "s g y y y y y y y | n n n y n y y"},
    "settle":  {"public":  "s n n n y y y y y | n n n n n n n",
                "private": "- - n n y y y y y | n - n n - n n",
                "gated":   "s n n n y y y y y | n n n n n n n"},
    "reword":  {"public":  "s n n n n n n n n | n n n n n n n",
                "private": "- - n n n n n n n | n - n n - n n"},
    "create":  {"public":  "s n n y y y y y y | n n n n n y n"},
    "collect": {"public":  "s n n y y y y y y | n n n n n n n"},
    "members": {"public":  "s n n n n n y . y | n n n n n n n"},
    "hooks":   {"public":  "s y y y y y y y y | n n n n n n n"},
}  # fmt: skip
GROUPS = {
    "see": "see that it is there: info, listings, file names, commits, discussions",
    "files": "read files: download, LFS, Xet, git clone",
    "write": "commit, branch, tag, upload, squash, delete contents; hide comments, pin discussions",
    "push": "git push; git asks anonymous callers for a token, whatever is there",
    "manage": "settings, delete",
    "gate": "see access requests, let people in",
    "move": "rename it, or move it to another namespace",
    "discuss": "open discussions, comment, like, save budgets",
    "propose": "open a pull request and send files for it, send measurements",
    "settle": "rename and close discussions of others, push to their pull requests, merge",
    "send": "send contents by LFS, for a commit or for a pull request",
    "reword": "change somebody else's words",
    "create": "make a repository in the namespace",
    "collect": "make collections in the namespace",
    "hooks": "make webhooks of one's own",
    "members": "add, change and remove members of the organisation",
}


def expected(group: str, who: str, visibility: str) -> str:
    cells = TABLE[group][visibility].replace("|", " ").split()
    return dict(zip(WHO, cells, strict=True))[who]


@dataclass(frozen=True)
class Stage:
    """What an act is played on. `name` is the repository's `namespace/name`."""

    client: Client
    name: str
    namespace: str
    head: str
    blob: str
    blob_bytes: int
    others_discussion: int
    others_pull: int
    others_comment: str

    def api(self, rest: str = "") -> str:
        return f"/api/models/{self.name}{rest}"

    def post(self, url: str, data: Any = None, method: str = "post") -> Any:
        return getattr(self.client, method)(url, json.dumps(data or {}), content_type="application/json")


Act = Callable[[Stage], Any]
ACTS: dict[str, tuple[str, Act]] = {}


def act(group: str) -> Callable[[Act], Act]:
    """Another room's act joins the table by this one line above it."""

    def register(function: Act) -> Act:
        ACTS[function.__name__] = (group, function)
        return function

    return register


def _commit(on: Stage, branch: str, query: str = "") -> Any:
    content = b64encode(on.name.encode()).decode()
    lines = [
        {"key": "header", "value": {"summary": "by the table"}},
        {"key": "file", "value": {"path": "table.txt", "content": content, "encoding": "base64"}},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    return on.client.post(on.api(f"/commit/{branch}{query}"), body, content_type="application/x-ndjson")


def _lfs(on: Stage, operation: str, oid: str, size: int) -> Any:
    body = {"operation": operation, "objects": [{"oid": oid, "size": size}], "transfers": ["basic"]}
    return on.post(f"/{on.name}.git/info/lfs/objects/batch", body)


# --- see ------------------------------------------------------------------------------------------------------------
@act("see")
def info(on: Stage) -> Any:
    return on.client.get(on.api())


@act("see")
def info_at_a_revision(on: Stage) -> Any:
    return on.client.get(on.api("/revision/main?blobs=true"))


@act("see")
def refs(on: Stage) -> Any:
    return on.client.get(on.api("/refs"))


@act("see")
def file_names(on: Stage) -> Any:
    return on.client.get(on.api("/tree/main?recursive=true"))


@act("see")
def paths_info(on: Stage) -> Any:
    return on.client.post(on.api("/paths-info/main"), {"paths": "a.txt"})


@act("see")
def commits(on: Stage) -> Any:
    return on.client.get(on.api("/commits/main"))


@act("see")
def read_the_card(on: Stage) -> Any:
    return on.client.get(f"/{on.name}/resolve/main/README.md")


@act("see")
def page(on: Stage) -> Any:
    return on.client.get(f"/{on.name}")


@act("see")
def listed(on: Stage) -> Any:
    """A listing always answers; whether the repository is in it is what is asked."""
    answer = on.client.get(f"/api/models?author={on.namespace}")
    names = [row["id"] for row in answer.json()]
    return 200 if on.name in names else 404


# --- files ----------------------------------------------------------------------------------------------------------
@act("files")
def download(on: Stage) -> Any:
    return on.client.get(f"/{on.name}/resolve/main/a.txt")


@act("files")
def download_a_content(on: Stage) -> Any:
    return on.client.get(f"/{on.name}/resolve/main/w.bin")


@act("files")
def ask_for_a_file(on: Stage) -> Any:
    return on.client.head(f"/{on.name}/resolve/main/a.txt")


@act("files")
def lfs_download(on: Stage) -> Any:
    return _lfs(on, "download", on.blob, on.blob_bytes)


@act("files")
def xet_read_token(on: Stage) -> Any:
    return on.client.get(on.api("/xet-read-token/main"))


@act("files")
def auth_check(on: Stage) -> Any:
    return on.client.get(on.api("/auth-check"))


# --- write ----------------------------------------------------------------------------------------------------------
@act("write")
def commit(on: Stage) -> Any:
    return _commit(on, "main")


@act("write")
def auth_check_to_write(on: Stage) -> Any:
    return on.client.get(on.api("/auth-check/write"))


@act("write")
def create_branch(on: Stage) -> Any:
    return on.post(on.api("/branch/new"))


@act("write")
def delete_branch(on: Stage) -> Any:
    return on.client.delete(on.api("/branch/side"))


@act("write")
def create_tag(on: Stage) -> Any:
    return on.post(on.api("/tag/main"), {"tag": "v2"})


@act("write")
def delete_tag(on: Stage) -> Any:
    return on.client.delete(on.api("/tag/v1"))


@act("write")
def squash(on: Stage) -> Any:
    return on.post(on.api("/super-squash/main"), {"message": "one commit"})


@act("write")
def list_stored_contents(on: Stage) -> Any:
    return on.client.get(on.api("/lfs-files"))


@act("write")
def delete_a_content(on: Stage) -> Any:
    return on.post(on.api("/lfs-files/batch"), {"deletions": {"sha": [on.blob], "rewriteHistory": True}})


@act("write")
def take_contents_of_another(on: Stage) -> Any:
    target = {"type": "model", "name": on.name}
    return on.post("/api/models/stranger/open/lfs-files/duplicate", {"target": target, "files": []})


@act("write")
def preupload(on: Stage) -> Any:
    return on.post(on.api("/preupload/main"), {"files": [{"path": "b.txt", "size": 1, "sample": ""}]})


@act("write")
def xet_write_token(on: Stage) -> Any:
    return on.client.get(on.api("/xet-write-token/main"))


@act("send")
def lfs_upload(on: Stage) -> Any:
    return _lfs(on, "upload", "1" * 64, 3)


@act("files")
def git_fetch(on: Stage) -> Any:
    return on.client.get(f"/{on.name}.git/info/refs?service=git-upload-pack", headers={"Git-Protocol": "version=2"})


@act("files")
def git_list_refs(on: Stage) -> Any:
    url, kind = f"/{on.name}.git/git-upload-pack", "application/x-git-upload-pack-request"
    return on.client.post(url, b"0014command=ls-refs\n0000", content_type=kind, headers={"Git-Protocol": "version=2"})


@act("push")
def git_push(on: Stage) -> Any:
    return on.client.get(f"/{on.name}.git/info/refs?service=git-receive-pack")


@act("push")
def git_push_away_a_branch(on: Stage) -> Any:
    command = f"{on.head} {'0' * 40} refs/heads/side\0report-status delete-refs\n".encode()
    body = f"{len(command) + 4:04x}".encode() + command + b"0000"
    url, kind = f"/{on.name}.git/git-receive-pack", "application/x-git-receive-pack-request"
    answer = on.client.post(url, body, content_type=kind)
    if answer.status_code == 200 and b"ok refs/heads/side" not in b"".join(answer):
        return 404
    return answer


# --- discuss --------------------------------------------------------------------------------------------------------
@act("see")
def likers(on: Stage) -> Any:
    return on.client.get(on.api("/likers"))


@act("discuss")
def like(on: Stage) -> Any:
    return on.post(on.api("/like"))


@act("see")
def discussions(on: Stage) -> Any:
    return on.client.get(on.api("/discussions"))


@act("see")
def read_a_discussion(on: Stage) -> Any:
    return on.client.get(on.api(f"/discussions/{on.others_discussion}"))


@act("see")
def read_a_pull_request(on: Stage) -> Any:
    """Its words; its changes are files."""
    return on.client.get(on.api(f"/discussions/{on.others_pull}?diff=1"))


@act("files")
def read_the_changes_of_a_pull_request(on: Stage) -> Any:
    return on.client.get(f"/{on.name}/resolve/refs%2Fpr%2F{on.others_pull}/offer.txt")


@act("discuss")
def open_a_discussion(on: Stage) -> Any:
    return on.post(on.api("/discussions"), {"title": "Another question", "description": "words", "pullRequest": False})


@act("discuss")
def comment(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_discussion}/comment"), {"comment": "more words"})


@act("discuss")
def save_a_budget(on: Stage) -> Any:
    return on.post(on.api("/budgets"), {"budget": "memory=1GB"})


@act("propose")
def open_a_pull_request(on: Stage) -> Any:
    return on.post(on.api("/discussions"), {"title": "An offer", "description": "words", "pullRequest": True})


@act("propose")
def send_measurements(on: Stage) -> Any:
    """Nothing is in it: 400 is the answer to whoever may send."""
    answer = on.post(on.api("/measurements"), {})
    return 200 if answer.status_code == 400 else answer


@act("propose")
def commit_as_a_pull_request(on: Stage) -> Any:
    return _commit(on, "main", "?create_pr=1")


@act("propose")
def xet_write_token_for_a_pull_request(on: Stage) -> Any:
    return on.client.get(on.api("/xet-write-token/main?create_pr=1"))


@act("settle")
def rename_a_discussion(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_discussion}/title"), {"title": "A better title"})


@act("settle")
def close_a_discussion(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_discussion}/status"), {"status": "closed"})


@act("settle")
def push_to_a_pull_request(on: Stage) -> Any:
    return _commit(on, f"refs%2Fpr%2F{on.others_pull}")


@act("write")
def hide_a_comment(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_discussion}/comment/{on.others_comment}/hide"))


@act("write")
def pin(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_discussion}/pin"), {"pinned": True})


@act("settle")
def merge(on: Stage) -> Any:
    return on.post(on.api(f"/discussions/{on.others_pull}/merge"))


@act("reword")
def edit_a_comment(on: Stage) -> Any:
    url = on.api(f"/discussions/{on.others_discussion}/comment/{on.others_comment}/edit")
    return on.post(url, {"content": "other words"})


@act("discuss")
def unlike(on: Stage) -> Any:
    return on.client.delete(on.api("/like"))


# --- manage ---------------------------------------------------------------------------------------------------------
@act("manage")
def settings(on: Stage) -> Any:
    return on.post(on.api("/settings"), {"visibility": "private"}, "put")


@act("manage")
def gate(on: Stage) -> Any:
    return on.post(on.api("/settings"), {"gated": "auto"}, "put")


@act("manage")
def delete(on: Stage) -> Any:
    space, name = on.name.split("/")
    return on.post("/api/repos/delete", {"organization": space, "name": name, "type": "model"}, "delete")


@act("gate")
def list_access_requests(on: Stage) -> Any:
    return on.client.get(on.api("/user-access-request/pending"))


@act("gate")
def grant_access(on: Stage) -> Any:
    return on.post(on.api("/user-access-request/grant"), {"user": "newcomer"})


@act("move")
def rename(on: Stage) -> Any:
    return on.post("/api/repos/move", {"fromRepo": on.name, "toRepo": f"{on.namespace}/renamed", "type": "model"})


# --- namespaces -----------------------------------------------------------------------------------------------------
@act("create")
def duplicate(on: Stage) -> Any:
    return on.post("/api/models/stranger/open/duplicate", {"repository": f"{on.namespace}/copy"})


@act("create")
def create(on: Stage) -> Any:
    return on.post("/api/repos/create", {"organization": on.namespace, "name": "fresh", "type": "model"})


@act("members")
def add_a_member(on: Stage) -> Any:
    return on.post(f"/api/organizations/{on.namespace}/members/newcomer", {"role": "read"}, "put")


@act("members")
def remove_a_member(on: Stage) -> Any:
    return on.client.delete(f"/api/organizations/{on.namespace}/members/member")


@act("collect")
def make_a_collection(on: Stage) -> Any:
    return on.post("/api/collections", {"title": "Good ones", "namespace": on.namespace, "private": True})


@act("hooks")
def make_a_webhook(on: Stage) -> Any:
    watched = [{"type": "org", "name": on.namespace}]
    return on.post("/api/settings/webhooks", {"url": "https://example.org/hook", "watched": watched})
