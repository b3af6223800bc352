"""The routes which git itself asks: `info/refs`, `git-upload-pack`, `git-receive-pack` (gitprotocol-http)."""

import io
import zlib
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest, Forbidden, HubError, RepoMoved, TooLarge, Unauthorized
from models_registry.gitapi import fetching, receiving
from models_registry.gitapi.pktlines import Reader
from models_registry.gitapi.references import advertise
from models_registry.hfapi.base import body_stream, endpoint
from models_registry.hfapi.errors import headers_of, redirected
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.pushes import require_push
from models_registry.repos.services import find_repository

SERVICES = ("git-upload-pack", "git-receive-pack")
MAX_FETCH_BYTES = 16 * 1024 * 1024
_FRESH = {"Cache-Control": "no-cache, max-age=0, must-revalidate", "Pragma": "no-cache"}
View = Callable[..., HttpResponseBase]


def git_view(view: View) -> View:
    """Refusals as git understands them: a text which it prints, and Basic where it should ask for a token."""

    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **options: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **options)
        except HubError as refusal:
            error = redirected(refusal, request) if isinstance(refusal, RepoMoved) else refusal
            headers = headers_of(error)
            if error.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="FitHub: any user name, a token as the password"'
            return HttpResponse(error.message + "\n", "text/plain; charset=utf-8", error.status, headers=headers)

    return answered


@git_view
def info_refs(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponseBase:
    """What the repository's refs are, and what the service can do."""
    if request.method != "GET":
        raise HubError("Ask with GET.", status=405)
    service = request.GET.get("service", "")
    if service not in SERVICES:
        raise Forbidden("This hub speaks git's smart protocol only: use git 1.6.6 or newer.")
    repository = _repository(request, kind, namespace, name, service)
    body = b"".join(advertise(repository, service, _version(request)))
    return HttpResponse(body, f"application/x-{service}-advertisement", headers=_FRESH)


@git_view
def upload_pack(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponseBase:
    """clone, fetch, ls-remote."""
    repository = _posted(request, kind, namespace, name, "git-upload-pack")
    body = _body(request)
    text = io.BytesIO(_read_all(body, MAX_FETCH_BYTES))
    return _result("git-upload-pack", fetching.answer(_actor(request), repository, text, _version(request)))


@git_view
def receive_pack(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponseBase:
    """push. The answer is written when all is decided, so that a cut line leaves nothing half done."""
    repository = _posted(request, kind, namespace, name, "git-receive-pack")
    return _result("git-receive-pack", receiving.answer(_actor(request), repository, _body(request)))


def _repository(request: HttpRequest, kind: RepoType, namespace: str, name: str, service: str) -> Repository:
    actor = _actor(request)
    if service == "git-receive-pack" and actor.is_anonymous:
        raise Unauthorized("Push with any user name and, as the password, a token which may write.")
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    if service == "git-receive-pack":
        require_push(actor, repository)
    else:
        require_files(actor, repository, endpoint(request))
    return repository


def _posted(request: HttpRequest, kind: RepoType, namespace: str, name: str, service: str) -> Repository:
    if request.method != "POST":
        raise HubError("Ask with POST.", status=405)
    repository = _repository(request, kind, namespace, name, service)
    if request.content_type != f"application/x-{service}-request":
        raise HubError(f"The content type must be application/x-{service}-request.", status=415)
    return repository


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    _ = actor.token  # a wrong token is refused here, also where the public may read
    return actor


def _version(request: HttpRequest) -> int:
    asked = request.headers.get("Git-Protocol", "").split(":")
    return 2 if "version=2" in asked else 1 if "version=1" in asked else 0


def _result(service: str, body: Iterator[bytes]) -> HttpResponseBase:
    return StreamingHttpResponse(_joined(body), content_type=f"application/x-{service}-result", headers=_FRESH)


def _joined(parts: Iterator[bytes], size: int = 64 * 1024) -> Iterator[bytes]:
    """Small parts together: each one which is yielded costs the server a write."""
    buffer = bytearray()
    for part in parts:
        buffer += part
        if len(buffer) >= size:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer)


def _body(request: HttpRequest) -> Reader:
    stream, _ = body_stream(request)
    encoding = request.headers.get("Content-Encoding", "").lower()
    if encoding in ("gzip", "x-gzip"):
        return Unzipped(stream)
    if encoding not in ("", "identity"):
        raise HubError("The body may be compressed with gzip only.", status=415)
    return stream


class Unzipped:
    """A gzip stream read as it comes; never more in memory than was asked for."""

    def __init__(self, stream: Reader) -> None:
        self._stream, self._inflate = stream, zlib.decompressobj(31)

    def read(self, size: int, /) -> bytes:
        while not self._inflate.eof:
            source = self._inflate.unconsumed_tail or self._stream.read(64 * 1024)
            try:
                data = self._inflate.decompress(source, size)
            except zlib.error as error:
                raise BadRequest("The body is not valid gzip: it was damaged on its way, try again.") from error
            if data or not source:
                return data
        return b""


def _read_all(stream: Reader, most: int) -> bytes:
    parts, total = [], 0
    while part := stream.read(256 * 1024):
        total += len(part)
        if total > most:
            raise TooLarge(f"A fetch's body has at most {most:,} bytes.")
        parts.append(part)
    return b"".join(parts)
