"""Random histories go in and come out as they were; packs hold what they were given; history is walked as git does."""

import io
import random

import pytest
from dulwich.objects import Blob, ShaFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models_registry.gitapi import packs
from models_registry.gitapi.unpacking import unfold, unpacked
from models_registry.repos import git_objects as git_rows
from models_registry.repos.entries import last_commits
from models_registry.repos.history import graph_of, read_history
from models_registry.repos.models import GitObject, Ref
from models_registry.repos.revisions import branch_head
from tests import factories


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_comes_back_as_it_went_in(seed: int, git, alice, make_model) -> None:
    repository = make_model()
    folder, rng = git.clone(repository, alice), random.Random(seed)
    branches = ["main"]
    for number in range(25):
        branch = rng.choice(branches)
        git.run("checkout", "-q", branch, cwd=folder)
        if rng.random() < 0.2:
            branch = f"b{number}"
            git.run("checkout", "-q", "-b", branch, cwd=folder)
            branches.append(branch)
        if rng.random() < 0.2 and len(branches) > 1:
            git.run("merge", "-q", "-X", "ours", "-m", "merge", rng.choice(branches), cwd=folder)
        names = [f"{rng.choice('abc')}/{rng.choice('de')}{rng.randint(0, 5)}.txt" for _ in range(rng.randint(1, 4))]
        files = {name: rng.randbytes(rng.choice([0, 10, 3000])) for name in names}
        git.commit(folder, files, f"commit {number}")
        if rng.random() < 0.1:
            git.run("tag", "-a", "-m", "words", f"t{number}", cwd=folder)
        if rng.random() < 0.3:
            git.run("push", "-q", "origin", "--all", cwd=folder)
    git.run("push", "-q", "origin", "--all", cwd=folder)
    git.run("push", "-q", "origin", "--tags", cwd=folder)
    clone = git.clone(repository, name="again")
    assert git.objects(clone) == git.objects(folder)
    assert git.objects(folder) == set(GitObject.objects.filter(repository=repository).values_list("oid", flat=True))
    git.run("fsck", "--strict", cwd=clone)
    for ref, oid in Ref.objects.filter(repository=repository, name__startswith="refs/heads/").values_list(
        "name", "oid"
    ):
        assert git.head(folder, ref) == oid
        assert set(read_history(repository, oid).oids) == set(git.run("rev-list", oid, cwd=folder).split())


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(st.binary(max_size=3000), max_size=12, unique=True))
def test_a_pack_holds_what_it_was_given(contents: list[bytes], model) -> None:
    blobs: list[ShaFile] = [Blob.from_string(data) for data in contents]
    git_rows.put(model, blobs)
    objects = [(blob.id.decode(), len(data)) for blob, data in zip(blobs, contents, strict=True)]
    data = b"".join(packs.pack(model, objects))
    with unpacked(io.BytesIO(data), lambda oid: None) as result:
        assert {oid: result.read(oid) for oid in result.places} == {
            oid: content for (oid, _), content in zip(objects, contents, strict=True)
        }


@given(base=st.binary(max_size=200), data=st.data())
def test_deltas_are_pieced_together(base: bytes, data) -> None:
    expected, delta = b"", b""
    for _ in range(data.draw(st.integers(0, 6))):
        if base and data.draw(st.booleans()):
            offset = data.draw(st.integers(0, len(base) - 1))
            length = data.draw(st.integers(1, min(255, len(base) - offset)))
            delta += bytes([0x91, offset, length])
            expected += base[offset : offset + length]
        else:
            new = data.draw(st.binary(min_size=1, max_size=127))
            delta += bytes([len(new)]) + new
            expected += new
    head = b"".join(bytes([n & 0x7F | 0x80, n >> 7]) for n in (len(base), len(expected)))
    size, parts = unfold(base, head + delta, 10_000)
    assert (size, b"".join(parts)) == (len(expected), expected)


# --- history -----------------------------------------------------------------------------------------------------
def test_a_page_of_a_long_history_reads_a_page(alice, model, django_assert_num_queries) -> None:
    for number in range(30):
        factories.push(model, alice, {"a.txt": str(number).encode(), f"{number}.txt": b"x"}, f"c{number}")
    head = branch_head(model)
    graph_of(model).get(head)
    read_history(model, head)
    with django_assert_num_queries(1):
        history = read_history(model, head)
        page = history[10:13]
    assert len(history) == 31 and [commit.title for commit in page] == ["c19", "c18", "c17"]
    assert history[0].title == "c29" and [c.title for c in history][-1] == "initial commit"
    found = last_commits(model, head, ["a.txt", "3.txt", ".gitattributes"])
    assert {path: commit.title for path, commit in found.items()} == {
        "a.txt": "c29", "3.txt": "c3", ".gitattributes": "initial commit",
    }  # fmt: skip


def test_a_commit_of_another_process_is_found(alice, model) -> None:
    head = branch_head(model)
    assert len(read_history(model, head)) == 1
    new = factories.push(model, alice, {"a": b"a"})
    graph = graph_of(model)
    graph.nodes.pop(new, None)
    graph.seen_id = 10**9  # as if ids had come out of order
    assert [commit.oid for commit in read_history(model, new)] == [new, head]
    with pytest.raises(KeyError):
        read_history(model, "0" * 40)
