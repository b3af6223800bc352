"""Which files need a scan, and what scans found."""

from collections.abc import Iterable
from typing import Any

from models_registry.repos.entries import Entry
from models_registry.repos.models import Repository
from models_registry.scanning.headers import HeaderError, gguf_facts, safetensors_parameters
from models_registry.scanning.models import FileHeader, FileScan
from models_registry.storage.models import Blob
from models_registry.storage.services import read_range

# Files which may hold a pickle. Nothing here ever loads one: they are read as data, in the sandbox.
PICKLE_ENDINGS = (".pkl", ".pickle", ".pt", ".pth", ".th", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".dat", ".data")


def needs_scan(entry: Entry) -> bool:
    return not entry.is_folder and bool(entry.sha256) and entry.path.lower().endswith(PICKLE_ENDINGS)


def scans_of(entries: Iterable[Entry]) -> dict[str, FileScan]:
    """The scans there are, by sha256."""
    return FileScan.objects.in_bulk({entry.sha256 for entry in entries if entry.sha256})


def record_scan(sha256: str, status: str, detail: str, imports: list[str]) -> None:
    FileScan.objects.update_or_create(
        sha256=sha256, defaults={"status": FileScan.Status(status), "detail": detail, "imports": imports}
    )


def headers_of(entries: Iterable[Entry]) -> dict[str, FileHeader]:
    """What the headers of safetensors and GGUF files say, by sha256; read now where nobody read them before.

    Only headers are read (at most 25 MB), and only parsed. A malformed one has a `problem` and no facts.
    """
    wanted = {entry.sha256: entry for entry in entries if entry.sha256}
    known = FileHeader.objects.in_bulk(wanted)
    blobs = Blob.objects.in_bulk([sha256 for sha256 in wanted if sha256 not in known])
    made = []
    for sha256, blob in blobs.items():
        row = FileHeader(sha256=sha256)
        try:
            row.facts = _read_header(wanted[sha256].path, blob)
        except HeaderError as error:
            row.problem = str(error)
        made.append(row)
    FileHeader.objects.bulk_create(made, ignore_conflicts=True)
    return known | {row.sha256: row for row in made}


def _read_header(path: str, blob: Blob) -> dict[str, Any]:
    def read(start: int, length: int) -> bytes:
        length = min(length, blob.size_bytes - start)
        return b"".join(read_range(blob, start, length)) if length > 0 else b""

    return gguf_facts(read) if path.endswith(".gguf") else dict(safetensors_parameters(read))


def security_of(entries: Iterable[Entry]) -> dict[str, Any]:
    """The protocol's `securityRepoStatus`: whether all scans are done, and the files with an issue."""
    asked = [entry for entry in entries if needs_scan(entry)]
    scans = scans_of(asked)
    issues = [
        {"path": entry.path, "level": scans[entry.sha256].status}
        for entry in asked
        if entry.sha256 in scans and scans[entry.sha256].status != FileScan.Status.SAFE
    ]
    return {"scansDone": all(entry.sha256 in scans for entry in asked), "filesWithIssues": issues}


def statuses_of(repository: Repository, entries: list[Entry]) -> dict[str, dict[str, Any]]:
    """The protocol's `securityFileStatus` by path. A file which can not hold code is safe without a scan."""
    scans = scans_of(entries)
    statuses = {}
    for entry in entries:
        scan = scans.get(entry.sha256)
        status = scan.status if scan else "queued" if needs_scan(entry) else "safe"
        pickle = {
            "status": status,
            "pickleImports": scan.imports if scan else [],
            "message": scan.detail if scan else "",
        }
        statuses[entry.path] = {"status": status, "pickleImportScan": pickle, "avScan": None}
    return statuses
