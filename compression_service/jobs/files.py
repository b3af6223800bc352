"""Putting the files of a commit into a job's folder."""

from collections.abc import Iterable
from pathlib import Path
from threading import Event

from compression_service.jobs.sandbox import SandboxStopped
from models_registry.repos.entries import Entry, list_entries, read_small
from models_registry.repos.models import Repository
from models_registry.storage.services import get_blob, write_to


def checkout(
    repository: Repository, commit: str, folder: Path, *, keep: Iterable[str] | None = None, stop: Event | None = None
) -> list[str]:
    """Write the files of a commit (all, or those of `keep`) below `folder`. Returns their paths."""
    wanted = set(keep) if keep is not None else None
    written = []
    for entry in list_entries(repository, commit, recursive=True):
        if entry.is_folder or (wanted is not None and entry.path not in wanted):
            continue
        if stop is not None and stop.is_set():
            raise SandboxStopped
        write_entry(repository, entry, folder / entry.path)
        written.append(entry.path)
    folder.mkdir(parents=True, exist_ok=True)
    return written


def write_entry(repository: Repository, entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.sha256:
        write_to(get_blob(entry.sha256), target)
    else:
        target.write_bytes(read_small(repository, entry))
