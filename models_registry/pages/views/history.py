"""A revision's history, and what one commit changed."""

from datetime import UTC, datetime
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_registry.pages.links import at
from models_registry.pages.places import actor_of, find_place, frame, refs_of
from models_registry.repos.entries import Entry, list_entries
from models_registry.repos.git_objects import CommitInfo
from models_registry.repos.history import read_history
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import commit_at, resolve_revision
from models_registry.repos.services import find_repository

COMMITS_A_PAGE = 50
_MAX_CHANGES = 500


@require_safe
def commits(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> HttpResponse:
    """Every commit which a revision goes back to, newest first."""
    place = find_place(request, kind, namespace, name, rest)
    page = Paginator(read_history(place.repository, place.commit), COMMITS_A_PAGE).get_page(request.GET.get("page"))
    days: list[tuple[Any, list[dict[str, Any]]]] = []
    for commit in page.object_list:
        day = datetime.fromtimestamp(commit.time_s, UTC).date()
        if not days or days[-1][0] != day:
            days.append((day, []))
        link = at(place.repository, "commit", commit.oid)
        days[-1][1].append({"commit": commit, "link": link, "files": at(place.repository, "tree", commit.oid)})
    context = frame(request, place.repository, "history", place.revision) | {
        "place": place,
        "refs": refs_of(place.repository, "commits"),
        "days": days,
        "commit_pages": page,
    }
    return render(request, "pages/commits.html", context)


@require_safe
def commit(request: HttpRequest, kind: RepoType, namespace: str, name: str, sha: str) -> HttpResponse:
    """A commit: its message, and the files which it added, changed and removed."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    found = commit_at(repository, resolve_revision(actor_of(request), repository, sha))
    changes = _changes(repository, found)
    context = frame(request, repository, "history", found.oid) | {
        "commit": found,
        "parents": [(oid, at(repository, "commit", oid)) for oid in found.parents],
        "tree_link": at(repository, "tree", found.oid),
        "changes": changes[:_MAX_CHANGES],
        "more_changes": max(0, len(changes) - _MAX_CHANGES),
        "counts": {kind: sum(change["kind"] == kind for change in changes) for kind in ("added", "changed", "removed")},
    }
    return render(request, "pages/commit.html", context)


def _changes(repository: Repository, commit: CommitInfo) -> list[dict[str, Any]]:
    """What differs from the first parent, by path."""
    after = _files(repository, commit.oid)
    before = _files(repository, commit.parents[0]) if commit.parents else {}
    changes = []
    for path in sorted(after.keys() | before.keys()):
        old, new = before.get(path), after.get(path)
        if old and new and old.oid == new.oid:
            continue
        kind = "changed" if old and new else "added" if new else "removed"
        place = commit.oid if new else commit.parents[0]
        changes.append(
            {"kind": kind, "path": path, "old": old, "new": new, "link": at(repository, "blob", place, path)}
        )
    return changes


def _files(repository: Repository, oid: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in list_entries(repository, oid, recursive=True) if not entry.is_folder}
