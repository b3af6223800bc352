"""Reading and writing git objects in the database. Parsing and serialising are dulwich's; refs are not known here."""

import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Generic, TypeVar

from dulwich.objects import Commit, ObjectID, ShaFile, Tree

from models_registry.repos.models import GitObject, Repository

COMMIT, TREE, BLOB, TAG = 1, 2, 3, 4
FOLDER_MODE, FILE_MODE, SUBMODULE_MODE = 0o040000, 0o100644, 0o160000
BATCH = 500
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,18})\n")


@dataclass(frozen=True, slots=True)
class TreeItem:
    """One line of a tree: a file or a folder."""

    name: str
    mode: int
    oid: str

    @property
    def is_folder(self) -> bool:
        return self.mode == FOLDER_MODE

    @property
    def is_submodule(self) -> bool:
        """It names a commit of another repository, of which nothing is here."""
        return self.mode == SUBMODULE_MODE


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """What a commit says. `author` is the user's name; `time_s` is in seconds since 1970, UTC."""

    oid: str
    tree: str
    parents: tuple[str, ...]
    author: str
    time_s: int
    message: str

    @property
    def title(self) -> str:
        return self.message.partition("\n")[0]

    @property
    def description(self) -> str:
        return self.message.partition("\n")[2].strip()


def pointer_text(sha256: str, size_bytes: int) -> bytes:
    """The git-lfs pointer which stands in git for a content (git-lfs specification, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n".encode()


def parse_pointer(data: bytes) -> tuple[str, int] | None:
    """(sha256, size in bytes) when the bytes are a pointer."""
    match = _POINTER.fullmatch(data)
    return (match[1].decode(), int(match[2])) if match else None


def row_of(repository: Repository, item: ShaFile) -> GitObject:
    """The row for an object; a pointer's row carries what it points to."""
    return raw_row(repository, item.id.decode(), item.type_num, item.as_raw_string())


def raw_row(repository: Repository, oid: str, kind: int, data: bytes) -> GitObject:
    """The same for an object's bytes as they came."""
    pointed = parse_pointer(data) if kind == BLOB and len(data) < 200 else None
    sha256, size_bytes = pointed or ("", len(data))
    return GitObject(repository=repository, oid=oid, kind=kind, size_bytes=size_bytes, sha256=sha256, data=data)


def put(repository: Repository, items: Iterable[ShaFile]) -> None:
    """Insert objects; those already there stay (same oid, same bytes)."""
    rows = {row.oid: row for row in (row_of(repository, item) for item in items)}
    GitObject.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=BATCH)


def read_tree(repository: Repository, oid: str) -> dict[str, TreeItem]:
    """The items of one tree by name, in git's order. Raises KeyError when this repository has no such tree."""
    return read_trees(repository, [oid])[oid]


def read_trees(repository: Repository, oids: Iterable[str]) -> dict[str, dict[str, TreeItem]]:
    """Several trees by one query a batch."""
    found: dict[str, dict[str, TreeItem]] = {}
    missing = []
    for oid in set(oids):
        cached = _trees.get((repository.pk, oid))
        if cached is None:
            missing.append(oid)
        else:
            found[oid] = cached
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        rows = GitObject.objects.filter(repository=repository, kind=TREE, oid__in=part).values_list("oid", "data")
        for oid, data in rows:
            found[oid] = parse_tree(bytes(data))
            _trees.put((repository.pk, oid), found[oid])
    for oid in missing:
        if oid not in found:
            raise KeyError(oid)
    return found


def read_trees_of_many(wanted: Iterable[tuple[int, str]]) -> dict[tuple[int, str], dict[str, TreeItem]]:
    """Trees of several repositories, asked for as (repository id, oid). Raises KeyError when one is missing."""
    keys = set(wanted)
    found = {key: tree for key in keys if (tree := _trees.get(key)) is not None}
    missing = sorted(keys - set(found))
    for start in range(0, len(missing), BATCH):
        part = missing[start : start + BATCH]
        rows = GitObject.objects.filter(
            repository__in={pk for pk, _ in part}, kind=TREE, oid__in={oid for _, oid in part}
        )
        for pk, oid, data in rows.values_list("repository_id", "oid", "data"):
            if (pk, oid) in keys:
                found[pk, oid] = parse_tree(bytes(data))
                _trees.put((pk, oid), found[pk, oid])
    if len(found) < len(keys):
        raise KeyError(sorted(keys - set(found))[0][1])
    return found


def parse_tree(data: bytes) -> dict[str, TreeItem]:
    tree = Tree.from_string(data)
    return {
        entry.path.decode("utf-8", "surrogateescape"): TreeItem(
            entry.path.decode("utf-8", "surrogateescape"), entry.mode, entry.sha.decode()
        )
        for entry in tree.items()
    }


def make_tree(items: Iterable[TreeItem]) -> Tree:
    tree = Tree()
    for item in items:
        tree.add(item.name.encode("utf-8", "surrogateescape"), item.mode, ObjectID(item.oid.encode()))
    return tree


def read_commit(repository: Repository, oid: str) -> CommitInfo:
    """Raises KeyError when this repository has no such commit."""
    key = (repository.pk, oid)
    found = _commits.get(key)
    if found is None:
        rows = GitObject.objects.filter(repository=repository, oid=oid, kind=COMMIT).values_list("data", flat=True)
        for data in rows:
            found = parse_commit(oid, bytes(data))
            _commits.put(key, found)
    if found is None:
        raise KeyError(oid)
    return found


@lru_cache(maxsize=4096)
def parse_commit(oid: str, data: bytes) -> CommitInfo:
    commit = Commit.from_string(data)
    assert isinstance(commit, Commit)
    return CommitInfo(
        oid=oid,
        tree=commit.tree.decode(),
        parents=tuple(parent.decode() for parent in commit.parents),
        author=_text(commit.author, commit.encoding).rpartition(" <")[0],
        time_s=commit.commit_time,
        message=_text(commit.message, commit.encoding),
    )


def _text(data: bytes, encoding: bytes | None) -> str:
    """A commit's words in the encoding which it names; bytes which are wrong there are replaced, never refused."""
    try:
        return data.decode(encoding.decode() if encoding else "utf-8")
    except (UnicodeDecodeError, LookupError, ValueError):
        return data.decode("utf-8", "replace")


_Kept = TypeVar("_Kept")


class _Cache(Generic[_Kept]):
    """The newest parsed objects by (repository id, oid). They never change, and are read again and again."""

    def __init__(self, limit: int) -> None:
        self._limit, self._rows, self._lock = limit, OrderedDict[tuple[int, str], _Kept](), Lock()

    def get(self, key: tuple[int, str]) -> _Kept | None:
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
            return self._rows.get(key)

    def put(self, key: tuple[int, str], item: _Kept) -> None:
        with self._lock:
            self._rows[key] = item
            while len(self._rows) > self._limit:
                self._rows.popitem(last=False)

    def forget(self, repository_pk: int) -> None:
        with self._lock:
            for key in [key for key in self._rows if key[0] == repository_pk]:
                del self._rows[key]


_trees = _Cache[dict[str, TreeItem]](2048)
_commits = _Cache[CommitInfo](8192)


def forget(repository: Repository) -> None:
    """Forget this process's parsed objects of a repository: some were taken away."""
    _trees.forget(repository.pk)
    _commits.forget(repository.pk)
