"""Request ids on every answer, bodies read to their ends, and headers which let a page load only what is ours."""

import re
import time
import uuid
from collections.abc import Callable, Iterator

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from hub.logging import request_id
from models_registry.hfapi.base import body_stream

_LINGER_S, _LINGER_BYTES, _LINGER_BLOCK_BYTES = 20, 1024**3, 1024**2
_UNSAFE = re.compile(r"[^A-Za-z0-9._:;=\-]")
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


class RequestIdMiddleware:
    """`X-Request-Id` as the clients expect it: the caller's own id, else one which contains its trace id."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id") or request.headers.get("X-Amzn-Trace-Id") or ""
        ident = _UNSAFE.sub("", given)[:200] or f"Root={uuid.uuid4().hex}"
        mark = request_id.set(ident)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(mark)
        response["X-Request-Id"] = ident
        return response


class OtherOriginsMiddleware(CorsMiddleware):
    """What pages of other origins may do (settings, CORS_…): read, and nothing else.

    The list of methods alone does not say that: browsers send a POST whatever it holds.
    """

    def is_enabled(self, request: HttpRequest) -> bool:
        asked = request.headers.get("Access-Control-Request-Method", "")
        method = asked if request.method == "OPTIONS" else request.method
        return method in ("GET", "HEAD") and bool(super().is_enabled(request))


class WholeBodyMiddleware:
    """Reads what a view left of the body: the server closes a connection on which some is still to come.

    A client still sending would see a broken line in the place of a refusal. After a 200 (`verify` of LFS needs
    nothing of its body) it would see one at its next request, which it had sent before it learned of the end.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
            return response
        if isinstance(response, StreamingHttpResponse):  # git's answers read while they are written
            response.streaming_content = _and_read_on(iter(response), request)
        else:
            _read_on(request)
        return response


def _and_read_on(parts: Iterator[bytes], request: HttpRequest) -> Iterator[bytes]:
    yield from parts
    _read_on(request)


def _read_on(request: HttpRequest) -> None:
    deadline, left = time.monotonic() + _LINGER_S, _LINGER_BYTES
    try:
        stream, _ = body_stream(request)
        while left > 0 and time.monotonic() < deadline and (block := stream.read(_LINGER_BLOCK_BYTES)):
            left -= len(block)
    except (OSError, ValueError):
        return  # the client has hung up


class ContentSecurityMiddleware:
    """Pages may load only what this hub serves; a repository's files may do nothing at all."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.setdefault("Content-Security-Policy", _PAGE_POLICY)
        return response
