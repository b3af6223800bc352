"""Which objects belong to a set of commits: what a clone or a fetch must be sent, and what garbage collection keeps."""

from collections.abc import Iterable, Iterator, Mapping

from dulwich.objects import Tag, parse_tree

from models_registry.repos import git_objects as git
from models_registry.repos.history import Graph
from models_registry.repos.models import GitObject, Repository

_COMMITS_AT_ONCE = 200
_TREES_AT_ONCE = 500


def objects_of(
    repository: Repository,
    graph: Graph,
    commits: Iterable[str],
    cut: frozenset[str] = frozenset(),
    known: tuple[str, ...] = (),
) -> Iterator[tuple[str, bool]]:
    """(oid, is_tree) of every tree and file which these commits bring beside what their parents hold, each once.

    Whoever takes the commits must have their parents, or get them too; `cut`: commits whose parents they do not get;
    their trees are compared with those which are `known` instead.
    Only folders which differ from the parents' are opened. Raises KeyError when a tree is missing.
    """
    seen: set[str] = set()
    wanted = list(commits)
    for start in range(0, len(wanted), _COMMITS_AT_ONCE):
        level: list[tuple[str, tuple[str, ...]]] = []
        for oid in wanted[start : start + _COMMITS_AT_ONCE]:
            node = graph[oid]
            bases = known if oid in cut else tuple(old.tree for parent in node.parents if (old := graph.get(parent)))
            if node.tree not in seen and node.tree not in bases:
                seen.add(node.tree)
                yield node.tree, True
                level.append((node.tree, bases))
        yield from trees_below(repository, level, seen)


def trees_below(
    repository: Repository, level: list[tuple[str, tuple[str, ...]]], seen: set[str]
) -> Iterator[tuple[str, bool]]:
    """The same for trees, each with the trees which stood in its place before. Reads one level of folders at a time."""
    while level:
        deeper: list[tuple[str, tuple[str, ...]]] = []
        for start in range(0, len(level), _TREES_AT_ONCE):
            part = level[start : start + _TREES_AT_ONCE]
            trees = git.read_trees(repository, {oid for oid, _ in part} | {base for _, bases in part for base in bases})
            for oid, bases in part:
                before = [trees[base] for base in bases]
                for item in trees[oid].values():
                    if item.oid in seen or item.is_submodule:
                        continue
                    there = [found for base in before if (found := base.get(item.name))]
                    if any(found.oid == item.oid for found in there):
                        continue
                    seen.add(item.oid)
                    yield item.oid, item.is_folder
                    if item.is_folder:
                        deeper.append((item.oid, tuple(found.oid for found in there if found.is_folder)))
        level = deeper


def kinds_of(repository: Repository, oids: Iterable[str]) -> Mapping[str, tuple[int, int]]:
    """Of those which are here: (kind, size of git's own bytes at most)."""
    found: dict[str, tuple[int, int]] = {}
    wanted = list(oids)
    for start in range(0, len(wanted), git.BATCH):
        rows = GitObject.objects.filter(repository=repository, oid__in=wanted[start : start + git.BATCH])
        for oid, kind, size, sha256 in rows.values_list("oid", "kind", "size_bytes", "sha256"):
            found[oid] = (kind, 200 if sha256 else size)
    return found


def reachable(repository: Repository, heads: Iterable[str]) -> set[str]:
    """The ids of all objects which these commits and tags lead to. Each tree is read and parsed once."""
    found: set[str] = set()
    level, roots = set(heads), set()
    while level:  # tags of tags are few; commits are read all at once below
        tags = {oid: Tag.from_string(data) for oid, data in _bodies(repository, level, git.TAG)}
        found.update(tags)
        roots |= level - set(tags)
        level = {tag.object[1].decode() for tag in tags.values() if isinstance(tag, Tag)}
    rows = GitObject.objects.filter(repository=repository, kind=git.COMMIT).values_list("oid", "data")
    commits = {oid: git.parse_commit(oid, bytes(data)) for oid, data in rows.iterator()}
    trees, waiting = set(), [oid for oid in roots if oid in commits]
    while waiting:
        oid = waiting.pop()
        if oid not in found and oid in commits:
            found.add(oid)
            trees.add(commits[oid].tree)
            waiting.extend(commits[oid].parents)
    found |= roots
    while trees:
        found |= trees
        below = set()
        for _oid, data in _bodies(repository, trees, git.TREE):
            for _name, mode, sha in parse_tree(data, 20):
                if mode == git.FOLDER_MODE:
                    below.add(sha.decode())
                elif mode != git.SUBMODULE_MODE:
                    found.add(sha.decode())
        trees = below - found
    return found


def _bodies(repository: Repository, oids: set[str], kind: int) -> Iterator[tuple[str, bytes]]:
    wanted = list(oids)
    for start in range(0, len(wanted), git.BATCH):
        part = GitObject.objects.filter(repository=repository, kind=kind, oid__in=wanted[start : start + git.BATCH])
        for oid, data in part.values_list("oid", "data").iterator():
            yield oid, bytes(data)
