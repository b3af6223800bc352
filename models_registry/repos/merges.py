"""Three-way merges of trees, and the commits from which two histories part. Pure but for the reader of objects."""

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dulwich.objects import Blob, ShaFile

from models_registry.repos import git_objects as git
from models_registry.repos.git_objects import TreeItem
from models_registry.repos.lines import MAX_TEXT_BYTES, is_text, merge_lines
from models_registry.repos.models import GitObject, Repository

MAX_CONFLICTS = 1000  # named; a merge with more has them all the same
MAX_TEXTS = 300  # merged by lines at once; more files which both sides changed are conflicts
LINK_MODES = (0o120000, 0o160000)  # symbolic links and submodules are never merged by lines
# Of a commit, when histories are compared: behind one head, the other, both, or behind a commit which is behind both.
_ONE, _OTHER, _BOTH, _BEHIND = 1, 2, 3, 7


class Objects(Protocol):
    """What a merge reads."""

    def trees(self, oids: Iterable[str]) -> Mapping[str, Mapping[str, TreeItem]]: ...

    def text(self, oid: str) -> bytes | None:
        """A blob's bytes; None when it is too large to merge by lines, or stands for a content outside git."""


@dataclass(frozen=True)
class Merged:
    """A merge's outcome: the tree with both sides' changes (None: all files are gone), or the paths in conflict."""

    tree: str | None
    conflicts: list[str]
    objects: list[ShaFile] = field(default_factory=list)


def merge_trees(
    objects: Objects, base: str | None, ours: str, theirs: str, keep: Literal["ours", "theirs"] | None = None
) -> Merged:
    """Merge two trees which came from `base` (None: from nothing). A renamed file is one gone and one come.

    With `keep`, a file in conflict is taken whole from that side; a file against a folder stays a conflict.
    """
    work = _Work(objects, keep)
    tree = work.folder("", base, ours, theirs)
    if work.conflicts:
        return Merged(None, work.conflicts[:MAX_CONFLICTS])
    return Merged(tree, [], work.made)


class _Work:
    """One merge in progress."""

    def __init__(self, objects: Objects, keep: Literal["ours", "theirs"] | None = None) -> None:
        self.objects, self.keep = objects, keep
        self.conflicts: list[str] = []
        self.made: list[ShaFile] = []
        self.texts = 0

    def folder(self, prefix: str, base: str | None, ours: str | None, theirs: str | None) -> str | None:
        """The merged folder's oid; None when nothing is left in it (or a conflict was noted)."""
        if ours == theirs or theirs == base:
            return ours
        if ours == base:
            return theirs
        sides = [oid for oid in (base, ours, theirs) if oid is not None]
        trees = self.objects.trees(sides)
        old, mine, yours = (trees[oid] if oid is not None else {} for oid in (base, ours, theirs))
        differing = [
            name
            for name in old.keys() | mine.keys() | yours.keys()
            if not (_same(mine.get(name), yours.get(name)) or _same(yours.get(name), old.get(name)))
        ]
        # One query reads all the folders below in which both sides differ.
        items = [side[name] for side in (old, mine, yours) for name in differing if name in side]
        self.objects.trees({item.oid for item in items if item.is_folder})
        result = dict(mine)
        for name in sorted(differing):
            merged = self.entry(prefix + name, old.get(name), mine.get(name), yours.get(name))
            if merged is None:
                result.pop(name, None)
            else:
                result[name] = TreeItem(name, merged.mode, merged.oid)
        return self._write(result)

    def entry(self, path: str, old: TreeItem | None, mine: TreeItem | None, yours: TreeItem | None) -> TreeItem | None:
        """One name: as a file and as a folder. It can end as one of them only."""
        noted = len(self.conflicts)
        file = self._file(path, *(_as_file(item) for item in (old, mine, yours)))
        inside = self.folder(path + "/", *(_as_folder(item) for item in (old, mine, yours)))
        if file is not None and inside is not None and len(self.conflicts) == noted:
            self.conflicts.append(path)
        return TreeItem("", git.FOLDER_MODE, inside) if inside is not None else file

    def _file(self, path: str, old: TreeItem | None, mine: TreeItem | None, yours: TreeItem | None) -> TreeItem | None:
        if _same(mine, yours) or _same(yours, old):
            return mine
        if _same(mine, old):
            return yours
        merged = self._by_lines(old, mine, yours) if mine is not None and yours is not None else None
        if merged is None and self.keep:
            return mine if self.keep == "ours" else yours
        if merged is None:
            self.conflicts.append(path)
        return merged

    def _by_lines(self, old: TreeItem | None, mine: TreeItem, yours: TreeItem) -> TreeItem | None:
        mode = _merged(old.mode if old else None, mine.mode, yours.mode)
        if mode is None or mode in LINK_MODES or (old and old.mode in LINK_MODES):
            return None
        old_oid = old.oid if old else None
        if mine.oid == yours.oid or yours.oid == old_oid:
            return TreeItem("", mode, mine.oid)
        if mine.oid == old_oid:
            return TreeItem("", mode, yours.oid)
        self.texts += 1
        if self.texts > MAX_TEXTS:
            return None
        texts = [self.objects.text(oid) if oid is not None else b"" for oid in (old_oid, mine.oid, yours.oid)]
        if texts[0] is None or texts[1] is None or texts[2] is None:
            return None
        if old is None and not (is_text(texts[1]) and is_text(texts[2])):
            return None  # both added it: an empty file is not where a binary one came from
        data = merge_lines(texts[0], texts[1], texts[2])
        if data is None:
            return None
        blob = Blob.from_string(data)
        self.made.append(blob)
        return TreeItem("", mode, blob.id.decode())

    def _write(self, items: Mapping[str, TreeItem]) -> str | None:
        if not items:
            return None
        tree = git.make_tree(items.values())
        self.made.append(tree)
        return tree.id.decode()


def _same(one: TreeItem | None, other: TreeItem | None) -> bool:
    return (one.mode, one.oid) == (other.mode, other.oid) if one and other else one is other


def _as_file(item: TreeItem | None) -> TreeItem | None:
    return item if item is not None and not item.is_folder else None


def _as_folder(item: TreeItem | None) -> str | None:
    return item.oid if item is not None and item.is_folder else None


def _merged(old: int | None, mine: int, yours: int) -> int | None:
    if mine == yours or yours == old:
        return mine
    return yours if mine == old else None


# --- over the database ------------------------------------------------------------------------------------------------
class RepositoryObjects:
    """The objects of one repository."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def trees(self, oids: Iterable[str]) -> Mapping[str, Mapping[str, TreeItem]]:
        return git.read_trees(self._repository, oids)

    def text(self, oid: str) -> bytes | None:
        rows = GitObject.objects.filter(repository=self._repository, oid=oid, kind=git.BLOB)
        row = rows.filter(sha256="", size_bytes__lte=MAX_TEXT_BYTES).values_list("data", flat=True).first()
        return None if row is None else bytes(row)


class History:
    """The commits of a repository as a graph, read by one query at the first question."""

    def __init__(self, repository: Repository) -> None:
        rows = GitObject.objects.filter(repository=repository, kind=git.COMMIT).values_list("oid", "data")
        self._commits = {oid: git.parse_commit(oid, bytes(data)) for oid, data in rows.iterator()}

    def merge_base(self, one: str, other: str) -> str | None:
        """The newest commit to which both go back; None when their histories share nothing."""
        if one == other:
            return one
        marks = {one: _ONE, other: _OTHER}
        queue = [(-self._time(oid), oid) for oid in (one, other)]
        heapq.heapify(queue)
        common: list[str] = []
        # To the end, however far: commits of one second have no order by time which could end it sooner.
        while queue:
            _, oid = heapq.heappop(queue)
            mark = marks[oid]
            if mark == _BOTH:
                common.append(oid)
                mark = _BEHIND
            for parent in self._parents(oid):
                if marks.get(parent, 0) | mark != marks.get(parent, 0):
                    marks[parent] = marks.get(parent, 0) | mark
                    heapq.heappush(queue, (-self._time(parent), parent))
        best = [oid for oid in common if marks[oid] == _BOTH]
        return max(best, key=lambda oid: (self._time(oid), oid)) if best else None

    def ahead(self, head: str, base: str) -> list[git.CommitInfo]:
        """The commits of `head` which `base` does not have, oldest first."""
        behind = set(self._walk(base))
        return [self._commits[oid] for oid in self._walk(head, behind)][::-1]

    def _walk(self, head: str, without: set[str] | None = None) -> Iterator[str]:
        without = without or set()
        seen, queue = {head}, [(-self._time(head), head)]
        while queue:
            _, oid = heapq.heappop(queue)
            if oid in without or oid not in self._commits:
                continue
            yield oid
            for parent in self._parents(oid):
                if parent not in seen:
                    seen.add(parent)
                    heapq.heappush(queue, (-self._time(parent), parent))

    def _parents(self, oid: str) -> tuple[str, ...]:
        commit = self._commits.get(oid)
        return tuple(parent for parent in commit.parents if parent in self._commits) if commit else ()

    def _time(self, oid: str) -> int:
        commit = self._commits.get(oid)
        return commit.time_s if commit else 0
