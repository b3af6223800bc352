"""Putting the files of a commit into a job's folder."""

from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Event

from compression_service.jobs.sandbox import SandboxStopped
from models_registry.pages.templatetags.figures import in_bytes
from models_registry.repos.entries import Entry, list_entries, read_small
from models_registry.repos.models import Repository
from models_registry.storage.services import get_blob, write_to

Say = Callable[[float, str], None]
FETCHING = 0.05  # of a job's progress bar


def checkout(
    repository: Repository,
    commit: str,
    folder: Path,
    *,
    keep: Iterable[str] | None = None,
    stop: Event | None = None,
    say: Say | None = None,
    what: str = "the files",
) -> list[str]:
    """Write the files of a commit (all, or those of `keep`) below `folder`. Returns their paths.

    `say` is told how many bytes of `what` are there. Raises SandboxStopped once `stop` is set.
    """
    wanted = set(keep) if keep is not None else None
    entries = [
        entry
        for entry in list_entries(repository, commit, recursive=True)
        if not entry.is_folder and (wanted is None or entry.path in wanted)
    ]
    total, done = sum(entry.size_bytes for entry in entries), 0

    def count(more: int) -> None:
        nonlocal done
        done += more
        if stop is not None and stop.is_set():
            raise SandboxStopped
        if say is not None and total:
            say(FETCHING * min(1.0, done / total), f"fetching {what}: {in_bytes(done)} of {in_bytes(total)}")

    count(0)
    for entry in entries:
        write_entry(repository, entry, folder / entry.path, count)
    folder.mkdir(parents=True, exist_ok=True)
    return [entry.path for entry in entries]


def write_entry(
    repository: Repository, entry: Entry, target: Path, on_bytes: Callable[[int], None] | None = None
) -> None:
    """Write one file; `on_bytes` is told the size of each block once it is written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if entry.sha256:
        write_to(get_blob(entry.sha256), target, on_bytes)
        return
    content = read_small(repository, entry)
    target.write_bytes(content)
    if on_bytes is not None:
        on_bytes(len(content))
