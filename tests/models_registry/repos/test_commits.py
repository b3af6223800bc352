"""The act of committing: what ends up in git, what is refused, and that nothing half-done is seen."""

import threading

import pytest
from django.db import connection
from dulwich.objects import Blob, Commit, Tree

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.errors import BadRequest, EntryNotFound, Forbidden, HeadMoved, RevisionNotFound, Unprocessable
from models_registry.repos import git_objects as git
from models_registry.repos.attributes import LfsRules
from models_registry.repos.commits import AddContent, AddFile, Copy, Delete, commit
from models_registry.repos.entries import entries_at, entry_at, last_commits, list_entries, read_small
from models_registry.repos.events import revision_published
from models_registry.repos.history import read_history
from models_registry.repos.models import GitObject, Ref
from models_registry.repos.revisions import branch_head, resolve_revision, split_revision
from models_registry.repos.services import create_branch, create_tag, delete_branch, delete_tag
from tests.factories import make_repository, push, store


def paths(repository, revision="main"):
    oid = resolve_revision(ANONYMOUS, repository, revision)
    return [entry.path for entry in list_entries(repository, oid, recursive=True) if not entry.is_folder]


def test_a_new_repository_has_one_commit_with_its_attributes(model):
    history = read_history(model, branch_head(model))
    assert [commit.title for commit in history] == ["initial commit"] and history[0].author == "alice"
    assert paths(model) == [".gitattributes"]


def test_objects_are_gits_own(model, alice):
    """Ids are those which git computes, trees are sorted as git sorts them."""
    push(model, alice, {"b/x.txt": b"1", "b.txt": b"2", "a.txt": b"3"})
    for row in GitObject.objects.filter(repository=model):
        kind = {1: Commit, 2: Tree, 3: Blob}[row.kind]
        assert kind.from_string(bytes(row.data)).id.decode() == row.oid
    assert paths(model) == [".gitattributes", "a.txt", "b.txt", "b/x.txt"]


def test_content_is_a_pointer_in_git_and_keeps_its_size(model, alice):
    push(model, alice, {"m.bin": b"weights"})
    entry = entry_at(model, branch_head(model), "m.bin")
    assert entry.size_bytes == 7 and entry.pointer_bytes == len(read_small(model, entry))
    assert git.parse_pointer(read_small(model, entry)) == (entry.sha256, 7)


def test_content_of_another_repository_can_not_be_named(model, alice, bob):
    secret = make_repository(alice, "secret", private=True)
    sha256 = store(secret, b"secret weights")
    other = make_repository(bob, "other")
    with pytest.raises(BadRequest, match="never uploaded here"):
        commit(Actor(bob), other, "main", [AddContent("x.bin", sha256)], "steal")


def test_a_pointer_typed_by_hand_opens_nothing_of_somebody_else(model, alice, bob):
    secret = make_repository(alice, "secret", private=True)
    pointer = git.pointer_text(store(secret, b"secret weights"), 14)
    other = make_repository(bob, "other")
    with pytest.raises(BadRequest, match="never uploaded here"):
        commit(Actor(bob), other, "main", [AddFile("x.txt", pointer)], "steal")
    with pytest.raises(BadRequest, match="never uploaded here"):
        commit(Actor(bob), other, "main", [AddFile("x.txt", git.pointer_text("0" * 64, 5))], "of nothing")


def test_a_pointer_to_what_was_sent_is_that_file(model, alice):
    """As git clients commit it, who send the content by LFS before."""
    pointer = git.pointer_text(store(model, b"weights"), 7)
    commit(Actor(alice), model, "main", [AddFile("m.own", pointer)], "t")
    entry = entry_at(model, branch_head(model), "m.own")
    assert entry.size_bytes == 7 and read_small(model, entry) == pointer
    attributes = read_small(model, entry_at(model, branch_head(model), ".gitattributes"))
    assert LfsRules(attributes).takes("m.own")


def test_a_wrong_size_is_refused(model, alice):
    sha256 = store(model, b"12345")
    with pytest.raises(BadRequest, match="said to have 9 bytes"):
        commit(Actor(alice), model, "main", [AddContent("x.bin", sha256, 9)], "t")


def test_a_content_file_without_rule_gets_one(model, alice):
    sha256 = store(model, b"12345")
    names = ["weights", "a b.dat", "odd[1]*.dat"]
    commit(Actor(alice), model, "main", [AddContent(name, sha256) for name in names], "t")
    rules = LfsRules(read_small(model, entry_at(model, branch_head(model), ".gitattributes")))
    assert all(rules.takes(name) for name in names) and not rules.takes("README.md")


def test_copy_delete_folder_and_replace_in_one_commit(model, alice):
    push(model, alice, {"a/x.txt": b"x", "a/y.txt": b"y", "m.bin": b"w", "f": b"file"})
    operations = [Copy("c/m2.bin", "m.bin"), Delete("a", is_folder=True), AddFile("f/inner.txt", b"folder now")]
    commit(Actor(alice), model, "main", operations, "many")
    assert paths(model) == [".gitattributes", "c/m2.bin", "f/inner.txt", "m.bin"]


def test_deleting_what_is_not_there_is_refused(model, alice):
    with pytest.raises(EntryNotFound, match="A file with this name doesn't exist"):
        commit(Actor(alice), model, "main", [Delete("nope")], "t")


def test_copying_from_another_revision(model, alice):
    old = push(model, alice, {"a.txt": b"old"})
    push(model, alice, {"a.txt": b"new"})
    commit(Actor(alice), model, "main", [Copy("b.txt", "a.txt", old)], "t")
    head = branch_head(model)
    assert read_small(model, entry_at(model, head, "b.txt")) == b"old"


def test_strangers_and_readers_may_not_commit(model, bob):
    for actor in (ANONYMOUS, Actor(bob)):
        with pytest.raises(Forbidden):
            commit(actor, model, "main", [AddFile("x", b"")], "t")


def test_a_parent_which_is_not_the_head_is_refused(model, alice):
    first = branch_head(model)
    commit(Actor(alice), model, "main", [AddFile("x", b"1")], "t", parent=first[:8])
    with pytest.raises(HeadMoved, match="refresh"):
        commit(Actor(alice), model, "main", [AddFile("x", b"2")], "t", parent=first)


@pytest.mark.parametrize("branch", ["nope", "refs/variants/int8", "refs/convert/onnx", "refs/tags/v1"])
def test_only_branches_take_commits(model, alice, branch):
    with pytest.raises(RevisionNotFound):
        commit(Actor(alice), model, branch, [AddFile("x", b"")], "t")


def test_a_refused_commit_leaves_nothing(model, alice):
    before = (GitObject.objects.count(), branch_head(model))
    with pytest.raises(Unprocessable):
        commit(Actor(alice), model, "main", [AddFile("ok", b"1"), AddFile("../x", b"2")], "t")
    assert (GitObject.objects.count(), branch_head(model)) == before


def test_a_receiver_which_fails_takes_the_commit_with_it(model, alice):
    def fail(**_):
        raise RuntimeError("receiver")

    before = branch_head(model)
    revision_published.connect(fail)
    try:
        with pytest.raises(RuntimeError):
            push(model, alice, {"x.txt": b"1"})
    finally:
        revision_published.disconnect(fail)
    assert branch_head(model) == before


def test_revisions_by_branch_tag_sha_and_slashes(model, alice):
    oid = push(model, alice, {"a/b.txt": b"1"})
    create_branch(Actor(alice), model, "dev/x", "main")
    create_tag(Actor(alice), model, "v1", "main")
    for text in ("main", "dev/x", "v1", "refs/heads/main", "refs/tags/v1", oid, oid[:7], oid.upper()):
        assert resolve_revision(ANONYMOUS, model, text) == oid
    assert split_revision(ANONYMOUS, model, "dev/x/a/b.txt") == (oid, "a/b.txt")
    assert split_revision(ANONYMOUS, model, "refs/heads/dev/x/a") == (oid, "a")
    assert split_revision(ANONYMOUS, model, oid[:9] + "/a/b.txt") == (oid, "a/b.txt")
    for text in ("nope", oid[:6], "f" * 40, "refs/pr/1", "a\0b"):
        with pytest.raises(RevisionNotFound):
            resolve_revision(ANONYMOUS, model, text)


def test_branches_and_tags_end(model, alice):
    actor = Actor(alice)
    create_branch(actor, model, "dev")
    create_tag(actor, model, "dev", "dev")
    delete_branch(actor, model, "dev")
    assert resolve_revision(actor, model, "dev")
    delete_tag(actor, model, "dev")
    with pytest.raises(Forbidden, match="Cannot delete refs/heads/main"):
        delete_branch(actor, model, "main")
    with pytest.raises(RevisionNotFound):
        delete_branch(actor, model, "dev")


def test_last_commits_of_files_and_folders(model, alice):
    one = push(model, alice, {"a/x.txt": b"1", "b.txt": b"1"}, "one")
    two = push(model, alice, {"a/y.txt": b"1"}, "two")
    found = last_commits(model, two, ["a", "b.txt", "a/x.txt", ".gitattributes"])
    assert {path: item.title for path, item in found.items()} == {
        "a": "two", "b.txt": "one", "a/x.txt": "one", ".gitattributes": "initial commit",
    }  # fmt: skip
    assert found["a/x.txt"].oid == one


def test_paths_info_keeps_order_and_leaves_out_what_is_missing(model, alice):
    oid = push(model, alice, {"a/x.txt": b"1", "b.txt": b"1"})
    assert [entry.path for entry in entries_at(model, oid, ["b.txt", "nope", "a", "a/x.txt/y"])] == ["b.txt", "a"]


def test_a_thousand_files_take_few_queries(model, alice, django_assert_max_num_queries):
    files = [AddFile(f"d{n % 10}/f{n}.txt", b"%d" % n) for n in range(1000)]
    with django_assert_max_num_queries(60):
        oid = commit(Actor(alice), model, "main", files, "many")
    with django_assert_max_num_queries(12):
        assert len(list_entries(model, oid, recursive=True)) == 1011


@pytest.mark.django_db(transaction=True)
def test_concurrent_commits_lose_nothing(alice):
    model = make_repository(alice, "busy")
    errors = []

    def work(number):
        try:
            for step in range(5):
                commit(Actor(alice), model, "main", [AddFile(f"{number}-{step}", b"x")], "t")
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(paths(model)) == 21 and len(read_history(model, branch_head(model))) == 21
    assert Ref.objects.filter(repository=model).count() == 1


def test_no_branch_below_or_above_another(alice, model) -> None:
    """git keeps refs as files: it could not clone a repository which has both."""
    create_branch(Actor(alice), model, "feature/x")
    for name in ("feature", "feature/x/y", "main/x"):
        with pytest.raises(BadRequest, match="beside refs/heads/"):
            create_branch(Actor(alice), model, name)
