"""What differs between two trees: the files, and a unified diff as git writes it, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from models_registry.repos import git_objects as git
from models_registry.repos.git_objects import TreeItem
from models_registry.repos.lines import MAX_TEXT_BYTES, hunks, is_text
from models_registry.repos.models import GitObject, Repository

MAX_FILES = 500  # shown with their lines; more are counted
MAX_DIFF_BYTES = 1024 * 1024
_NOTHING = "0" * 40
_FILES_AT_ONCE = 50  # read together: at most 50 MiB in memory


@dataclass(frozen=True)
class Change:
    """A file which differs. `old` or `new` is None where it came or went."""

    path: str
    old: TreeItem | None
    new: TreeItem | None

    @property
    def kind(self) -> str:
        return "changed" if self.old and self.new else "added" if self.new else "removed"


@dataclass(frozen=True)
class FileDiff:
    """A change with its text. `lines` is the unified diff's hunks; empty when the file is not shown by lines."""

    change: Change
    head: str
    lines: str
    is_shown: bool
    old_bytes: int = 0
    new_bytes: int = 0
    is_content: bool = False  # a stored content: what git has is a pointer

    @property
    def text(self) -> str:
        return self.head + self.lines


def changes_of(repository: Repository, old_tree: str | None, new_tree: str | None) -> list[Change]:
    """Every file which differs, in the order of paths. Reads only the folders which differ, a level by a query."""
    found: list[Change] = []
    level = [("", old_tree, new_tree)] if old_tree != new_tree else []
    while level:
        trees = git.read_trees(repository, {oid for _, *pair in level for oid in pair if oid is not None})
        below = []
        for prefix, old_oid, new_oid in level:
            old = trees[old_oid] if old_oid is not None else {}
            new = trees[new_oid] if new_oid is not None else {}
            for name in old.keys() | new.keys():
                before, after = old.get(name), new.get(name)
                if before and after and (before.oid, before.mode) == (after.oid, after.mode):
                    continue
                folders = [item.oid if item and item.is_folder else None for item in (before, after)]
                if any(folders):
                    below.append((f"{prefix}{name}/", folders[0], folders[1]))
                files = [item if item and not item.is_folder else None for item in (before, after)]
                if any(files):
                    found.append(Change(prefix + name, files[0], files[1]))
        level = below
    return sorted(found, key=lambda change: change.path)


def diff_files(repository: Repository, changes: list[Change]) -> Iterator[FileDiff]:
    """The first 500 changes as git shows them; binary, large and later ones without their lines."""
    left = MAX_DIFF_BYTES
    for start in range(0, min(len(changes), MAX_FILES), _FILES_AT_ONCE):
        part = changes[start : min(start + _FILES_AT_ONCE, MAX_FILES)]
        blobs = _blobs(repository, part)
        for change in part:
            old = blobs.get(change.old.oid, _Blob()) if change.old else _Blob(data=b"")
            new = blobs.get(change.new.oid, _Blob()) if change.new else _Blob(data=b"")
            lines = _lines(change, old.data, new.data, left)
            text = lines.decode("utf-8", "replace") if lines is not None else ""
            left -= len(lines or b"")
            is_content = old.is_content or new.is_content
            yield FileDiff(change, _head(change, lines), text, lines is not None, old.size, new.size, is_content)


def diff_text(repository: Repository, old_tree: str | None, new_tree: str | None) -> str:
    """One unified diff of everything, as `git diff` writes it (a stored content is its pointer)."""
    changes = changes_of(repository, old_tree, new_tree)
    parts = [file.text for file in diff_files(repository, changes)]
    if len(changes) > MAX_FILES:
        parts.append(f"# {len(changes) - MAX_FILES:,} more files differ: fetch the branch to see them.\n")
    return "".join(parts)


def _head(change: Change, lines: bytes | None) -> str:
    before, after = _quoted("a/" + change.path), _quoted("b/" + change.path)
    head = [f"diff --git {before} {after}"]
    old_mode, new_mode = (f"{item.mode:06o}" if item else "" for item in (change.old, change.new))
    if not change.old:
        head.append(f"new file mode {new_mode}")
    elif not change.new:
        head.append(f"deleted file mode {old_mode}")
    elif old_mode != new_mode:
        head += [f"old mode {old_mode}", f"new mode {new_mode}"]
    old_oid, new_oid = (item.oid if item else _NOTHING for item in (change.old, change.new))
    if old_oid != new_oid:
        same_mode = f" {new_mode}" if old_mode == new_mode else ""
        head.append(f"index {old_oid}..{new_oid}{same_mode}")
        names = (before if change.old else "/dev/null", after if change.new else "/dev/null")
        if lines is None:
            head.append(f"Binary files {names[0]} and {names[1]} differ")
        elif lines:
            head += [f"--- {_tabbed(names[0])}", f"+++ {_tabbed(names[1])}"]
    return "\n".join(head) + "\n"


def _tabbed(name: str) -> str:
    """A name with a space is followed by a tab, so that patch finds its end."""
    return name + "\t" if " " in name else name


def _quoted(path: str) -> str:
    """As git with core.quotePath=false: only what would break the line is quoted."""
    marks = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    if not any(c in marks or ord(c) < 32 or ord(c) == 127 for c in path):
        return path.encode("utf-8", "replace").decode()
    return '"' + "".join(marks.get(c) or (c if 32 <= ord(c) != 127 else f"\\{ord(c):03o}") for c in path) + '"'


def _lines(change: Change, old: bytes | None, new: bytes | None, left: int) -> bytes | None:
    """The hunks; None when they are not to be shown."""
    if change.old and change.new and change.old.oid == change.new.oid:
        return b""
    if left <= 0 or old is None or new is None or not (is_text(old) and is_text(new)):
        return None
    joined = b"".join(hunks(old, new))
    return joined if len(joined) <= left else None


@dataclass(frozen=True)
class _Blob:
    """`data` is what git holds (None: too large to show), `size` the bytes of the file which it stands for."""

    data: bytes | None = None
    size: int = 0
    is_content: bool = False


def _blobs(repository: Repository, changes: list[Change]) -> dict[str, _Blob]:
    """What the changed files held and hold, by oid: two queries."""
    oids = {item.oid for change in changes for item in (change.old, change.new) if item}
    rows = GitObject.objects.filter(repository=repository, oid__in=oids, kind=git.BLOB)
    found = {oid: _Blob(None, size, bool(sha)) for oid, size, sha in rows.values_list("oid", "size_bytes", "sha256")}
    small = [oid for oid, blob in found.items() if blob.is_content or blob.size <= MAX_TEXT_BYTES]
    for oid, data in rows.filter(oid__in=small).values_list("oid", "data"):
        found[oid] = replace(found[oid], data=bytes(data))
    return found
