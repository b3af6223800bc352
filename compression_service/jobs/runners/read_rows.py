"""The first rows of a dataset's files, for its page."""

from typing import TYPE_CHECKING

from compression_service.jobs.files import write_entry
from compression_service.jobs.models import Job
from compression_service.variants.datasets import DATA_ENDINGS
from models_registry.datasets.services import known_oids, record_rows
from models_registry.repos.entries import list_entries

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = False
MAX_FILES = 50
MAX_FILE_BYTES = 4 * 1024**3
ROWS = 100


def run(context: "Context") -> str:
    repository, commit = context.job.repository, context.job.payload["commit"]
    entries = [
        entry
        for entry in list_entries(repository, commit, recursive=True)
        if not entry.is_folder and entry.path.lower().endswith(DATA_ENDINGS) and entry.size_bytes <= MAX_FILE_BYTES
    ][:MAX_FILES]
    known = known_oids(entry.oid for entry in entries)
    oids = {entry.path: entry.oid for entry in entries if entry.oid not in known}
    for entry in entries:
        if entry.path in oids:
            write_entry(repository, entry, context.folder / "files" / entry.path)
    if not oids:
        return "nothing new to read"
    task = {"act": "rows", "folder": "files", "paths": list(oids), "limit": ROWS}
    result = context.run_engine(task, module="models_registry.datasets.reading")
    with context.publishing():
        for file in result["files"]:
            record_rows(oids[file["path"]], file)
    return f"first rows of {len(oids)} file(s)"


def on_failed(job: Job) -> None:
    """The page says that the rows could not be read; nothing else waits for them."""
