"""What a commit holds, as clients and pages list it: files with sizes, folders, last commits."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models_registry.errors import EntryNotFound
from models_registry.repos import git_objects as git
from models_registry.repos.history import Graph, graph_of, read_commits
from models_registry.repos.models import GitObject, Repository
from models_registry.repos.revisions import commit_at, find_entry

_LOOKED_BACK_AT_ONCE = 50


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
    trees = _trees_below(repository, root.oid) if recursive else git.read_trees(repository, [root.oid])
    found = list(_walk(trees, root.oid, prefix, recursive))
    return list(sized(repository, found))


def list_paths(repository: Repository, commit_oid: str) -> list[Entry]:
    """All files of a commit in git's order, without sizes: only trees are read."""
    tree = commit_at(repository, commit_oid).tree
    trees = _trees_below(repository, tree)
    return [Entry(path, item.oid, False) for path, item in _walk(trees, tree, "", True) if not item.is_folder]


def paths_of(heads: dict[int, str]) -> dict[int, list[Entry]]:
    """The files of several repositories, each at a commit (`{repository id: commit oid}`), without sizes.

    One query for all commits, and one for each level of folders.
    """
    commits = GitObject.objects.filter(repository__in=heads, oid__in=set(heads.values()), kind=git.COMMIT)
    roots = {
        pk: git.parse_commit(oid, bytes(data)).tree
        for pk, oid, data in commits.values_list("repository_id", "oid", "data")
        if heads[pk] == oid
    }
    trees: dict[tuple[int, str], dict[str, git.TreeItem]] = {}
    level = set(roots.items())
    while level:
        trees |= git.read_trees_of_many(level)
        items = ((pk, item) for pk, oid in level for item in trees[pk, oid].values())
        level = {(pk, item.oid) for pk, item in items if item.is_folder} - set(trees)
    found = {}
    for pk, root in roots.items():
        own = {oid: tree for (owner, oid), tree in trees.items() if owner == pk}
        found[pk] = [Entry(path, item.oid, False) for path, item in _walk(own, root, "", True) if not item.is_folder]
    return found


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
    return list(sized(repository, found))


def entry_at(repository: Repository, commit_oid: str, path: str) -> Entry:
    """One file. Raises EntryNotFound for what is missing, and for folders."""
    item = find_entry(repository, commit_oid, path)
    if item.is_folder:
        raise EntryNotFound(f"{path or '/'} is a folder on this revision.", {"X-Repo-Commit": commit_oid})
    return next(iter(sized(repository, [(path, item)])))


def read_small(repository: Repository, entry: Entry) -> bytes:
    """What git itself holds of a file: its bytes, or its pointer."""
    return bytes(GitObject.objects.values_list("data", flat=True).get(repository=repository, oid=entry.oid))


def last_commits(
    repository: Repository, head: str, paths: Iterable[str], most: int = 2000
) -> dict[str, git.CommitInfo]:
    """For each path, the newest commit which changed it. Looks back over `most` commits, then takes the oldest seen."""
    graph = graph_of(repository)
    wanted = list(paths)
    changed: dict[str, str] = {}
    line = _first_parents(graph, head, most)
    newer, newer_oids = "", dict[str, str]()
    for start in range(0, len(line), _LOOKED_BACK_AT_ONCE):
        part = line[start : start + _LOOKED_BACK_AT_ONCE]
        found = _oids(repository, [graph[oid].tree for oid in part], wanted)
        for commit in part:
            oids = found[graph[commit].tree]
            if newer:
                changed.update({path: newer for path in wanted if newer_oids.get(path) != oids.get(path)})
                wanted = [path for path in wanted if path not in changed]
            newer, newer_oids = commit, oids
        if not wanted:
            break
    changed.update(dict.fromkeys(wanted, newer))
    commits = {commit.oid: commit for commit in read_commits(repository, sorted(set(changed.values())))}
    return {path: commits[oid] for path, oid in changed.items()}


def _first_parents(graph: Graph, head: str, most: int) -> list[str]:
    line: list[str] = []
    oid = head
    while len(line) <= most:
        node = graph.get(oid)
        if node is None:
            break
        line.append(oid)
        if not node.parents:
            break
        oid = node.parents[0]
    return line


def _oids(repository: Repository, roots: list[str], paths: list[str]) -> dict[str, dict[str, str]]:
    """Of each root tree, what the paths name there. Each level of folders is read at once, and unpacked only once."""
    found: dict[str, dict[str, str]] = {root: {} for root in roots}
    level: dict[tuple[str, str], set[str]] = {}  # (tree, its path) -> the roots in which it stands there
    for root in roots:
        level.setdefault((root, ""), set()).add(root)
    below: dict[str, set[str]] = {}
    for path in paths:
        folder, name = "", ""
        for name in path.split("/"):
            below.setdefault(folder, set()).add(name)
            folder += name + "/"
    wanted = set(paths)
    while level:
        try:
            trees = git.read_trees(repository, {tree for tree, _ in level})
        except KeyError as error:
            raise EntryNotFound("A folder of this history is missing: ask an administrator to look.") from error
        deeper: dict[tuple[str, str], set[str]] = {}
        for (tree, folder), users in level.items():
            items = trees[tree]
            for name in below.get(folder, ()):
                item = items.get(name)
                if item is None:
                    continue
                path = folder + name
                if path in wanted:
                    for root in users:
                        found[root][path] = item.oid
                if item.is_folder and f"{path}/" in below:
                    deeper.setdefault((item.oid, f"{path}/"), set()).update(users)
        level = deeper
    return found


def _trees_below(repository: Repository, root: str) -> dict[str, dict[str, git.TreeItem]]:
    trees = git.read_trees(repository, [root])
    level = [root]
    while level:
        children = {item.oid for oid in level for item in trees[oid].values() if item.is_folder} - set(trees)
        trees.update(git.read_trees(repository, children))
        level = list(children)
    return trees


def _walk(
    trees: dict[str, dict[str, git.TreeItem]], oid: str, prefix: str, recursive: bool
) -> Iterator[tuple[str, git.TreeItem]]:
    for item in trees[oid].values():
        if item.is_submodule:
            continue  # nothing of it is here to be listed or downloaded
        yield prefix + item.name, item
        if recursive and item.is_folder:
            yield from _walk(trees, item.oid, f"{prefix}{item.name}/", recursive)


def sized(repository: Repository, found: list[tuple[str, git.TreeItem]]) -> Iterator[Entry]:
    """Entries of tree items, with sizes and what pointers stand for."""
    sizes: dict[str, tuple[int, str, int]] = {}
    oids = list({item.oid for _, item in found if not item.is_folder})
    for start in range(0, len(oids), git.BATCH):
        rows = GitObject.objects.filter(repository=repository, oid__in=oids[start : start + git.BATCH])
        for oid, size, sha256 in rows.values_list("oid", "size_bytes", "sha256"):
            sizes[oid] = (size, sha256, len(git.pointer_text(sha256, size)) if sha256 else 0)
    for path, item in found:
        size, sha256, pointer = sizes.get(item.oid, (0, "", 0))
        yield Entry(path, item.oid, item.is_folder, size, sha256, pointer)
