"""Which files need a scan, and what scans found."""

from collections.abc import Iterable
from typing import Any

from models_registry.repos.entries import Entry
from models_registry.repos.models import Repository
from models_registry.scanning.models import FileScan

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
