"""What a commit holds, as clients and pages list it: files with sizes, folders, last commits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models_registry.errors import EntryNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.models import GitObject, Repository
from models_registry.repos.revisions import commit_at, find_entry


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder. `sha256` is set when git holds a pointer (of `pointer_bytes`) to a stored content."""

    path: str
    oid: str
    is_folder: bool
    size_bytes: int = 0
    sha256: str = ""
    pointer_bytes: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def list_entries(repository: Repository, commit_oid: str, folder: str = "", *, recursive: bool = False) -> list[Entry]:
    """The entries of a folder in git's order; with `recursive` all below it, folders included. Raises EntryNotFound."""
    root = find_entry(repository, commit_oid, folder)
    if not root.is_folder:
        raise EntryNotFound(f"{folder} is a file, not a folder.", {"X-Repo-Commit": commit_oid})
    prefix = folder + "/" if folder else ""
    trees = {root.oid: git.read_tree(repository, root.oid)}
    if recursive:
        level = [root.oid]
        while level:
            children = {item.oid for oid in level for item in trees[oid].values() if item.is_folder} - set(trees)
            trees.update(git.read_trees(repository, children))
            level = list(children)
    found = list(_walk(trees, root.oid, prefix, recursive))
    return list(_with_sizes(repository, found))


def entries_at(repository: Repository, commit_oid: str, paths: Iterable[str]) -> list[Entry]:
    """The entries at these paths, in their order; those which are not there are left out."""
    found = []
    for path in paths:
        try:
            item = find_entry(repository, commit_oid, path.strip("/"))
        except EntryNotFound:
            continue
        if path.strip("/"):
            found.append((path.strip("/"), item))
    return list(_with_sizes(repository, found))


def entry_at(repository: Repository, commit_oid: str, path: str) -> Entry:
    """One file. Raises EntryNotFound for what is missing, and for folders."""
    item = find_entry(repository, commit_oid, path)
    if item.is_folder:
        raise EntryNotFound(f"{path or '/'} is a folder on this revision.", {"X-Repo-Commit": commit_oid})
    return next(iter(_with_sizes(repository, [(path, item)])))


def read_small(repository: Repository, entry: Entry) -> bytes:
    """What git itself holds of a file: its bytes, or its pointer."""
    return bytes(GitObject.objects.values_list("data", flat=True).get(repository=repository, oid=entry.oid))


def last_commits(
    repository: Repository, head: str, paths: Iterable[str], most: int = 2000
) -> dict[str, git.CommitInfo]:
    """For each path, the newest commit which changed it. Looks back over `most` commits, then takes the oldest seen."""
    wanted = list(paths)
    result: dict[str, git.CommitInfo] = {}
    commit = commit_at(repository, head)
    current = _oids(repository, commit.tree, wanted)
    history = {item.oid: item for item in git.read_history(repository, head)}
    for _ in range(most):
        parent = history.get(commit.parents[0]) if commit.parents else None
        before = _oids(repository, parent.tree, wanted) if parent else {}
        changed = [path for path in wanted if before.get(path) != current.get(path)]
        result.update(dict.fromkeys(changed, commit))
        wanted = [path for path in wanted if path not in result]
        if not wanted or parent is None:
            break
        commit, current = parent, before
    result.update(dict.fromkeys(wanted, commit))
    return result


def _oids(repository: Repository, tree: str, paths: list[str]) -> dict[str, str]:
    oids: dict[str, str] = {}
    for path in paths:
        item = git.TreeItem("", git.FOLDER_MODE, tree)
        for part in path.split("/"):
            found = git.read_tree(repository, item.oid).get(part) if item.is_folder else None
            if found is None:
                break
            item = found
        else:
            oids[path] = item.oid
    return oids


def _walk(
    trees: dict[str, dict[str, git.TreeItem]], oid: str, prefix: str, recursive: bool
) -> Iterator[tuple[str, git.TreeItem]]:
    for item in trees[oid].values():
        yield prefix + item.name, item
        if recursive and item.is_folder:
            yield from _walk(trees, item.oid, f"{prefix}{item.name}/", recursive)


def _with_sizes(repository: Repository, found: list[tuple[str, git.TreeItem]]) -> Iterator[Entry]:
    sizes: dict[str, tuple[int, str, int]] = {}
    oids = list({item.oid for _, item in found if not item.is_folder})
    for start in range(0, len(oids), git.BATCH):
        rows = GitObject.objects.filter(repository=repository, oid__in=oids[start : start + git.BATCH])
        for oid, size, sha256 in rows.values_list("oid", "size_bytes", "sha256"):
            sizes[oid] = (size, sha256, len(git.pointer_text(sha256, size)) if sha256 else 0)
    for path, item in found:
        size, sha256, pointer = sizes.get(item.oid, (0, "", 0))
        yield Entry(path, item.oid, item.is_folder, size, sha256, pointer)
