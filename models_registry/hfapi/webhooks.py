"""Webhooks of the caller (hub-protocol §3)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_change_webhooks
from models_registry.community.webhooks import services
from models_registry.community.webhooks.models import Webhook
from models_registry.errors import BadRequest
from models_registry.hfapi.base import HubView, endpoint, json_object, text_field


class Webhooks(HubView):
    max_body_bytes = 1024 * 1024

    def get(self, request: Request) -> Response:
        """The caller's webhooks, as a bare list. Secrets are told to credentials which may change them."""
        return Response([_webhook(self.actor, row) for row in services.webhooks_of(self.actor)])

    def post(self, request: Request) -> Response:
        """Make a webhook."""
        data = _body(request)
        made = services.create_webhook(
            self.actor,
            text_field(data, "url"),
            _watched(data) or (),
            _domains(data) or services.DOMAINS,
            _secret(data) or "",
            origin=endpoint(request),
        )
        return Response({"webhook": _webhook(self.actor, made)})


class OneWebhook(HubView):
    max_body_bytes = 1024 * 1024

    def get(self, request: Request, ident: str) -> Response:
        """One of the caller's webhooks."""
        return Response({"webhook": _webhook(self.actor, services.find_webhook(self.actor, ident))})

    def post(self, request: Request, ident: str) -> Response:
        """Change what is given; an empty `watched` leaves what is watched."""
        webhook = services.find_webhook(self.actor, ident)
        data = _body(request)
        services.update_webhook(
            self.actor,
            webhook,
            url=text_field(data, "url") if data.get("url") is not None else None,
            watched=_watched(data),
            domains=_domains(data),
            secret=_secret(data),
        )
        return Response({"webhook": _webhook(self.actor, webhook)})

    def delete(self, request: Request, ident: str) -> Response:
        """Delete a webhook and the record of its deliveries."""
        services.delete_webhook(self.actor, services.find_webhook(self.actor, ident))
        return Response({"success": True})


class Switch(HubView):
    def post(self, request: Request, ident: str, wanted: str) -> Response:
        """`enable` or `disable` a webhook."""
        webhook = services.find_webhook(self.actor, ident)
        services.set_enabled(self.actor, webhook, enabled=wanted == "enable")
        return Response({"webhook": _webhook(self.actor, webhook)})


def _webhook(actor: Actor, row: Webhook) -> dict[str, Any]:
    return {
        "id": row.ident,
        "url": row.url,
        "watched": [{"type": one.type, "name": one.name} for one in row.watched_rows.all()],
        "domains": row.domains,
        "secret": row.secret if row.secret and can_change_webhooks(actor) else None,
        "disabled": row.disabled,
    }


def _body(request: Request) -> dict[str, Any]:
    data = json_object(request)
    if data.get("jobSourceId") is not None or data.get("secrets") is not None:
        raise BadRequest("This hub runs no jobs for webhooks: give a url.")
    return data


def _watched(data: dict[str, Any]) -> list[services.WatchedName] | None:
    given = data.get("watched")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise BadRequest("The field 'watched' must be a list of objects with 'type' and 'name'.")
    return [services.WatchedName(text_field(one, "type"), text_field(one, "name")) for one in given]


def _domains(data: dict[str, Any]) -> list[str] | None:
    given = data.get("domains")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise BadRequest("The field 'domains' must be a list of texts.")
    return given


def _secret(data: dict[str, Any]) -> str | None:
    return text_field(data, "secret") if data.get("secret") is not None else None
