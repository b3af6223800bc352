"""What a commit changed: both trees are walked together, and what they share is never read."""

from dataclasses import dataclass

from models_registry.repos import git_objects as git
from models_registry.repos.entries import Entry, sized
from models_registry.repos.models import Repository
from models_registry.repos.revisions import commit_at

_Side = dict[str, git.TreeItem]


@dataclass(frozen=True)
class Changes:
    """The files of the new commit which the old one has not, or has with other bytes; and the reverse. No folders."""

    added: list[Entry]
    removed: list[Entry]


def changes_between(repository: Repository, old_oid: str | None, new_oid: str) -> Changes:
    """From one commit (None: from nothing) to another. Costs what differs, whatever the size of the trees.

    One query a level of folders which differ, and two for sizes.
    """
    old_tree = commit_at(repository, old_oid).tree if old_oid else None
    new_tree = commit_at(repository, new_oid).tree
    pairs: list[tuple[str, str | None, str | None]] = [("", old_tree, new_tree)] if old_tree != new_tree else []
    added: list[tuple[str, git.TreeItem]] = []
    removed: list[tuple[str, git.TreeItem]] = []
    while pairs:
        trees = git.read_trees(repository, {oid for _, *sides in pairs for oid in sides if oid})
        below: list[tuple[str, str | None, str | None]] = []
        for prefix, old, new in pairs:
            before, after = trees[old] if old else {}, trees[new] if new else {}
            for name in _differing(before, after):
                one, other = before.get(name), after.get(name)
                path = prefix + name
                folders = (_folder(one), _folder(other))
                if any(folders):
                    below.append((f"{path}/", *folders))
                if one is not None and not one.is_folder:
                    removed.append((path, one))
                if other is not None and not other.is_folder:
                    added.append((path, other))
        pairs = below
    return Changes(list(sized(repository, added)), list(sized(repository, removed)))


def _differing(before: _Side, after: _Side) -> list[str]:
    changed = [name for name, item in after.items() if before.get(name) != item]
    return changed + [name for name in before if name not in after]


def _folder(item: git.TreeItem | None) -> str | None:
    return item.oid if item is not None and item.is_folder else None
