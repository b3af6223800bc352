"""A person's access tokens: make (read, write, fine-grained), give a new value, revoke."""

from datetime import UTC, datetime, time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_date
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.accounts import tokens as acts
from models_registry.accounts.models import AccessToken, User
from models_registry.accounts.rights import DESCRIPTIONS, OF_A_NAMESPACE, OF_A_REPOSITORY
from models_registry.errors import BadRequest, HubError
from models_registry.hfapi.base import endpoint
from models_registry.pages.views.account import namespaces_of, person_of, signed_in

_RIGHTS = [(right.value, DESCRIPTIONS[right], right in OF_A_REPOSITORY) for right in OF_A_NAMESPACE]


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """The list. A new token's value is in this one answer and nowhere else."""
    value, problem = "", ""
    if request.method == "POST":
        try:
            value = _make(person_of(request), request)
        except HubError as error:
            problem = error.message
    return _page(request, value=value, problem=problem, form=request.POST if problem else {})


@never_cache
@signed_in
@require_POST
def renew(request: HttpRequest, token_id: int) -> HttpResponse:
    """A new value for a token; the one before is refused from now on."""
    return _page(request, value=acts.renew_token(person_of(request), token_id))


@signed_in
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    acts.revoke_token(person_of(request), token_id)
    messages.success(request, "The token is revoked: whoever used it is refused from now on.")
    return redirect("/settings/tokens")


def _page(request: HttpRequest, *, value: str = "", problem: str = "", form: Any = None) -> HttpResponse:
    user, form = person_of(request), form or {}
    context = {
        "tokens": [(token, _told(token)) for token in acts.tokens_of(user)],
        "value": value,
        "problem": problem,
        "form": form,
        "role": form.get("role", "read"),
        "chosen": form.getlist("right") if hasattr(form, "getlist") else [],
        "places_chosen": form.getlist("namespace") if hasattr(form, "getlist") else [],
        "namespaces": namespaces_of(user),
        "rights": _RIGHTS,
        "endpoint": endpoint(request),
    }
    return render(request, "pages/tokens.html", context, status=400 if problem else 200)


def _make(user: User, request: HttpRequest) -> str:
    form, name = request.POST, request.POST.get("name", "").strip()
    if not name or "\0" in name:
        raise BadRequest("Give the token a name, so that you know it again.")
    role, asked = form.get("role", "read"), None
    if role == "fineGrained":
        rights = ",".join(form.getlist("right"))
        places = [*form.getlist("namespace"), *form.get("repositories", "").split()]
        scopes = [acts.scope_of_text(user, f"{place}:{_possible(place, rights)}") for place in places if rights]
        if not scopes and not form.get("discuss") and not form.get("gated"):
            raise BadRequest("Choose where the token holds, and what it may do there.")
        anywhere = ["discussion.write"] if form.get("discuss") else []
        asked = acts.FineGrained(scopes, anywhere, bool(form.get("gated")))
    return acts.create_token(user, name, role, fine_grained=asked, expires_at=_end(form.get("expires", "")))


def _possible(place: str, rights: str) -> str:
    """On one repository, only the rights which a repository has: the form asks once for all places."""
    if "/" not in place:
        return rights
    return ",".join(right for right in rights.split(",") if right in OF_A_REPOSITORY)


def _end(text: str) -> datetime | None:
    """The end of the day which was chosen."""
    if not text.strip():
        return None
    try:
        day = parse_date(text.strip())
    except ValueError:
        day = None
    if day is None:
        raise BadRequest("The end of a token is a date, such as 2027-01-31.")
    return datetime.combine(day, time.max, UTC)


def _told(token: AccessToken) -> list[str]:
    """What a fine-grained token may, one line a scope."""
    places = [
        f"{row.namespace or (row.repository and row.repository.path)}: {', '.join(row.rights)}"
        for row in token.scope_rows.all()
    ]
    if token.global_rights:
        places.append(f"everywhere: {', '.join(token.global_rights)}")
    return [*places, "public gated repositories: read"] if token.can_read_gated else places
