"""Puts `request.actor` on every request: by bearer token, by git's basic credentials, or by the browser's session."""

import base64
import binascii
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.accounts.tokens import actor_of_token
from models_registry.errors import Unauthorized

# Clients compare this text: with it, a 401 is not taken for a missing repository (hub-protocol §1).
INVALID_CREDENTIALS = "Invalid credentials in Authorization header"


class ActorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        header = request.headers.get("Authorization")
        # The CAS has tokens of its own kind (xet/tokens.py).
        if header and not request.path_info.startswith("/cas/"):
            # Lazy: a wrong token is refused where the request is answered, with the API's own words and headers.
            request.actor = SimpleLazyObject(lambda: _actor_of_header(header))  # type: ignore[attr-defined]
            # A header which no foreign page can send needs no CSRF token.
            request.csrf_processing_done = True  # type: ignore[attr-defined]
        else:
            request.actor = SimpleLazyObject(lambda: _actor_of_session(request))  # type: ignore[attr-defined]
        return self.get_response(request)


def _actor_of_header(header: str) -> Actor:
    scheme, _, value = header.partition(" ")
    value = value.strip()
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            value = ""
    elif scheme.lower() != "bearer":
        value = ""
    actor = actor_of_token(value) if value else None
    if actor is None:
        raise Unauthorized(INVALID_CREDENTIALS)
    return actor


def _actor_of_session(request: HttpRequest) -> Actor:
    user = request.user
    return Actor(user) if user.is_authenticated else ANONYMOUS
