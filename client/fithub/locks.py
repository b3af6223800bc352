"""The lock file: for each model its commit, the sha256 of every file, and the figures that were promised."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fithub.errors import LockDiffers

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VERSION = 1
_COMMIT, _SHA256, _NAME = (re.compile(text) for text in ("[0-9a-f]{40}", "[0-9a-f]{64}", r"[\w.-]+/[\w.-]+"))


def read(path: Path) -> dict[str, Any]:
    """{"version", "models": {repo: entry}}. Raises LockDiffers when it is missing or not one of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LockDiffers(f"There is no lock file {path}: make one by `fithub pull … --lock {path}`.") from error
    except (ValueError, RecursionError, OSError) as error:
        raise LockDiffers(f"{path} cannot be read as a lock file: make it anew by `fithub pull … --lock`.") from error
    models = data.get("models") if isinstance(data, dict) else None
    if isinstance(data, dict) and isinstance(data.get("version"), int) and data["version"] > VERSION:
        raise LockDiffers(f"{path} has version {data['version']}; this fithub reads {VERSION}: upgrade fithub.")
    is_known = isinstance(data, dict) and data.get("version") == VERSION and isinstance(models, dict)
    if not is_known or not all(_is_name(name) and _is_entry(entry) for name, entry in models.items()):
        raise LockDiffers(
            f"{path} is damaged: an entry lacks its commit or files. Make it anew by `fithub pull … --lock`."
        )
    return dict(data)


def write(path: Path, repo_id: str, entry: dict[str, Any]) -> None:
    """Put a model's entry into the lock file, whole or not at all; other models' entries stay.

    Raises LockDiffers where the file that is there is none of ours, or cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _alone(path.parent):
            data = read(path) if path.exists() else {"version": VERSION, "models": {}}
            data["models"][repo_id] = entry
            partial.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(partial, path)  # noqa: PTH105 (atomic on Windows too)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise LockDiffers(f"The lock file {path} cannot be written: {error.strerror}.") from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One pull at a time changes lock files of a folder, where the system has flock: none loses another's entry."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def check(folder: Path, files: list[dict[str, Any]], what: str) -> None:
    """LockDiffers unless every file is there with its sha256."""
    for file in files:
        path = folder / file["path"]
        if not path.is_file():
            raise LockDiffers(f"{file['path']} is missing, which {what} names.")
        found = sha256(path)
        if found != file["sha256"]:
            raise LockDiffers(f"{file['path']} has sha256 {found[:12]}…, but {what} says {file['sha256'][:12]}….")


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_entry(entry: Any) -> bool:
    files = entry.get("files") if isinstance(entry, dict) else None
    return (
        isinstance(files, list)
        and _matches(_COMMIT, entry.get("commit"))
        and bool(files)
        and all(is_file(file) for file in files)
        and all(isinstance(entry.get(key, ""), str) for key in ("variant", "budget", "answer"))
        and isinstance(entry.get("figures") or {}, dict)
    )


def is_file(file: Any) -> bool:
    """A file's entry, of a lock or of a variant's own list: it names nothing outside the folder, and a whole sha256."""
    path = file.get("path") if isinstance(file, dict) else None
    if not isinstance(path, str) or not _matches(_SHA256, file.get("sha256")):
        return False
    return not Path(path).is_absolute() and ".." not in Path(path).parts and "\0" not in path


def _is_name(name: str) -> bool:
    return _matches(_NAME, name) and ".." not in name


def _matches(pattern: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
