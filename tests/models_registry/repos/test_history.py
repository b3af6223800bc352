"""The graph of commits which a process keeps: what it may miss, and what it must not."""

from models_registry.repos.history import Graph, read_history
from models_registry.repos.revisions import branch_head
from tests.factories import push


def test_a_commit_is_found_whose_row_was_seen_later_than_a_newer_one(model, alice):
    """PostgreSQL gives ids out before they are committed: a smaller id may come to light after a greater one."""
    first = branch_head(model)
    second = push(model, alice, {"a.txt": b"a"})
    graph = Graph(model)
    assert graph[second].parents == (first,)
    del graph.nodes[first]
    third = push(model, alice, {"b.txt": b"b"})
    assert graph[first].parents == () and graph[third].parents == (second,)
    assert graph.get("0" * 40) is None


def test_the_history_is_newest_first_and_sliced(model, alice):
    oids = [branch_head(model), push(model, alice, {"a.txt": b"a"}), push(model, alice, {"b.txt": b"b"})]
    history = read_history(model, oids[-1])
    assert len(history) == 3 and [commit.oid for commit in history[:2]] == oids[:0:-1]
    assert history[2].oid == oids[0]
