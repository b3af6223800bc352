"""What all API views share: finding the repository, dates, absolute URLs, pages of a list, bodies within bounds."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast
from urllib.parse import quote, urlencode

from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest, TooLarge
from models_registry.repos.models import GIT_TYPES, Repository
from models_registry.repos.services import find_repository

TYPES = {kind.plural: kind for kind in GIT_TYPES}
MAX_JSON_BYTES = 32 * 1024 * 1024


class HubView(APIView):
    """A view of the API. `self.actor` is who asks."""

    @property
    def actor(self) -> Actor:
        return self.request._request.actor  # type: ignore[attr-defined,no-any-return]

    def repository(self, types: str, namespace: str, name: str) -> Repository:
        return find_repository(self.actor, TYPES[types], f"{namespace}/{name}")

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        if request.method != "GET" and int(request.META.get("CONTENT_LENGTH") or 0) > self.max_body_bytes:
            raise TooLarge(f"The body is larger than {self.max_body_bytes:,} bytes.")
        return super().initialize_request(request, *args, **kwargs)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Always JSON: clients ask for all sorts of types and read JSON (git-lfs, `text/plain` of card checks)."""
        renderer = self.get_renderers()[0]
        return renderer, renderer.media_type

    max_body_bytes = MAX_JSON_BYTES


def json_object(request: Request) -> dict[str, Any]:
    """The body as a JSON object, whatever its content type. Raises BadRequest."""
    data = parse_json(request._request.body or b"{}", "The body is not valid JSON.")
    if not isinstance(data, dict):
        raise BadRequest("The body must be a JSON object.")
    return data


def parse_json(text: bytes, problem: str) -> Any:
    """A JSON text's value, or BadRequest with `problem`: also for halves of surrogate pairs, which nothing stores."""
    try:
        data = json.loads(text)
        if b"\\u" in text:
            json.dumps(data, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(problem) from error
    return data


def text_field(data: dict[str, Any], name: str, default: str | None = None) -> str:
    value = data.get(name, default)
    if not isinstance(value, str):
        raise BadRequest(f"The field {name!r} must be a text.")
    return value


def flag(value: str | None) -> bool:
    return value is not None and value.lower() in ("true", "1", "")


def moment(value: datetime | int) -> str:
    """ISO 8601 in UTC with milliseconds, as every client parses it."""
    at = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else value.astimezone(UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def endpoint(request: HttpRequest | Request) -> str:
    """The hub's address as this client wrote it, or the public one when it is set."""
    if settings.FITHUB_PUBLIC_URL:
        return cast(str, settings.FITHUB_PUBLIC_URL)
    return f"{request.scheme}://{request.get_host()}"


def repo_url(request: HttpRequest | Request, repository: Repository) -> str:
    return f"{endpoint(request)}/{quote(repository.path)}"


def number(request: Request, name: str, default: int, high: int) -> int:
    raw = request.query_params.get(name)
    if raw is None:
        return default
    if not raw.isdecimal() or len(raw) > 12:
        raise BadRequest(f"{name}={raw[:40]!r} is not a whole number.")
    return min(int(raw), high)


def page_of(
    request: Request, rows: Sequence[Any], total: int | None, offset: int, limit: int, **headers: str
) -> Response:
    """A page of a list; while there is more, `Link` names the next page as a full URL."""
    response = Response(list(rows), headers=headers)
    more = offset + len(rows) < total if total is not None else len(rows) == limit
    if more and rows:
        query = [(k, v) for k, values in request.query_params.lists() for v in values if k != "cursor"]
        url = f"{endpoint(request)}{quote(request.path)}?{urlencode([*query, ('cursor', str(offset + len(rows)))])}"
        response["Link"] = f'<{url}>; rel="next"'
    return response


def body_stream(request: HttpRequest) -> tuple[BinaryIO, int | None]:
    """The raw body and its announced length (None when it comes in chunks)."""
    length = request.META.get("CONTENT_LENGTH")
    if length:
        return cast(BinaryIO, request), int(length)
    if "chunked" in request.headers.get("Transfer-Encoding", "").lower():
        return cast(BinaryIO, request.META["wsgi.input"]), None
    return cast(BinaryIO, request), 0
