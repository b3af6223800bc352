"""Folders and files at a revision."""

from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from models_registry.hfapi.base import endpoint
from models_registry.pages.links import at, trail
from models_registry.pages.places import Place, actor_of, find_place, frame, refs_of
from models_registry.repos.entries import Entry, entry_at, last_commits, list_entries, read_small
from models_registry.repos.gating import require_files
from models_registry.repos.git_objects import CommitInfo
from models_registry.repos.models import RepoType
from models_registry.repos.revisions import find_entry
from models_registry.scanning.models import FileScan
from models_registry.scanning.services import needs_scan, scans_of
from models_registry.storage.services import get_blob, read_range

FILES_A_PAGE = 100
PREVIEW_BYTES = 200_000
_IMAGE_BYTES = 5_000_000
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".md", ".yaml", ".yml", ".py", ".xml", ".html", ".svg")


@dataclass(frozen=True)
class Verdict:
    """What the scan says of a file, for people: `level` is safe, waiting, suspicious or unsafe."""

    level: str
    words: str
    detail: str = ""
    imports: tuple[str, ...] = ()


@require_safe
def tree(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> HttpResponse:
    """A folder: sizes, what the scans say, the commit which last changed each entry."""
    place = find_place(request, kind, namespace, name, rest)
    if place.path and not find_entry(place.repository, place.commit, place.path).is_folder:
        return redirect(at(place.repository, "blob", place.revision, place.path))
    entries = list_entries(place.repository, place.commit, place.path)
    entries.sort(key=lambda entry: (not entry.is_folder, entry.path))
    page = Paginator(entries, FILES_A_PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    commits = last_commits(place.repository, place.commit, [entry.path for entry in shown]) if shown else {}
    scans = scans_of(shown)
    parent = place.path.rpartition("/")[0]
    context = _around(request, place, "tree") | {
        "page_of_files": page,
        "rows": [_row(place, entry, commits[entry.path], scans) for entry in shown],
        "parent": at(place.repository, "tree", place.revision, parent) if place.path else "",
        "total_bytes": sum(entry.size_bytes for entry in entries),
        "total_files": sum(not entry.is_folder for entry in entries),
        "newest": max(commits.values(), key=lambda commit: commit.time_s, default=None),
    }
    return render(request, "pages/tree.html", context)


@require_safe
def blob(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> HttpResponse:
    """A file: its size and hashes, the scan's verdict, a preview where one is harmless."""
    place = find_place(request, kind, namespace, name, rest)
    if not place.path:
        return redirect(at(place.repository, "tree", place.revision))
    if find_entry(place.repository, place.commit, place.path).is_folder:
        return redirect(at(place.repository, "tree", place.revision, place.path))
    entry = entry_at(place.repository, place.commit, place.path)
    require_files(actor_of(request), place.repository, endpoint(request), place.path)
    commit = last_commits(place.repository, place.commit, [entry.path])[entry.path]
    text = _preview(place, entry)
    context = _around(request, place, "blob") | {
        "entry": entry,
        "commit": commit,
        "commit_link": at(place.repository, "commit", commit.oid),
        "verdict": _verdict(entry, scans_of([entry])),
        "download": at(place.repository, "resolve", place.revision, place.path),
        "is_image": entry.path.lower().endswith(_IMAGES) and entry.size_bytes <= _IMAGE_BYTES,
        "text": text,
        "is_cut": text is not None and entry.size_bytes > PREVIEW_BYTES,
        "preview_bytes": PREVIEW_BYTES,
    }
    return render(request, "pages/blob.html", context)


def _around(request: HttpRequest, place: Place, page: str) -> dict[str, Any]:
    return frame(request, place.repository, "files", place.revision) | {
        "place": place,
        "trail": trail(place.repository, place.revision, place.path),
        "refs": refs_of(place.repository, "tree"),
        "history": at(place.repository, "commits", place.revision),
        "permanent": at(place.repository, page, place.commit, place.path),
    }


def _row(place: Place, entry: Entry, commit: CommitInfo, scans: dict[str, FileScan]) -> dict[str, Any]:
    return {
        "entry": entry,
        "link": at(place.repository, "tree" if entry.is_folder else "blob", place.revision, entry.path),
        "download": "" if entry.is_folder else at(place.repository, "resolve", place.revision, entry.path),
        "commit": commit,
        "commit_link": at(place.repository, "commit", commit.oid),
        "verdict": _verdict(entry, scans),
    }


def _verdict(entry: Entry, scans: dict[str, FileScan]) -> Verdict | None:
    """None for what can not hold code."""
    scan = scans.get(entry.sha256) if entry.sha256 else None
    if scan is not None:
        words = {"safe": "scanned", "suspicious": "suspicious", "unsafe": "unsafe"}[scan.status]
        return Verdict(scan.status, words, scan.detail, tuple(scan.imports[:40]))
    if needs_scan(entry):
        return Verdict("waiting", "not scanned yet", "This file may hold a pickle and waits for its scan.")
    return None


def _preview(place: Place, entry: Entry) -> str | None:
    """The first bytes as text; None for what is no text."""
    if entry.sha256:
        if not entry.path.lower().endswith(_TEXTS):
            return None
        data = _first_bytes(entry)
    else:
        data = read_small(place.repository, entry)
    cut, data = len(data) > PREVIEW_BYTES, data[:PREVIEW_BYTES]
    if b"\0" in data:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        # The cut may go through a character; anything else is no text.
        whole = (cut or entry.size_bytes > PREVIEW_BYTES) and error.start >= len(data) - 4
        return data[: error.start].decode() if whole else None


def _first_bytes(entry: Entry) -> bytes:
    wanted = min(entry.size_bytes, PREVIEW_BYTES)
    blocks = read_range(get_blob(entry.sha256), 0, wanted) if wanted else iter(())
    return b"".join(islice(blocks, PREVIEW_BYTES))
