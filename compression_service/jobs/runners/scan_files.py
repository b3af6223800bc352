"""What is inside files that may hold pickles: read as data in the sandbox, never loaded."""

from typing import TYPE_CHECKING

from compression_service.jobs.files import write_entry
from compression_service.jobs.models import Job
from models_registry.repos.entries import list_entries
from models_registry.scanning.services import needs_scan, record_scan, scans_of

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = False


def run(context: "Context") -> str:
    repository, commit = context.job.repository, context.job.payload["commit"]
    entries = [entry for entry in list_entries(repository, commit, recursive=True) if needs_scan(entry)]
    known = scans_of(entries)
    new = {entry.sha256: entry for entry in entries if entry.sha256 not in known}
    for sha256, entry in new.items():
        ending = "." + entry.name.rpartition(".")[2].lower() if "." in entry.name else ""
        write_entry(repository, entry, context.folder / "files" / f"{sha256}{ending}")
    if not new:
        return "nothing new to scan"
    names = {path.name: path.name.partition(".")[0] for path in (context.folder / "files").iterdir()}
    result = context.run_engine({"folder": "files", "names": list(names)}, module="models_registry.scanning.scan")
    with context.publishing():
        for file in result["files"]:
            record_scan(names[file["name"]], file["status"], file["detail"], file["imports"])
    return f"scanned {len(new)} file(s)"


def on_failed(job: Job) -> None:
    """The files stay marked as not yet scanned."""
