"""A person's webhooks: make, change, switch on and off, see what was sent, send it again."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.accounts.services import find_organization
from models_registry.community.webhooks import services
from models_registry.community.webhooks.models import Webhook
from models_registry.community.webhooks.outbox import MAX_A_DAY
from models_registry.community.webhooks.services import WatchedName
from models_registry.errors import BadRequest, HubError, NotFound
from models_registry.hfapi.base import endpoint
from models_registry.pages.places import actor_of
from models_registry.pages.views.account import signed_in
from models_registry.repos.models import RepoType

_HOME = "/settings/webhooks"
_DELIVERIES = 20


@never_cache
@sensitive_post_parameters("secret")
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def webhooks(request: HttpRequest) -> HttpResponse:
    """All of them, and a form for one more."""
    actor, given, problem = actor_of(request), request.POST, ""
    if request.method == "POST":
        try:
            made = services.create_webhook(
                actor,
                given.get("url", "").strip(),
                _watched(given.get("watched", "")),
                given.getlist("domains"),
                given.get("secret", ""),
                origin=endpoint(request),
            )
            messages.success(request, "The webhook is made: it is told of what happens from now on.")
            return redirect(f"{_HOME}/{made.ident}")
        except HubError as error:
            problem = error.message
    context = {
        "webhooks": [_shown(row) for row in services.webhooks_of(actor)],
        "problem": problem,
        "url": given.get("url", ""),
        "watched": given.get("watched", actor.name),
        "domains": given.getlist("domains") or services.DOMAINS,
    }
    return render(request, "pages/webhooks.html", context, status=400 if problem else 200)


@never_cache
@sensitive_post_parameters("secret")
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def webhook(request: HttpRequest, ident: str) -> HttpResponse:
    """One webhook: its form, and its newest deliveries. The secret is never shown, only replaced or taken away."""
    actor, given, problem = actor_of(request), request.POST, ""
    found = services.find_webhook(actor, ident)
    if request.method == "POST":
        try:
            services.update_webhook(
                actor,
                found,
                url=given.get("url", "").strip(),
                watched=_watched(given.get("watched", "")),
                domains=given.getlist("domains"),
                secret="" if given.get("no_secret") else given.get("secret") or None,
            )
            messages.success(request, "The webhook is changed.")
            return redirect(f"{_HOME}/{found.ident}")
        except HubError as error:
            problem = error.message
    rows = found.deliveries.select_related("event").order_by("-created_at", "-pk")
    page = Paginator(rows, _DELIVERIES).get_page(request.GET.get("page"))
    context = {
        **_shown(found),
        "problem": problem,
        "page": page,
        "deliveries": [(row, json.dumps(row.event.payload, indent=2, ensure_ascii=False)) for row in page.object_list],
        "most": MAX_A_DAY,
    }
    return render(request, "pages/webhook.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def switch(request: HttpRequest, ident: str) -> HttpResponse:
    actor = actor_of(request)
    found = services.find_webhook(actor, ident)
    services.set_enabled(actor, found, enabled=request.POST.get("enabled") == "yes")
    return redirect(f"{_HOME}/{found.ident}")


@signed_in
@require_POST
def delete(request: HttpRequest, ident: str) -> HttpResponse:
    actor = actor_of(request)
    services.delete_webhook(actor, services.find_webhook(actor, ident))
    messages.success(request, "The webhook is deleted.")
    return redirect(_HOME)


@signed_in
@require_POST
def again(request: HttpRequest, ident: str, delivery_id: int) -> HttpResponse:
    """Send an event once more."""
    actor = actor_of(request)
    found = services.find_webhook(actor, ident)
    try:
        services.redeliver(actor, found, delivery_id)
        messages.success(request, "It will be sent again in a moment.")
    except HubError as error:
        messages.error(request, error.message)
    return redirect(f"{_HOME}/{found.ident}#deliveries")


def _shown(row: Webhook) -> dict[str, Any]:
    return {"webhook": row, "watched_text": "\n".join(_as_text(one.type, one.name) for one in row.watched_rows.all())}


def _as_text(kind: str, name: str) -> str:
    return name if kind in ("user", "org") else RepoType(kind).url_prefix + name


def _watched(text: str) -> list[WatchedName]:
    """A line each: `owner`, `owner/model`, `datasets/owner/name`, as addresses are written. Raises BadRequest."""
    found = []
    for line in text.split():
        parts = line.strip("/").split("/")
        kind = next((kind for kind in RepoType if kind.url_prefix == f"{parts[0]}/"), None)
        if len(parts) == 1:
            found.append(WatchedName(_owner_type(parts[0]), parts[0]))
        elif len(parts) == 2:
            found.append(WatchedName("model", line.strip("/")))
        elif len(parts) == 3 and kind is not None:
            found.append(WatchedName(kind.value, "/".join(parts[1:])))
        else:
            raise BadRequest(f"{line[:80]!r} is not understood: write owner, owner/model or datasets/owner/name.")
    if not found:
        raise BadRequest("A webhook must watch something: write a line for each user, organisation or repository.")
    return found


def _owner_type(name: str) -> str:
    try:
        find_organization(name)
    except NotFound:
        return "user"
    return "org"
