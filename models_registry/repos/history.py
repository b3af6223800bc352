"""Who came before whom: the commits of a repository as a graph in memory, and a history which is read page by page.

A commit never changes, so what was read once stays true. A process reads each commit's row once, and only those which
are newer than what it has seen; then a walk asks the database nothing (decision 0010).
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import overload

from django.db.models import QuerySet

from models_registry.repos.git_objects import BATCH, COMMIT, CommitInfo, parse_commit
from models_registry.repos.models import GitObject, Repository

MOST_COMMITS_KEPT = 300_000  # of all repositories of a process, about 150 MB
MOST_ORDERS_KEPT = 64
LATEST_S = 253_402_300_799  # the end of the year 9999, beyond which no date is written


@dataclass(frozen=True, slots=True)
class Node:
    """What a walk needs of a commit."""

    tree: str
    parents: tuple[str, ...]
    time_s: int


@dataclass
class Graph:
    """The commits of one repository by oid. Grows when asked for one which it has not seen."""

    repository: Repository
    nodes: dict[str, Node] = field(default_factory=dict)
    seen_id: int = 0
    lock: Lock = field(default_factory=Lock)

    def get(self, oid: str) -> Node | None:
        """The commit, or None when this repository has no such commit (or a shallow history ends there)."""
        node = self.nodes.get(oid)
        if node is None:
            self._read_on(oid)
            node = self.nodes.get(oid)
        return node

    def __getitem__(self, oid: str) -> Node:
        """Raises KeyError when this repository has no such commit."""
        node = self.get(oid)
        if node is None:
            raise KeyError(oid)
        return node

    def _read_on(self, oid: str) -> None:
        """What came since, and `oid` by itself if it is not there: a row may be seen later than one of a greater id."""
        with self.lock:
            rows = GitObject.objects.filter(repository=self.repository, kind=COMMIT)
            self._take(rows.filter(pk__gt=self.seen_id).order_by("pk"))
            if oid not in self.nodes:
                self._take(rows.filter(oid=oid))

    def _take(self, rows: QuerySet[GitObject]) -> None:
        for pk, oid, data in rows.values_list("pk", "oid", "data").iterator(chunk_size=2000):
            if oid not in self.nodes:
                self.nodes[oid] = parse_node(bytes(data))
            self.seen_id = max(self.seen_id, pk)

    def reachable(self, heads: Iterable[str], without: frozenset[str] | set[str] = frozenset()) -> set[str]:
        """`heads` and all their ancestors, not looking behind what is in `without`."""
        found: set[str] = set()
        stack = list(heads)
        while stack:
            oid = stack.pop()
            if oid in found or oid in without:
                continue
            node = self.get(oid)
            if node is None:
                continue
            found.add(oid)
            stack.extend(node.parents)
        return found


_graphs: OrderedDict[int, Graph] = OrderedDict()
_orders: OrderedDict[tuple[int, str], list[str]] = OrderedDict()
_lock = Lock()


def graph_of(repository: Repository) -> Graph:
    with _lock:
        graph = _graphs.get(repository.pk)
        if graph is None:
            graph = _graphs[repository.pk] = Graph(repository)
        _graphs.move_to_end(repository.pk)
        while len(_graphs) > 1 and sum(len(kept.nodes) for kept in _graphs.values()) > MOST_COMMITS_KEPT:
            _graphs.popitem(last=False)
        return graph


def forget_graph(repository: Repository) -> None:
    """Forget one repository's graph: commits of it were taken away."""
    with _lock:
        _graphs.pop(repository.pk, None)
        for key in [key for key in _orders if key[0] == repository.pk]:
            del _orders[key]


def forget() -> None:
    """Forget all graphs: when rows were taken back, ids come again which a graph believes to have read (tests)."""
    with _lock:
        _graphs.clear()
        _orders.clear()


def parse_node(data: bytes) -> Node:
    """A commit's header, without the cost of a whole parse."""
    tree, parents, time_s = "", [], 0
    for line in data.partition(b"\n\n")[0].split(b"\n"):
        if line.startswith(b"tree ") and not tree:
            tree = line[5:45].decode("ascii", "replace")
        elif line.startswith(b"parent "):
            parents.append(line[7:47].decode("ascii", "replace"))
        elif line.startswith(b"committer "):
            words = line.rsplit(b" ", 2)
            time_s = min(int(words[1]), LATEST_S) if len(words) == 3 and words[1].isdigit() else 0
            break
    return Node(tree, tuple(parents), time_s)


def order(repository: Repository, head: str) -> list[str]:
    """Every commit reachable from `head`, newest first; of the same second, the one found last comes first."""
    key = (repository.pk, head)
    with _lock:
        if key in _orders:
            _orders.move_to_end(key)
            return _orders[key]
    graph = graph_of(repository)
    found, seen, count = [], {head}, 0
    queue = [(-graph[head].time_s, 0, head)]
    while queue:
        _, _, oid = heapq.heappop(queue)
        found.append(oid)
        for parent in graph[oid].parents:
            node = graph.get(parent) if parent not in seen else None
            if node is not None:
                seen.add(parent)
                count -= 1
                heapq.heappush(queue, (-node.time_s, count, parent))
    with _lock:
        _orders[key] = found
        while len(_orders) > MOST_ORDERS_KEPT:
            _orders.popitem(last=False)
    return found


class History(Sequence[CommitInfo]):
    """The commits reachable from a head, newest first. Its length costs nothing; a slice reads what is in it."""

    def __init__(self, repository: Repository, head: str) -> None:
        """Raises KeyError when this repository has no commit `head`."""
        self.repository = repository
        self.oids = order(repository, head)

    def __len__(self) -> int:
        return len(self.oids)

    @overload
    def __getitem__(self, index: int) -> CommitInfo: ...
    @overload
    def __getitem__(self, index: slice) -> list[CommitInfo]: ...
    def __getitem__(self, index: int | slice) -> CommitInfo | list[CommitInfo]:
        if isinstance(index, slice):
            return list(read_commits(self.repository, self.oids[index]))
        return next(read_commits(self.repository, [self.oids[index]]))

    def __iter__(self) -> Iterator[CommitInfo]:
        return read_commits(self.repository, self.oids)


def read_commits(repository: Repository, oids: list[str]) -> Iterator[CommitInfo]:
    """What these commits say, in their order; those which are not here are left out."""
    for start in range(0, len(oids), BATCH):
        part = oids[start : start + BATCH]
        rows = GitObject.objects.filter(repository=repository, kind=COMMIT, oid__in=part)
        found = {oid: parse_commit(oid, bytes(data)) for oid, data in rows.values_list("oid", "data")}
        yield from (found[oid] for oid in part if oid in found)


def read_history(repository: Repository, head: str) -> History:
    """Every commit reachable from `head`, newest first. Raises KeyError when this repository has no such commit."""
    return History(repository, head)
