"""`configs:` of a dataset's card: which of its files are the rows of which configuration and split. Pure.

As the datasets library reads it (its documentation, "Structure your repository", "Manual configuration"): `data_files`
is a pattern, a list of them, or a list of {split, path}; `data_dir` a folder; without a name the one which says
`default: true`, the one of that name, or the first.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

MOST = 1000  # configurations, and patterns of one
MOST_GLOBS = 50  # of one: each is tried on every file
_MARKS = "*?["
LONGEST = 500  # characters of a name or a pattern


@dataclass(frozen=True)
class Configuration:
    """`files`: (split, or "" where none is said; pattern)."""

    name: str
    files: tuple[tuple[str, str], ...]
    is_default: bool = False


def configurations(metadata: dict[str, Any]) -> list[Configuration]:
    """Those which the card names rightly, in its order."""
    listed = metadata.get("configs")
    found: dict[str, Configuration] = {}
    for one in listed[:MOST] if isinstance(listed, list) else ():
        name = one.get("config_name") if isinstance(one, dict) else None
        files = tuple(_files(one)) if _is_text(name) else ()
        if files:
            found.setdefault(str(name), Configuration(str(name), files, one.get("default") is True))
    return list(found.values())


def named(found: list[Configuration], name: str = "") -> Configuration | None:
    """The one of that name; without a name the default one. None where there is none."""
    if name:
        return next((one for one in found if one.name == name), None)
    ranked = sorted(found, key=lambda one: (not one.is_default, one.name != "default"))
    return ranked[0] if ranked else None


def files_of(configuration: Configuration, paths: Iterable[str]) -> dict[str, str]:
    """Path → split ("" where none is said) of the files which belong to it; the first pattern which matches counts."""
    plain: dict[str, int] = {}
    globs: list[tuple[int, str]] = []
    for at, (_, pattern) in enumerate(configuration.files):
        if any(mark in pattern for mark in _MARKS):
            globs.append((at, pattern))
        else:
            plain.setdefault(pattern.strip("/"), at)
    found: dict[str, str] = {}
    for path in paths:
        places = [plain[one] for one in (path, *map(str, PurePosixPath(path).parents)) if one in plain]
        places += [at for at, pattern in globs[:MOST_GLOBS] if is_of(path, pattern)]
        if places:
            found[path] = configuration.files[min(places)][0]
    return found


def is_of(path: str, pattern: str) -> bool:
    """A glob over whole paths: ** is any number of folders, * stays within one."""
    wanted = pattern.strip("/").split("/")
    # The places in `wanted` at which the folders read so far may have ended.
    places = _skipped({0}, wanted)
    for part in path.split("/"):
        ahead = {at + 1 for at in places if at < len(wanted) and wanted[at] != "**" and fnmatchcase(part, wanted[at])}
        places = _skipped(ahead | {at for at in places if at < len(wanted) and wanted[at] == "**"}, wanted)
    return len(wanted) in places


def _skipped(places: set[int], wanted: list[str]) -> set[int]:
    """Also behind each ** which may stand for no folder at all."""
    found, left = set(), list(places)
    while left:
        at = left.pop()
        if at not in found:
            found.add(at)
            left += [at + 1] if at < len(wanted) and wanted[at] == "**" else []
    return found


def _files(one: dict[str, Any]) -> Iterable[tuple[str, str]]:
    folder, files = one.get("data_dir"), one.get("data_files")
    start = f"{_clean(folder)}/" if _is_text(folder) and _clean(folder) else ""
    if files is None:
        return [("", f"{start}**")] if start else []
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    found = []
    for part in files[:MOST] if isinstance(files, list) else [files]:
        split, named_paths = (part.get("split"), part.get("path")) if isinstance(part, dict) else ("", part)
        for path in (named_paths if isinstance(named_paths, list) else [named_paths])[:MOST]:
            if _is_text(path):
                found.append((str(split) if _is_text(split) else "", start + _clean(path)))
    return found


def _clean(path: Any) -> str:
    cleaned = str(path).removeprefix("./").strip("/")
    return "" if cleaned == "." else cleaned


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST
