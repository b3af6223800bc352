"""clone, fetch, ls-remote with the real git, by protocols 0 and 2."""

import base64
import gzip

import pytest
from django.test import Client

from models_registry.accounts.actors import Actor
from models_registry.gitapi import packs
from models_registry.repos.models import GitObject, Ref, RepoType
from models_registry.repos.services import create_branch, create_tag
from tests import factories

VERSIONS = ["0", "1", "2"]


def expect_same_objects(git, folder, repository) -> None:
    """The clone holds what the hub holds, and is clean."""
    assert git.objects(folder) == set(GitObject.objects.filter(repository=repository).values_list("oid", flat=True))
    assert "error" not in git.run("fsck", "--strict", cwd=folder)
    git.run("gc", "-q", cwd=folder)


@pytest.mark.parametrize("version", VERSIONS)
def test_clone_and_fetch(version: str, git, alice, make_model) -> None:
    repository = make_model(files={"a.txt": b"one\n", "deep/er/b.txt": b"two\n", "w.bin": b"weights"})
    create_tag(Actor(alice), repository, "v1", "main")
    create_branch(Actor(alice), repository, "feature/x")
    git.run("config", "--global", "protocol.version", version)
    folder = git.clone(repository)
    assert (folder / "deep/er/b.txt").read_bytes() == b"two\n"
    assert (folder / "w.bin").read_bytes().startswith(b"version https://git-lfs")
    assert git.run("branch", "--show-current", cwd=folder) == "main\n"
    assert git.run("tag", cwd=folder) == "v1\n"
    assert git.run("branch", "-r", cwd=folder).split()[-2:] == ["origin/feature/x", "origin/main"]
    expect_same_objects(git, folder, repository)
    for number in range(40):
        factories.push(repository, alice, {"a.txt": f"{number}\n".encode(), f"more/{number}": b"x"}, f"c{number}")
    git.commit(folder, {"mine.txt": b"not pushed"})
    git.run("fetch", "-q", cwd=folder)
    assert git.head(folder, "origin/main") == Ref.objects.get(repository=repository, name="refs/heads/main").oid
    git.run("fsck", "--strict", cwd=folder)
    git.run("reset", "-q", "--hard", "origin/main", cwd=folder)
    assert (folder / "a.txt").read_bytes() == b"39\n"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_fetch_sends_only_what_is_new(version: str, git, alice, make_model) -> None:
    repository = make_model(files={f"d{n % 5}/{n}.txt": str(n).encode() for n in range(50)})
    git.run("config", "--global", "protocol.version", version)
    folder = git.clone(repository)
    before = len(git.objects(folder))
    factories.push(repository, alice, {"d1/1.txt": b"changed"})
    said = git.run("-c", "fetch.unpackLimit=1", "fetch", "--progress", cwd=folder)
    assert "Sending 4 objects" in said  # the commit, two folders, the file
    assert len(git.objects(folder)) == before + 4


@pytest.mark.parametrize("version", VERSIONS)
def test_shallow_clones_deepen(version: str, git, alice, make_model) -> None:
    repository = make_model(files={"keep.txt": b"the same\n"})
    for number in range(8):
        factories.push(repository, alice, {"a.txt": str(number).encode()}, f"c{number}")
    git.run("config", "--global", "protocol.version", version)
    folder = git.clone(repository, None, "--depth", "1")

    def count() -> int:
        git.run("fsck", "--strict", cwd=folder)
        return len(git.run("log", "--oneline", cwd=folder).splitlines())

    assert count() == 1 and (folder / "keep.txt").exists()
    git.run("fetch", "-q", "--depth", "3", cwd=folder)
    assert count() == 3
    git.run("fetch", "-q", "--deepen", "2", cwd=folder)
    assert count() == 5
    factories.push(repository, alice, {"a.txt": b"new"}, "newer")
    git.run("pull", "-q", cwd=folder)
    assert count() == 6
    git.run("fetch", "-q", "--depth", "2", cwd=folder)
    assert count() == 2
    git.run("fetch", "-q", "--unshallow", cwd=folder)
    assert count() == 11
    expect_same_objects(git, folder, repository)
    no = git.run("clone", "--shallow-since=2090-01-01", git.url(repository), "no", fails=True)
    assert "No commits are left" in no
    single = git.clone(repository, None, "--single-branch", "--shallow-since=2001-01-01", name="since")
    assert len(git.run("log", "--oneline", cwd=single).splitlines()) == 11


def test_partial_clones_fetch_files_when_they_are_needed(git, make_model) -> None:
    repository = make_model(files={"a.txt": b"a" * 50, "big.txt": b"b" * 5000})
    folder = git.clone(repository, None, "--filter=blob:none", "--no-checkout")
    missing = git.run("rev-list", "--objects", "--all", "--missing=print", cwd=folder)
    assert missing.count("?") == 3
    git.run("checkout", "-q", "main", cwd=folder)
    assert (folder / "big.txt").read_bytes() == b"b" * 5000
    small = git.clone(repository, None, "--filter=blob:limit=1k", "--no-checkout", name="small")
    assert git.run("rev-list", "--objects", "--all", "--missing=print", cwd=small).count("?") == 2
    refused = git.run("clone", "--filter=tree:0", git.url(repository), "no", fails=True)
    assert "blob:none" in refused


def test_one_commit_by_its_sha_and_other_refs(git, alice, make_model) -> None:
    repository = make_model(files={"a.txt": b"1"})
    old = Ref.objects.get(repository=repository, name="refs/heads/main").oid
    factories.push(repository, alice, {"a.txt": b"2"})
    Ref.objects.create(repository=repository, name="refs/variants/int8", oid=old)
    Ref.objects.create(repository=repository, name="refs/internal/x", oid=old)
    assert "refs/variants/int8" in git.run("ls-remote", git.url(repository))
    assert "refs/internal" not in git.run("ls-remote", git.url(repository))
    folder = git.home / "one"
    git.run("init", "-q", str(folder))
    git.run("fetch", "-q", "--depth", "1", git.url(repository), old, cwd=folder)
    assert git.head(folder, "FETCH_HEAD") == old
    refused = git.run("fetch", git.url(repository), "1" * 40, cwd=folder, fails=True)
    assert "not our ref" in refused


@pytest.mark.parametrize("kind", [RepoType.DATASET, RepoType.SPACE, RepoType.KERNEL])
@pytest.mark.parametrize("suffix", ["", ".git"])
def test_every_kind_of_repository_has_an_address(kind: RepoType, suffix: str, git, alice) -> None:
    repository = factories.make_repository(alice, "r", kind)
    assert "refs/heads/main" in git.run("ls-remote", git.url(repository) + suffix)


def test_private_repositories_are_shown_to_members_only(git, alice, bob, make_model) -> None:
    secret = make_model("secret", private=True)
    head = Ref.objects.get(repository=secret, name="refs/heads/main").oid
    assert head in git.run("ls-remote", git.url(secret, alice, "read"))
    outside = [git.run("ls-remote", git.url(path), fails=True) for path in (secret, "alice/none")]
    assert "Authentication failed" in outside[0] or "could not read Username" in outside[0]
    assert outside[0].replace("secret", "none") == outside[1]
    others = [git.run("ls-remote", git.url(path, bob), fails=True) for path in (secret, "alice/none")]
    assert "not found" in others[0] and others[0].replace("secret", "none") == others[1]
    wrong = "Basic " + base64.b64encode(b"bob:hf_wrong").decode()
    make_model("open")
    answer = Client().get("/alice/open/info/refs?service=git-upload-pack", headers={"Authorization": wrong})
    assert answer.status_code == 401 and answer["WWW-Authenticate"].startswith("Basic ")


def test_a_second_clone_is_a_copy_of_the_first(git, alice, make_model, monkeypatch, data_folder) -> None:
    repository = make_model(files={f"f{n}": str(n).encode() for n in range(200)})
    first = git.clone(repository, name="first")
    kept = list((data_folder / "packs").iterdir())
    assert [path.suffix for path in kept] == [".pack"]
    monkeypatch.setattr(packs, "pack", lambda *_: pytest.fail("the kept pack was not used"))
    second = git.clone(repository, name="second")
    assert git.objects(first) == git.objects(second)
    monkeypatch.undo()
    factories.push(repository, alice, {"f1": b"new"})
    expect_same_objects(git, git.clone(repository, name="third"), repository)
    monkeypatch.setattr(packs, "KEPT_BYTES", 1)
    factories.push(repository, alice, {"f1": b"newer"})
    git.clone(repository, name="fourth")
    assert not list((data_folder / "packs").iterdir())  # no room for any


def test_bodies_may_be_zipped_and_must_be_git_s(client, make_model) -> None:
    repository = make_model()
    head = Ref.objects.get(repository=repository, name="refs/heads/main").oid
    want = f"0032want {head}\n00000009done\n".encode()
    kind = "application/x-git-upload-pack-request"
    for body, headers in ((want, {}), (gzip.compress(want), {"Content-Encoding": "gzip"})):
        answer = client.post("/alice/m/git-upload-pack", body, content_type=kind, headers=headers)
        assert answer.status_code == 200 and b"".join(answer).startswith(b"0008NAK\nPACK")
    for body, said in (
        (b"zzzz", b"pkt-line"), (b"0003", b"pkt-line"), (b"0032want", b"cut off"), (b"000cwant xyz0000", b"understand"),
        (f"0032want {'1' * 40}\n00000009done\n".encode(), b"not our ref"),
    ):  # fmt: skip
        answer = client.post("/alice/m/git-upload-pack", body, content_type=kind)
        text = b"".join(answer)
        assert answer.status_code == 200 and b"ERR " in text and said in text, text
    damaged = client.post(
        "/alice/m/git-upload-pack", b"no gzip", content_type=kind, headers={"Content-Encoding": "gzip"}
    )
    assert damaged.status_code == 400 and b"gzip" in damaged.content
    assert client.post("/alice/m/git-upload-pack", want, content_type="text/plain").status_code == 415
    assert client.get("/alice/m/info/refs").status_code == 403
    assert client.post("/alice/m/info/refs?service=git-upload-pack").status_code == 405
    assert client.get("/alice/m/git-upload-pack").status_code == 405
    unknown = b"0017command=frobnicate\n0000"
    answer = client.post("/alice/m/git-upload-pack", unknown, content_type=kind, headers={"Git-Protocol": "version=2"})
    assert b"no command" in b"".join(answer)
