"""Downloads: `resolve` and `raw` (hub-protocol §2.5)."""

import mimetypes
from collections.abc import Iterator
from urllib.parse import quote

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from models_registry.hfapi.base import endpoint
from models_registry.repos.downloads import count_download
from models_registry.repos.entries import Entry, entry_at, read_small
from models_registry.repos.gating import split_revision_behind_gate
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import find_repository
from models_registry.storage.delivery import Content, content_of_blob, serve
from models_registry.storage.services import get_blob
from models_registry.xet.offers import is_offered

# What a browser may show in place. Everything else is a download, so that no pushed page runs on our origin.
_SHOWN = ("image/png", "image/jpeg", "image/gif", "image/webp", "audio/", "video/", "text/plain", "application/pdf")


@csrf_exempt
@require_safe
def resolve(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> HttpResponseBase:
    """A file at a revision, with the headers by which every client caches it."""
    repository, commit_oid, entry = _find(request, kind, namespace, name, rest)
    headers = _headers(commit_oid, entry)
    if entry.sha256:
        content = content_of_blob(get_blob(entry.sha256))
        headers |= {"X-Linked-Etag": f'"{entry.sha256}"', "X-Linked-Size": str(entry.size_bytes)}
        headers |= _xet_headers(request, repository, commit_oid, entry, content)
    else:
        content = _small(repository, entry)
    if request.method == "GET" and _is_first_part(request):
        count_download(repository, commit_oid, entry.path)
    return serve(request, content, _content_type(request, entry), headers)


@csrf_exempt
@require_safe
def raw(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> HttpResponseBase:
    """What git holds: like resolve, but a pointer comes as its text."""
    repository, commit_oid, entry = _find(request, kind, namespace, name, rest)
    return serve(request, _small(repository, entry), "text/plain; charset=utf-8", _headers(commit_oid, entry))


def _find(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> tuple[Repository, str, Entry]:
    actor = request.actor  # type: ignore[attr-defined]
    _ = actor.token  # asked for here, a wrong token is refused: a public file would not need to look at it
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    commit_oid, path = split_revision_behind_gate(actor, repository, rest, endpoint(request))
    return repository, commit_oid, entry_at(repository, commit_oid, path)


def _small(repository: Repository, entry: Entry) -> Content:
    """What git holds. Read when it is sent: a HEAD, and a 304, need no bytes."""

    def read(start: int, length: int) -> Iterator[bytes]:
        return iter([read_small(repository, entry)[start : start + length]])

    return Content(entry.pointer_bytes or entry.size_bytes, entry.oid, read)


def _headers(commit_oid: str, entry: Entry) -> dict[str, str]:
    plain = entry.name.encode("ascii", "replace").decode().replace('"', "'").replace("\\", "_")
    return {
        "X-Repo-Commit": commit_oid,
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(entry.name)}; filename=\"{plain}\";",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }


def _xet_headers(
    request: HttpRequest, repository: Repository, commit_oid: str, entry: Entry, content: Content
) -> dict[str, str]:
    """How a Xet client gets the file chunk by chunk; every other one reads the body."""
    hash_ = content.blob.xet_hash if content.blob else ""
    if not hash_ or not is_offered(repository, commit_oid, entry.path):
        return {}
    hub = endpoint(request)
    token = f"{hub}/api/{repository.kind.plural}/{quote(repository.full_name)}/xet-read-token/{commit_oid}"
    links = {"xet-auth": token, "xet-reconstruction-info": f"{hub}/cas/v1/reconstructions/{hash_}"}
    return {"X-Xet-Hash": hash_, "Link": ", ".join(f'<{url}>; rel="{name}"' for name, url in links.items())}


def _content_type(request: HttpRequest, entry: Entry) -> str:
    guessed = mimetypes.guess_type(entry.name)[0] or "application/octet-stream"
    if entry.name.lower().endswith(
        (".md", ".json", ".txt", ".yaml", ".yml", ".csv", ".jsonl", ".py", ".html", ".svg", ".xml")
    ):
        guessed = "text/plain; charset=utf-8"
    return guessed if guessed.startswith(_SHOWN) else "application/octet-stream"


def _is_first_part(request: HttpRequest) -> bool:
    """A download counts once, however many ranges it takes."""
    span = request.headers.get("Range", "")
    return not span or span.startswith("bytes=0-")
