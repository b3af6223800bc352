"""Request ids on every answer, refusals which arrive, and headers which keep a page from loading anything foreign."""

import re
import time
import uuid
from collections.abc import Callable

from corsheaders.middleware import CorsMiddleware
from django.http import HttpRequest, HttpResponse

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
    """Reads what is left of a refused or redirected body: a client which is still sending would see a broken line."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code >= 300 and request.method in ("POST", "PUT", "PATCH", "DELETE"):
            _read_on(request)
        return response


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
