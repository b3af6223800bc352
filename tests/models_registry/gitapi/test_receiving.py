"""push with the real git: what is taken, what is refused and in which words; nothing half done."""

import hashlib
import subprocess
import zlib

import pytest

from models_registry.accounts.actors import Actor
from models_registry.gitapi import unpacking
from models_registry.repos.duplicating import duplicate_repository
from models_registry.repos.entries import entries_at, list_entries
from models_registry.repos.events import revision_published
from models_registry.repos.git_objects import pointer_text
from models_registry.repos.models import GitObject, Ref, Repository
from models_registry.repos.revisions import branch_head
from tests import factories


def refs(repository: Repository) -> dict[str, str]:
    return dict(Ref.objects.filter(repository=repository).values_list("name", "oid"))


@pytest.fixture
def folder(git, alice, make_model):
    """A clone of alice/m which may push."""
    return git.clone(make_model(), alice)


@pytest.fixture
def model(alice, make_model, folder) -> Repository:
    return Repository.objects.get(full_name="alice/m")


def test_branches_tags_force_and_delete(git, folder, model, alice) -> None:
    seen = []

    def listen(sender, ref, oid, old_oid, **_) -> None:
        seen.append((ref, oid, old_oid))

    revision_published.connect(listen)
    first = branch_head(model)
    head = git.commit(folder, {"a.txt": b"a", "d/e/f.txt": b"f"})
    git.run("tag", "light", cwd=folder)
    git.run("tag", "-a", "-m", "words", "heavy", cwd=folder)
    git.run("push", "origin", "main", "main:refs/heads/side/one", "light", "heavy", cwd=folder)
    assert seen == [
        ("refs/heads/main", head, first), ("refs/heads/side/one", head, None), ("refs/tags/light", head, None),
        ("refs/tags/heavy", head, None),
    ]  # fmt: skip
    assert refs(model) == {
        "refs/heads/main": head, "refs/heads/side/one": head, "refs/tags/light": head, "refs/tags/heavy": head,
    }  # fmt: skip
    assert [entry.path for entry in list_entries(model, head, recursive=True)] == [
        ".gitattributes", "a.txt", "d", "d/e", "d/e/f.txt",
    ]  # fmt: skip
    other = git.clone(model, None, name="other")
    assert git.run("cat-file", "-t", "heavy", cwd=other) == "tag\n" and git.head(other, "heavy^{}") == head
    assert git.objects(other) == git.objects(folder)
    copied = duplicate_repository(Actor(alice), model, "copy", hub="")
    assert git.run("cat-file", "-t", "heavy", cwd=git.clone(copied, alice, name="copied")) == "tag\n"
    seen.clear()
    # Not a descendant: refused by git itself until it is forced, and then taken.
    git.run("commit", "-q", "--amend", "-m", "other words", cwd=folder)
    git.run("push", "origin", "main", cwd=folder, fails=True)
    git.run("push", "--force", "origin", "main", cwd=folder)
    assert branch_head(model) == git.head(folder)
    git.run("push", "origin", "--delete", "side/one", "light", "heavy", cwd=folder)
    assert set(refs(model)) == {"refs/heads/main"}
    refused = git.run("push", "origin", ":main", cwd=folder, fails=True)
    assert "Cannot delete refs/heads/main" in refused and branch_head(model) == git.head(folder)


def test_modes_submodules_and_odd_commits_are_kept_byte_for_byte(git, folder, model, as_alice) -> None:
    (folder / "link").symlink_to("target")
    (folder / "run.sh").write_bytes(b"#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    inner = "1" * 40
    git.run("add", "-A", cwd=folder)
    git.run("update-index", "--add", "--cacheinfo", f"160000,{inner},module", cwd=folder)
    tree = git.run("write-tree", cwd=folder).strip()
    parent = git.head(folder)
    body = (
        f"tree {tree}\nparent {parent}\nauthor J\xfcrgen <j@x> 1700000000 +0130\n"
        f"committer J\xfcrgen <j@x> 1700000001 -0700\nencoding ISO-8859-1\n"
        "gpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n\nGr\xfc\xdfe\n\nCo-authored-by: B <b@x>\n"
    ).encode("latin-1")
    oid = git.run("hash-object", "-t", "commit", "-w", "--stdin", cwd=folder, data=body).strip()
    git.run("push", "origin", f"{oid}:refs/heads/main", cwd=folder)
    assert bytes(GitObject.objects.get(repository=model, oid=oid).data) == body
    url = f"/api/models/{model.full_name}"
    tree_rows = {row["path"]: row for row in as_alice.get(f"{url}/tree/main?recursive=true&expand=true").json()}
    assert tree_rows["link"]["size"] == 6 and tree_rows["run.sh"]["type"] == "file"
    assert "module" not in tree_rows  # a download of all that is listed must not stumble over it
    commit = as_alice.get(f"{url}/commits/main").json()[0]
    assert (commit["title"], commit["authors"][0]["user"]) == ("Grüße", "Jürgen")
    assert as_alice.get(f"/{model.full_name}/resolve/main/module").status_code == 404
    for page in ("tree/main", "blob/main/link", "blob/main/module", f"commit/{oid}", "commits/main"):
        assert as_alice.get(f"/{model.full_name}/{page}", headers={"accept": "text/html"}).status_code in (200, 404), (
            page
        )
    clone = git.clone(model, name="again")
    assert git.run("cat-file", "commit", oid, cwd=clone).encode("utf-8") and git.head(clone) == oid
    assert (clone / "run.sh").stat().st_mode & 0o100 and (clone / "link").is_symlink()
    # A commit over the API beside them keeps them.
    factories.push(model, model.creator, {"new.txt": b"x"})
    assert {entry.path for entry in list_entries(model, branch_head(model))} >= {"link", "run.sh", "new.txt"}
    git.run("pull", "-q", cwd=clone)
    assert inner in git.run("ls-tree", "HEAD", cwd=clone)


def pushed(git, folder, files: dict[str, bytes]) -> str:
    git.commit(folder, files)
    return git.run("push", "origin", "main", cwd=folder, fails=True)


def test_a_large_file_is_named_and_refused(git, folder, model) -> None:
    before = refs(model), GitObject.objects.count()
    said = pushed(git, folder, {"deep/big.txt": b"x" * (10 * 1024 * 1024 + 1)})
    assert "remote: deep/big.txt has 10,485,761 bytes: a file of more than 10 MiB is pushed with git-lfs" in said
    assert (refs(model), GitObject.objects.count()) == before
    git.run("reset", "-q", "--hard", "HEAD~1", cwd=folder)
    git.commit(folder, {"just.txt": b"x" * (10 * 1024 * 1024)})
    git.run("push", "-q", "origin", "main", cwd=folder)
    assert branch_head(model) == git.head(folder)


def test_a_pointer_must_name_what_was_shown_here(git, folder, model, bob) -> None:
    stolen = factories.store(factories.make_repository(bob, "secret", private=True), b"bob's weights")
    said = pushed(git, folder, {"w.bin": pointer_text(stolen, 13)})
    assert "w.bin is a git-lfs pointer, but its content" in said and "git lfs push" in said
    sha256 = factories.store(model, b"our weights")
    said = pushed(git, folder, {"w.bin": pointer_text(sha256, 12)})  # in the history before, the stolen one
    git.run("reset", "-q", "--hard", "origin/main", cwd=folder)
    said = pushed(git, folder, {"w.bin": pointer_text(sha256, 12)})
    assert "points to 12 bytes, but its content has 11" in said
    git.run("reset", "-q", "--hard", "origin/main", cwd=folder)
    git.commit(folder, {"w.bin": pointer_text(sha256, 11)})
    git.run("push", "-q", "origin", "main", cwd=folder)
    (entry,) = entries_at(model, branch_head(model), ["w.bin"])
    assert (entry.sha256, entry.size_bytes) == (sha256, 11)


def test_a_wrong_card_is_refused_with_its_line(git, folder, model) -> None:
    said = pushed(git, folder, {"README.md": b"---\nlicense: mit\n  tags: [a\n---\n# hi\n"})
    assert "README.md" in said and "line" in said
    git.commit(folder, {"README.md": b"---\nlicense: mit\ntags: [a]\n---\n# hi\n"})
    git.run("push", "-q", "origin", "main", cwd=folder)  # only the tip is read
    model.refresh_from_db()
    assert model.card["license"] == "mit"


def test_rights(git, folder, model, alice, bob) -> None:
    git.commit(folder, {"a": b"a"})
    before = refs(model)
    for user, role, said in ((None, "", "Authentication failed"), (bob, "write", "403"), (alice, "read", "403")):
        text = git.run("push", git.url(model, user, role), "main", cwd=folder, fails=True)
        assert said in text or "could not read" in text, text
    secret = factories.make_repository(alice, "secret", private=True)
    assert "not found" in git.run("push", git.url(secret, bob), "main", cwd=folder, fails=True)
    assert refs(model) == before


def test_paths_which_no_commit_takes(git, folder, model) -> None:
    blob = git.run("hash-object", "-w", "--stdin", cwd=folder, data=b"x").strip()
    parent = git.head(folder)

    def tree_of(*lines: tuple[bytes, bytes]) -> str:
        raw = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(blob) for mode, name in lines)
        return git.run("hash-object", "-t", "tree", "-w", "--literally", "--stdin", cwd=folder, data=raw).strip()

    for lines, said in (
        ([(b"100644", b".git")], "touches .git"),
        ([(b"100644", b"GIT~1")], "touches .git"),
        ([(b"100644", b"..")], "part"),
        ([(b"100644", b"a\\b")], "backslash"),
        ([(b"100644", b"a\x01")], "control character"),
        ([(b"100644", b"a\xff")], "UTF-8"),
        ([(b"100644", b"a/b")], "'/'"),
        ([(b"100644", b"a"), (b"100755", b"a")], "twice"),
        ([(b"100644", b"b"), (b"100644", b"a")], "not sorted"),
        ([(b"777", b"a")], "unknown mode"),
    ):
        commit = git.run("commit-tree", tree_of(*lines), "-p", parent, "-m", "odd", cwd=folder).strip()
        text = git.run("push", "origin", f"{commit}:refs/heads/odd", cwd=folder, fails=True)
        assert said in text, (lines, text)
    assert set(refs(model)) == {"refs/heads/main"}


def test_refs_which_no_push_may_write(git, folder, model) -> None:
    git.commit(folder, {"a": b"a"})
    for ref, said in (
        ("refs/variants/int8", "written by the hub"),
        ("refs/convert/onnx", "written by the hub"),
        ("refs/notes/commits", "written by the hub"),
        ("refs/heads/main/below", "can not be made beside"),
        ("refs/heads/fit@memory=1", "Invalid reference"),
        ("refs/heads/" + "1" * 40, "Invalid reference"),
    ):
        assert said in git.run("push", "origin", f"main:{ref}", cwd=folder, fails=True), ref
    # One refused ref does not keep the other back, unless the push is atomic.
    assert "another ref" in git.run("push", "--atomic", "origin", "main", "main:refs/x/y", cwd=folder, fails=True)
    assert set(refs(model)) == {"refs/heads/main"} and branch_head(model) != git.head(folder)
    git.run("push", "origin", "main", "main:refs/x/y", cwd=folder, fails=True)
    assert branch_head(model) == git.head(folder)


def test_a_branch_moved_meanwhile(git, folder, model, alice) -> None:
    theirs = git.clone(model, alice, name="theirs")
    git.commit(theirs, {"b": b"b"})
    git.run("push", "-q", "origin", "main", cwd=theirs)
    git.commit(folder, {"a": b"a"})
    assert "fetch first" in git.run("push", "origin", "main", cwd=folder, fails=True)
    stale = git.head(folder, "origin/main")
    answer = raw_push(git, model, alice, f"{stale} {git.head(folder)} refs/heads/main", pack_of(git, folder, "HEAD"))
    assert "moved by someone else" in answer
    assert branch_head(model) == git.head(theirs)


# --- packs which no git writes -----------------------------------------------------------------------------------
def pack_of(git, folder, *revisions: str) -> bytes:
    done = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "-q"], cwd=folder, input="\n".join(revisions).encode() + b"\n",
        env=git.environment(), capture_output=True, check=True,
    )  # fmt: skip
    return done.stdout


def raw_push(git, model, alice, command: str, pack: bytes, capabilities: str = "report-status") -> str:
    line = f"{command}\0 {capabilities}".encode()
    body = b"%04x" % (len(line) + 4) + line + b"0000" + pack
    answer = factories.client_of(alice).post(
        f"/{model.path}/git-receive-pack", body, content_type="application/x-git-receive-pack-request"
    )
    assert answer.status_code == 200
    return b"".join(answer).decode()


def entry(kind: int, data: bytes, size: int | None = None, extra: bytes = b"") -> bytes:
    size = len(data) if size is None else size
    head, size = [(kind << 4) | (size & 15)], size >> 4
    while size:
        head[-1] |= 0x80
        head.append(size & 0x7F)
        size >>= 7
    return bytes(head) + extra + zlib.compress(data)


def make_pack(*entries: bytes) -> bytes:
    body = b"PACK" + (2).to_bytes(4, "big") + len(entries).to_bytes(4, "big") + b"".join(entries)
    return body + hashlib.sha1(body).digest()


def varint(size: int) -> bytes:
    out = []
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size])


def test_packs_which_lie(git, folder, model, alice, monkeypatch) -> None:
    good = pack_of(git, folder, "HEAD")
    base = hashlib.sha1(b"blob 4\0base").digest()
    bomb = varint(4) + varint(2**40) + b"\x90\x04" * 10
    copies = varint(4) + varint(8) + b"\x90\x04" * 3
    beyond = varint(4) + varint(9) + b"\x90\x09"
    for pack, said in (
        (b"", "damaged"),
        (good[:-1] + bytes([good[-1] ^ 1]), "damaged"),
        (good[: len(good) // 2], "damaged"),
        (make_pack(entry(3, b"abc", size=2)), "damaged"),
        (make_pack(entry(3, b"abc", size=4)), "damaged"),
        (make_pack(entry(5, b"", size=0)), "damaged"),
        (make_pack(entry(3, b"base"), entry(7, bomb, extra=base)), "damaged"),
        (make_pack(entry(3, b"base"), entry(7, copies, extra=base)), "damaged"),
        (make_pack(entry(3, b"base"), entry(7, beyond, extra=base)), "damaged"),
        (make_pack(entry(7, varint(4) + varint(4) + b"\x90\x04", extra=b"\1" * 20)), "neither in it nor here"),
        (make_pack(entry(6, varint(4) + varint(4) + b"\x90\x04", extra=b"\x7f")), "neither in it nor here"),
        (make_pack(entry(3, b"0" * 100, size=2**40)), "unfolds to more"),
        (make_pack(entry(2, b"0", size=2**30)), "too large"),
    ):
        text = raw_push(git, model, alice, f"{'0' * 40} {'2' * 40} refs/heads/x", pack)
        assert text.split("\n")[0][4:].startswith("unpack ") and said in text, (said, text)
    monkeypatch.setattr(unpacking, "MAX_PACK_BYTES", 100)
    assert "at most 100 bytes" in raw_push(git, model, alice, f"{'0' * 40} {'2' * 40} refs/heads/x", good)
    assert set(refs(model)) == {"refs/heads/main"}


def test_objects_which_are_not_sound(git, folder, model, alice) -> None:
    before = GitObject.objects.count()
    tree = git.head(folder, "HEAD^{tree}")
    person = "A <a@a> 1700000000 +0000"
    for body, said in (
        ("", "names no tree"),
        (f"tree {tree}\n\nhi", "has no author"),
        (f"tree {tree}\nauthor A 17\ncommitter {person}\n\nhi", "without a name"),
        (f"tree {tree}\nauthor {person}\ncommitter A <a> 999999999999 +0000\n\nhi", "without a name"),
        (f"tree {tree}\nparent x\nauthor {person}\ncommitter {person}\n\nhi", "no commit"),
        (f"tree {'3' * 40}\nauthor {person}\ncommitter {person}\n\nhi", "neither in the push nor here"),
        (f"tree {tree}\nparent {tree}\nauthor {person}\ncommitter {person}\n\nhi", "used as a"),
        (f"tree {tree}\nparent {'4' * 40}\nauthor {person}\ncommitter {person}\n\nhi", "neither in the push nor here"),
    ):
        data = body.encode()
        oid = hashlib.sha1(b"commit %d\0" % len(data) + data).hexdigest()
        text = raw_push(git, model, alice, f"{'0' * 40} {oid} refs/heads/x", make_pack(entry(1, data)))
        assert said in text, (body, text)
    blob = hashlib.sha1(b"blob 1\0x").hexdigest()
    text = raw_push(git, model, alice, f"{'0' * 40} {blob} refs/heads/x", make_pack(entry(3, b"x")))
    assert "used as a commit" in text
    text = raw_push(git, model, alice, f"{'0' * 40} {blob} refs/tags/x", make_pack(entry(3, b"x")))
    assert "names a commit" in text
    assert GitObject.objects.count() == before


def test_a_thin_pack_and_a_chain_of_deltas(git, folder, model) -> None:
    lines = [f"line {number}\n" for number in range(3000)]
    for number in range(30):
        lines[number * 50] = f"changed in {number}\n"
        git.commit(folder, {"long.txt": "".join(lines).encode()}, f"c{number}")
        if number in (3, 29):
            git.run("push", "-q", "origin", "main", cwd=folder)
    clone = git.clone(model, name="again")
    assert git.objects(clone) == git.objects(folder)
    git.run("fsck", "--strict", cwd=clone)


def test_a_shallow_clone_pushes(git, model, alice) -> None:
    factories.push(model, alice, {"a.txt": b"1"})
    folder = git.clone(model, alice, "--depth", "1", name="shallow")
    git.commit(folder, {"a.txt": b"2"})
    git.run("push", "-q", "origin", "main", cwd=folder)
    assert branch_head(model) == git.head(folder)


def test_actors_are_asked_again_by_the_act(model, bob) -> None:
    from models_registry.errors import Forbidden
    from models_registry.gitapi.receiving import _Nothing
    from models_registry.repos.pushes import Update, push

    with pytest.raises(Forbidden):
        push(Actor(bob), model, [Update("refs/heads/x", None, None)], _Nothing())
