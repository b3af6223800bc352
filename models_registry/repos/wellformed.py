"""Whether objects which others made are sound as `git fsck --strict` sees it: each refusal says what is wrong."""

import re

from models_registry.errors import Unprocessable
from models_registry.repos.git_objects import FOLDER_MODE
from models_registry.repos.history import LATEST_S

_MODES = {b"100644", b"100755", b"100664", b"120000", b"40000", b"160000"}
_OID = re.compile(rb"[0-9a-f]{40}")
_PERSON = re.compile(rb"[^<>\0\n]*<[^<>\0\n]*> (\d{1,12}) [+-]\d{4}")
_KINDS = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}


def check_commit(oid: str, data: bytes) -> tuple[str, list[str]]:
    """(tree, parents) of a commit. Raises Unprocessable."""
    lines = iter(data.partition(b"\n\n")[0].split(b"\n"))
    tree = next(lines, b"")
    if not (tree.startswith(b"tree ") and _OID.fullmatch(tree[5:])):
        raise _wrong("commit", oid, "names no tree")
    parents, line = [], next(lines, b"")
    while line.startswith(b"parent "):
        if not _OID.fullmatch(line[7:]):
            raise _wrong("commit", oid, "names a parent which is no commit")
        parents.append(line[7:].decode())
        line = next(lines, b"")
    for who in (b"author ", b"committer "):
        if not line.startswith(who):
            raise _wrong("commit", oid, f"has no {who.decode().strip()}")
        match = _PERSON.fullmatch(line.removeprefix(who))
        if not match or int(match[1]) > LATEST_S:
            raise _wrong("commit", oid, f"has a {who.decode().strip()} without a name, an address or a date")
        line = next(lines, b"")
    return tree[5:].decode(), parents


def check_tag(oid: str, data: bytes) -> tuple[str, int]:
    """(object, its kind) which a tag names. Raises Unprocessable."""
    match = re.match(rb"object ([0-9a-f]{40})\ntype (commit|tree|blob|tag)\ntag [^\n\0]+\n(tagger ([^\n]*)\n)?", data)
    if not match:
        raise _wrong("tag", oid, "is not well formed")
    if match[3]:
        who = _PERSON.fullmatch(match[4])
        if not who or int(who[1]) > LATEST_S:
            raise _wrong("tag", oid, "has a tagger without a name, an address or a date")
    return match[1].decode(), _KINDS[match[2]]


def check_tree(oid: str, data: bytes) -> list[tuple[bytes, int, str]]:
    """(name, mode, oid) of each line of a tree. Raises Unprocessable. What the names may be is asked of `paths.py`."""
    found: list[tuple[bytes, int, str]] = []
    position, before, names = 0, b"", set[bytes]()
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        end = data.find(b"\0", space)
        if space < 0 or end < 0 or end + 21 > len(data):
            raise _wrong("folder", oid, "is not well formed")
        mode, name, entry = data[position:space], data[space + 1 : end], data[end + 1 : end + 21].hex()
        if mode not in _MODES:
            raise _wrong("folder", oid, f"has an entry of the unknown mode {mode[:8]!r}")
        if name in names:
            raise _wrong("folder", oid, f"names {name[:80].decode('utf-8', 'replace')!r} twice")
        key = name + b"/" if int(mode, 8) == FOLDER_MODE else name
        if key <= before and before:
            raise _wrong("folder", oid, "is not sorted")
        if not entry.strip("0"):
            raise _wrong("folder", oid, "names the null object")
        names.add(name)
        before = key
        found.append((name, int(mode, 8), entry))
        position = end + 21
    return found


def _wrong(what: str, oid: str, problem: str) -> Unprocessable:
    return Unprocessable(f"The {what} {oid} {problem}: check your repository with `git fsck`.")
