"""Squash, lfs-files, their deletion with and without rewriting, granting contents to another repository."""

import hashlib

import pytest
from dulwich.objects import Commit, Tag

from models_registry.accounts.actors import Actor
from models_registry.repos import git_objects as git
from models_registry.repos.commits import Delete, commit
from models_registry.repos.entries import list_entries
from models_registry.repos.history import read_history
from models_registry.repos.models import GitObject, Ref, RepositoryBlob
from models_registry.repos.revisions import branch_head
from models_registry.repos.services import create_branch, create_tag
from tests import factories


def post(client, repository, path: str, body: object):
    return client.post(f"/api/models/{repository.full_name}/{path}", body, content_type="application/json")


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- squash ------------------------------------------------------------------------------------------------------
def test_a_branch_becomes_one_commit(as_alice, alice, model) -> None:
    for number in range(3):
        factories.push(model, alice, {"a.txt": str(number).encode(), f"{number}.bin": b"x" * number})
    create_branch(Actor(alice), model, "dev/one")
    before = branch_head(model)
    entries = list_entries(model, before, recursive=True)
    answer = post(as_alice, model, "super-squash/main", {"message": "All at once\n\nwith words"})
    assert answer.status_code == 200
    head = branch_head(model)
    (only,) = list(read_history(model, head))
    assert (only.title, only.author, only.parents) == ("All at once", "alice", ())
    assert list_entries(model, head, recursive=True) == entries
    assert len(read_history(model, branch_head(model, "dev/one"))) == 4  # another branch keeps its past
    assert post(as_alice, model, "super-squash/dev%2Fone", {}).status_code == 200
    assert [c.title for c in read_history(model, branch_head(model, "dev/one"))] == ["Super-squash branch 'dev/one'"]


def test_a_pull_request_is_squashed_by_who_opened_it(as_alice, as_bob, bob, model, alice) -> None:
    factories.push(model, alice, {"a.txt": b"a"})
    opened = post(as_bob, model, "discussions", {"title": "mine", "description": "", "pullRequest": True})
    ref = f"refs/pr/{opened.json()['num']}"
    assert len(read_history(model, Ref.objects.get(repository=model, name=ref).oid)) == 2
    carol = factories.client_of(factories.make_user("carol"))
    url = f"super-squash/{ref.replace('/', '%2F')}"
    assert post(carol, model, url, {"message": "pr"}).status_code == 403
    assert post(as_bob, model, url, {"message": "pr"}).status_code == 200
    assert [c.title for c in read_history(model, Ref.objects.get(repository=model, name=ref).oid)] == ["pr"]
    assert post(as_bob, model, "super-squash/refs%2Fpr%2F99", {}).status_code == 404


def test_what_can_not_be_squashed(as_alice, as_bob, anonymous, alice, model) -> None:
    create_tag(Actor(alice), model, "v1", "main")
    before = branch_head(model)
    assert post(as_alice, model, "super-squash/v1", {}).status_code == 400
    assert post(as_alice, model, "super-squash/refs%2Ftags%2Fv1", {}).status_code == 400
    missing = post(as_alice, model, "super-squash/none", {})
    assert missing.status_code == 404 and missing["X-Error-Code"] == "RevisionNotFound"
    assert post(as_alice, model, f"super-squash/{before}", {}).status_code == 404
    assert post(as_alice, model, "super-squash/main", {"message": 7}).status_code == 400
    assert post(as_alice, model, "super-squash/main", {"message": "x" * 1_100_000}).status_code == 400
    assert post(as_bob, model, "super-squash/main", {}).status_code == 403
    assert post(anonymous, model, "super-squash/main", {}).status_code == 401
    assert branch_head(model) == before


# --- lfs-files ---------------------------------------------------------------------------------------------------
@pytest.fixture
def filled(alice, model):
    """Three contents: one on main, one only in main's past, one on a branch; and one in no commit."""
    factories.push(model, alice, {"a/keep.bin": b"keep", "old.bin": b"old", "README.md": b"# hi"})
    commit(Actor(alice), model, "main", [Delete("old.bin")], "away")
    create_branch(Actor(alice), model, "side")
    factories.push(model, alice, {"b/side.bin": b"side"}, branch="side")
    factories.store(model, b"loose")
    return model


def test_every_content_is_listed_with_a_place(as_alice, as_bob, anonymous, filled) -> None:
    url = f"/api/models/{filled.full_name}/lfs-files"
    rows = {row["fileOid"]: row for row in as_alice.get(url).json()}
    assert {key: (row["filename"], row.get("ref"), row["size"]) for key, row in rows.items()} == {
        sha(b"keep"): ("a/keep.bin", "main", 4),
        sha(b"old"): ("old.bin", "main", 3),
        sha(b"side"): ("b/side.bin", "side", 4),
        sha(b"loose"): ("", None, 5),
    }
    assert all(row["pushedAt"].endswith("Z") for row in rows.values())
    page = as_alice.get(f"{url}?limit=3")
    assert len(page.json()) == 3 and 'rel="next"' in page["Link"]
    assert as_bob.get(url).status_code == 403 and anonymous.get(url).status_code == 401


def test_a_deleted_content_leaves_every_ref(as_alice, alice, filled, as_bob) -> None:
    create_tag(Actor(alice), filled, "light", "main")
    tag = Tag()
    tag.object, tag.name, tag.message = (Commit, branch_head(filled).encode()), b"heavy", b"words\n"
    tag.tagger, tag.tag_time, tag.tag_timezone = b"A <a@a>", 1, 0
    git.put(filled, [tag])
    Ref.objects.create(repository=filled, name="refs/tags/heavy", oid=branch_head(filled), tag_oid=tag.id.decode())
    filled.refresh_from_db()
    used = filled.used_storage_bytes
    before = {ref.name: ref.oid for ref in Ref.objects.filter(repository=filled)}
    titles = [c.title for c in read_history(filled, branch_head(filled, "side"))]
    body = {"deletions": {"sha": [sha(b"old"), sha(b"keep"), "0" * 64], "rewriteHistory": True}}
    assert post(as_bob, filled, "lfs-files/batch", body).status_code == 403
    assert post(as_alice, filled, "lfs-files/batch", body).json() == {"success": True, "deleted": 2}
    after = {ref.name: ref.oid for ref in Ref.objects.filter(repository=filled)}
    assert set(after) == set(before) and not set(after.values()) & set(before.values())
    history = read_history(filled, after["refs/heads/side"])
    assert [c.title for c in history] == titles
    for each in history:
        paths = [entry.path for entry in list_entries(filled, each.oid, recursive=True)]
        assert "old.bin" not in paths and "a" not in paths and ".gitattributes" in paths
    heavy = Ref.objects.get(repository=filled, name="refs/tags/heavy")
    made = Tag.from_string(bytes(GitObject.objects.get(repository=filled, oid=heavy.tag_oid).data))
    assert made.object[1].decode() == heavy.oid == after["refs/heads/main"] and made.message == b"words\n"
    assert set(RepositoryBlob.objects.filter(repository=filled).values_list("blob_id", flat=True)) == {
        sha(b"side"), sha(b"loose"),
    }  # fmt: skip
    filled.refresh_from_db()
    assert filled.used_storage_bytes == used - 7
    # By its old commit the content is not to be had any more either.
    old = as_alice.get(f"/{filled.full_name}/resolve/{before['refs/heads/main']}/a/keep.bin")
    assert b"".join(old).startswith(b"version https://git-lfs")
    assert post(as_alice, filled, "lfs-files/batch", body).json()["deleted"] == 0


def test_without_rewriting_the_pointers_stay(as_alice, alice, filled) -> None:
    head = branch_head(filled)
    body = {"deletions": {"sha": [sha(b"keep")], "rewriteHistory": False}}
    assert post(as_alice, filled, "lfs-files/batch", body).json()["deleted"] == 1
    assert branch_head(filled) == head
    answer = as_alice.get(f"/{filled.full_name}/resolve/main/a/keep.bin")
    assert b"".join(answer).startswith(b"version https://git-lfs")
    # Sent again, it is what it was.
    factories.store(filled, b"keep")
    assert b"".join(as_alice.get(f"/{filled.full_name}/resolve/main/a/keep.bin")) == b"keep"


def test_signatures_go_with_the_bytes_which_they_sign(as_alice, alice, filled) -> None:
    tree = git.read_commit(filled, branch_head(filled)).tree
    body = (
        f"tree {tree}\nparent {branch_head(filled)}\nauthor A <a> 1 +0000\ncommitter A <a> 2 +0000\n"
        "gpgsig -----BEGIN\n abc\n \n -----END\n\nsigned\n"
    ).encode()
    signed = Commit.from_string(body)
    git.put(filled, [signed])
    Ref.objects.filter(repository=filled, name="refs/heads/main").update(oid=signed.id.decode())
    post(as_alice, filled, "lfs-files/batch", {"deletions": {"sha": [sha(b"keep")]}})
    data = bytes(GitObject.objects.get(repository=filled, oid=branch_head(filled)).data)
    assert b"gpgsig" not in data and b"abc" not in data
    assert data.endswith(b"committer A <a> 2 +0000\n\nsigned\n")


def test_wrong_bodies(as_alice, filled) -> None:
    for body in (
        {}, {"deletions": []}, {"deletions": {"sha": "x"}}, {"deletions": {"sha": ["x"]}}, {"deletions": {"sha": [1]}},
        {"deletions": {"sha": ["0" * 64] * 1001}}, {"deletions": {"sha": [], "rewriteHistory": "no"}},
    ):  # fmt: skip
        assert post(as_alice, filled, "lfs-files/batch", body).status_code == 400, body
    for body in (
        {}, {"target": {"name": 1}}, {"target": {"type": "pet", "name": "a/b"}},
        {"target": {"type": "model", "name": filled.full_name}, "files": [1]},
        {"target": {"type": "model", "name": filled.full_name}, "files": [{"sha256": "x"}]},
    ):  # fmt: skip
        assert post(as_alice, filled, "lfs-files/duplicate", body).status_code == 400, body


def test_contents_are_granted_on(as_alice, as_bob, bob, filled) -> None:
    target = factories.make_repository(bob, "copy")
    files = [{"xetHash": "0" * 64, "sha256": sha(data), "filename": "x"} for data in (b"keep", b"nowhere")]
    body = {"target": {"type": "model", "name": "bob/copy"}, "files": files}
    assert post(as_alice, filled, "lfs-files/duplicate", body).status_code == 403
    answer = post(as_bob, filled, "lfs-files/duplicate", body)
    assert answer.json() == {"failed": [{"sha256": sha(b"nowhere"), "error": "alice/m holds no such content."}]}
    assert RepositoryBlob.objects.filter(repository=target, blob_id=sha(b"keep")).exists()
    secret = factories.make_repository(filled.creator, "secret", private=True)
    factories.store(secret, b"secret")
    files = [{"sha256": sha(b"secret")}]
    assert post(as_bob, secret, "lfs-files/duplicate", body | {"files": files}).status_code == 404
