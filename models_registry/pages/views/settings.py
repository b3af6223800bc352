"""A repository's settings: who sees it, its gate, its name, its end; and the requests at its gate."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from models_registry.errors import BadRequest, HubError
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import owners_of, person_of, signed_in
from models_registry.repos import gating
from models_registry.repos.models import AccessRequest, Repository, RepoType
from models_registry.repos.moving import move_repository
from models_registry.repos.services import delete_repository, find_repository, require_manage, update_settings

MAX_DESCRIPTION = 10_000
_REQUESTS_A_PAGE = 50
_STATUSES = (("pending", "Waiting"), ("accepted", "Let in"), ("rejected", "Rejected"))


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def settings(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Change what is asked for by `act`, or say why not."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    require_manage(actor_of(request), repository)
    problem = ""
    if request.method == "POST":
        try:
            return redirect(_act(request, repository))
        except HubError as error:
            problem = error.message
            repository.refresh_from_db()
    context = frame(request, repository, "settings") | {
        "problem": problem,
        "owners": list(dict.fromkeys([repository.namespace.name, *owners_of(person_of(request))])),
        "waiting": gating.access_requests(actor_of(request), repository, "pending").count() if repository.gated else 0,
    }
    return render(request, "pages/settings.html", context, status=400 if problem else 200)


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def access(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Who asked to be let in; accept, reject, grant."""
    actor = actor_of(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    require_manage(actor, repository)
    status = request.GET.get("status", "pending")
    here = f"{repository_link(repository)}/settings/access"
    problem = ""
    if request.method == "POST":
        try:
            made = _decide(request, repository)
            messages.success(request, f"{made.user.username}: {made.status}.")
            return redirect(f"{here}?status={made.status}")
        except HubError as error:
            problem = error.message
    page = Paginator(gating.access_requests(actor, repository, status), _REQUESTS_A_PAGE).get_page(
        request.GET.get("page")
    )
    context = frame(request, repository, "settings") | {
        "problem": problem,
        "here": here,
        "status": status,
        "statuses": _STATUSES,
        "page_of_requests": page,
    }
    return render(request, "pages/access.html", context, status=400 if problem else 200)


def _act(request: HttpRequest, repository: Repository) -> str:
    """Do it; returns where to go then."""
    given, act = request.POST, request.POST.get("act", "")
    own = repository_link(repository)
    if act == "settings":
        update_settings(actor_of(request), repository, **_settings(request))
        messages.success(request, "The settings are changed.")
        return f"{own}/settings"
    if act == "move":
        moved = move_repository(
            actor_of(request), repository, f"{given.get('owner', '')}/{given.get('name', '').strip()}"
        )
        messages.success(request, f"It is called {moved.full_name} now; the old name leads here.")
        return f"{repository_link(moved)}/settings"
    if act == "delete":
        if given.get("confirm", "").strip() != repository.full_name:
            raise BadRequest(f"Write {repository.full_name} to delete it.")
        delete_repository(actor_of(request), repository)
        messages.success(request, f"{repository.full_name} is deleted.")
        return f"/{repository.namespace.name}"
    raise BadRequest("This form was not understood: load the page again.")


def _settings(request: HttpRequest) -> dict[str, Any]:
    given = request.POST
    description = given.get("description", "").strip()
    if "\0" in description or len(description) > MAX_DESCRIPTION:
        raise BadRequest(f"A description is a text of at most {MAX_DESCRIPTION:,} characters without NUL.")
    return {
        "private": given.get("visibility") == "private",
        "gated": given.get("gated", ""),
        "description": description,
        "discussions_disabled": "discussions" not in given,
    }


def _decide(request: HttpRequest, repository: Repository) -> AccessRequest:
    actor, given = actor_of(request), request.POST
    user = given.get("user", "").strip()
    if given.get("act") == "grant":
        return gating.grant_access(actor, repository, user)
    reason = given.get("reason", "").strip()
    return gating.decide_access(actor, repository, given.get("act", ""), username=user, reason=reason)
