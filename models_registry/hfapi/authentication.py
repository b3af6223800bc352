"""DRF's view of `request.actor`."""

from typing import Any

from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from models_registry.accounts.actors import Actor


class ActorAuthentication(BaseAuthentication):
    """By token, or by a browser's session (which then needs a CSRF token to change anything)."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        plain: HttpRequest = request._request
        actor: Actor = plain.actor  # type: ignore[attr-defined]
        if actor.user is None:
            return None
        if actor.token is None:
            SessionAuthentication().enforce_csrf(request)
        return actor.user, actor.token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class ActorScheme(OpenApiAuthenticationExtension):
    target_class = ActorAuthentication
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}
