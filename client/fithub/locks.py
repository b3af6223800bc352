"""The lock file: for each model its commit, the sha256 of every file, and the figures that were promised."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from fithub.errors import LockDiffers

VERSION = 1


def read(path: Path) -> dict[str, Any]:
    """{"version", "models": {repo: entry}}. Raises LockDiffers when it is missing or not one of ours."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LockDiffers(f"There is no lock file {path}: make one by `fithub pull … --lock {path}`.") from error
    except (ValueError, OSError) as error:
        raise LockDiffers(f"{path} cannot be read as a lock file: make it anew by `fithub pull … --lock`.") from error
    models = data.get("models") if isinstance(data, dict) else None
    if not isinstance(models, dict) or not all(_is_entry(entry) for entry in models.values()):
        raise LockDiffers(
            f"{path} is damaged: an entry lacks its commit or files. Make it anew by `fithub pull … --lock`."
        )
    if data.get("version") != VERSION:
        raise LockDiffers(f"{path} has version {data.get('version')!r}; this fithub reads {VERSION}: upgrade fithub.")
    return dict(data)


def write(path: Path, repo_id: str, entry: dict[str, Any]) -> None:
    """Put a model's entry into the lock file, whole or not at all; other models' entries stay."""
    data = read(path) if path.exists() else {"version": VERSION, "models": {}}
    data["models"][repo_id] = entry
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, path)  # noqa: PTH105 (atomic on Windows too)


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
        and isinstance(entry.get("commit"), str)
        and len(entry["commit"]) == 40
        and bool(files)
        and all(
            isinstance(file, dict) and {"path", "sha256"} <= file.keys() and _is_inside(file["path"]) for file in files
        )
    )


def _is_inside(path: Any) -> bool:
    """A lock file may come from somebody else: it names nothing outside the folder."""
    return isinstance(path, str) and not Path(path).is_absolute() and ".." not in Path(path).parts
