"""Refusals as the hub protocol wants them: status, `{"error": …}`, X-Error-Code, X-Error-Message (hub-protocol §1)."""

import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework.exceptions import APIException
from rest_framework.response import Response

from models_registry.errors import Conflict, HubError, RepoMoved, RepoNotFound, StorageFull
from models_registry.storage.blobstore import FULL_ERRORS, FULL_SENTENCE

logger = logging.getLogger(__name__)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_PATH_SAFE = "/@=,~+:!$&'()*;"
_MACHINE_PATHS = ("/api/", "/cas/", "/oauth/", "/lfs/")


def headers_of(error: HubError) -> dict[str, str]:
    plain = error.message.encode("ascii", "replace").decode()
    headers = {"X-Error-Message": _CONTROL.sub(" ", plain)[:1000]}
    if error.code:
        headers["X-Error-Code"] = error.code
    return headers | error.headers


def body_of(error: HubError) -> dict[str, Any]:
    extra = error.body if isinstance(error, Conflict) else {}
    return {"error": error.message, **extra}


def exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook: our refusals, and DRF's own in the same clothes."""
    if isinstance(error, RepoMoved):
        error = redirected(error, context["request"]._request)
    if isinstance(error, HubError):
        return Response(body_of(error), error.status, headers=headers_of(error))
    if isinstance(error, APIException):
        refusal = HubError(_flat(error.detail), status=error.status_code)
        return Response(body_of(refusal), refusal.status, headers=headers_of(refusal))
    if isinstance(error, Http404):
        refusal = HubError("Not found.", status=404)
        return Response(body_of(refusal), 404, headers=headers_of(refusal))
    if isinstance(error, TooManyFieldsSent):
        refusal = HubError("The request has more parameters than any of ours takes: leave some out.", status=400)
        return Response(body_of(refusal), 400, headers=headers_of(refusal))
    if isinstance(error, RequestDataTooBig | SuspiciousOperation):
        refusal = HubError("The request is too large or not well formed.", status=400)
        return Response(body_of(refusal), 400, headers=headers_of(refusal))
    return None


def redirected(error: RepoMoved, request: HttpRequest) -> HubError:
    """The same request at the repository's new name. What does not name it in its URL finds no repository."""
    location = moved_location(request, error.old_name, error.new_name)
    if location is None:
        return RepoNotFound(f"Repository not found: it is called {error.new_name} now.")
    # The name may be given to another repository one day: nobody is to remember where it led.
    error.headers = {"Location": location, "Cache-Control": "no-store"}
    return error


def moved_location(request: HttpRequest, old_name: str, new_name: str) -> str | None:
    """This request's path and query with a repository's new name for its old one; None when it does not stand there.

    Relative, so that it stays on the origin which the client knows. Servers decode the path before a WSGI application
    sees it, so it is quoted anew: that names the same file.
    """
    parts = request.path.split("/")
    namespace, name = old_name.lower().split("/", 1)
    for at in range(1, len(parts) - 1):
        second = parts[at + 1]
        is_git = second.lower() == f"{name}.git"
        if parts[at].lower() == namespace and (second.lower() == name or is_git):
            parts[at : at + 2] = new_name.split("/")
            if is_git:
                parts[at + 1] += ".git"
            path, query = quote("/".join(parts), safe=_PATH_SAFE), request.META.get("QUERY_STRING", "")
            return path + (f"?{query}" if query else "")
    return None


class HubErrorMiddleware:
    """The same for plain views; a person in a browser gets a page instead of JSON."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, HubError):
            translated = _of_the_machine(error)
            if translated is None:
                return None
            logger.warning("%s %s: %s", request.method, request.path, error)
            error = translated
        response: HttpResponse
        if isinstance(error, RepoMoved):
            error = redirected(error, request)
        if wants_page(request) and error.status >= 400:
            status = 404 if isinstance(error, RepoNotFound) else error.status
            context = {"status": status, "sentence": error.message, "sign_in": isinstance(error, RepoNotFound)}
            response = render(request, "pages/error.html", context, status=status)
        else:
            response = JsonResponse(body_of(error), status=error.status)
        for name, value in headers_of(error).items():
            response[name] = value
        return response


def _of_the_machine(error: Exception) -> HubError | None:
    """A full disk and a busy database are no bugs: say so, in the right status."""
    if isinstance(error, OperationalError) and "locked" in str(error):
        return HubError("The hub is busy: try again in a few seconds.", {"Retry-After": "5"}, status=503)
    is_full = isinstance(error, OperationalError) and "full" in str(error)
    if is_full or (isinstance(error, OSError) and error.errno in FULL_ERRORS):
        return StorageFull(FULL_SENTENCE)
    return None


def wants_page(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "") and not request.path_info.startswith(_MACHINE_PATHS)


def _flat(detail: Any) -> str:
    if isinstance(detail, dict):
        return " ".join(f"{key}: {_flat(value)}" for key, value in detail.items())
    if isinstance(detail, list):
        return " ".join(_flat(value) for value in detail)
    return str(detail)
