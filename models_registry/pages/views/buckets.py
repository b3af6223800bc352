"""A bucket's page: its folders and files, one level at a time."""

from urllib.parse import quote

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_registry.accounts.policies import can_write
from models_registry.buckets import reading
from models_registry.buckets.models import BucketFile
from models_registry.errors import EntryNotFound
from models_registry.hfapi.base import endpoint
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.repos.models import RepoType
from models_registry.repos.services import find_repository

FILES_A_PAGE = 100


@require_safe
def bucket(request: HttpRequest, namespace: str, name: str, path: str = "") -> HttpResponse:
    """What lies in a bucket, or in one of its folders."""
    found = find_repository(actor_of(request), RepoType.BUCKET, f"{namespace}/{name}")
    path = path.strip("/")
    entries = reading.list_level(found, f"{path}/" if path else "") if "\0" not in path else []
    if path and not entries:
        raise EntryNotFound(f"There is no folder {path[:300]} in this bucket.")
    own = repository_link(found)
    entries.sort(key=lambda entry: (isinstance(entry, BucketFile), entry.path))
    page = Paginator(entries, FILES_A_PAGE).get_page(request.GET.get("page"))
    parts = path.split("/") if path else []
    context = {
        "repository": found,
        "own": own,
        "totals": reading.totals_of([found]).get(found.pk, reading.Totals()),
        "page_of_files": page,
        "rows": [_row(own, entry) for entry in page.object_list],
        "path": path,
        "parent": f"{own}/tree/{quote(path.rpartition('/')[0])}".rstrip("/") if len(parts) > 1 else own,
        "trail": [(part, f"{own}/tree/{quote('/'.join(parts[: n + 1]))}") for n, part in enumerate(parts)],
        "may_write": can_write(actor_of(request), found),
        "endpoint": endpoint(request),
    }
    return render(request, "pages/bucket.html", context)


def _row(own: str, entry: BucketFile | reading.Folder) -> dict[str, object]:
    is_folder = isinstance(entry, reading.Folder)
    size = entry.size_bytes if isinstance(entry, reading.Folder) else entry.blob.size_bytes
    return {
        "name": entry.path.rpartition("/")[2],
        "is_folder": is_folder,
        "link": f"{own}/{'tree' if is_folder else 'resolve'}/{quote(entry.path)}",
        "size_bytes": size,
        "uploaded_at": entry.uploaded_at,
    }
