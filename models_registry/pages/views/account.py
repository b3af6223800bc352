"""Sign in and out, access tokens, a new repository."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import authenticate
from django.contrib.auth import login as begin_session
from django.contrib.auth import logout as end_session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.accounts.models import AccessToken, Membership, Role, User
from models_registry.accounts.tokens import create_token, revoke_token
from models_registry.errors import BadRequest, Forbidden, HubError
from models_registry.hfapi.base import endpoint
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.repos.models import RepoType
from models_registry.repos.services import create_repository

_KINDS = {"model": RepoType.MODEL, "dataset": RepoType.DATASET}
View = Callable[..., HttpResponse]


def signed_in(view: View) -> View:
    """For pages which act with a person's own rights: by a session, never by a token (which may be narrower)."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        actor = actor_of(request)
        if actor.token is not None:
            raise Forbidden("A token can not open this page: sign in with your password in a browser.")
        if actor.is_anonymous:
            return redirect(f"/login?{urlencode({'next': request.get_full_path()})}")
        return view(request, *args, **kwargs)

    return guarded


@never_cache
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Begin a session, then go on to where the person wanted to be, if that is a page of this hub."""
    after = _inside(request, request.POST.get("next") or request.GET.get("next") or "/")
    name, problem = request.POST.get("username", "").strip(), ""
    if request.method == "POST":
        # A NUL would be a database error on PostgreSQL.
        user = None if "\0" in name else authenticate(request, username=name, password=request.POST.get("password", ""))
        if user is not None:
            begin_session(request, user)
            return redirect(after)
        problem = "This name and password do not belong together: check both and try again."
    context = {"after": after, "name": name, "problem": problem}
    return render(request, "pages/login.html", context, status=401 if problem else 200)


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    end_session(request)
    return redirect("/")


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: HttpRequest) -> HttpResponse:
    """A person's access tokens. A new one's value is in this one answer and nowhere else."""
    user = _user(request)
    value, problem, name = "", "", request.POST.get("name", "").strip()
    if request.method == "POST":
        value, problem = _make_token(user, name, request.POST.get("role", "read"))
    context = {
        "tokens": AccessToken.objects.filter(user=user),
        "value": value,
        "problem": problem,
        "name": name if problem else "",
        "endpoint": endpoint(request),
    }
    return render(request, "pages/tokens.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def revoke(request: HttpRequest, token_id: int) -> HttpResponse:
    revoke_token(_user(request), token_id)
    messages.success(request, "The token is revoked: whoever used it is refused from now on.")
    return redirect("/settings/tokens")


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make a model or a dataset."""
    user = _user(request)
    given = request.POST if request.method == "POST" else request.GET
    kind, owner = given.get("type", "model"), given.get("owner", user.username)
    name, private, problem = given.get("name", "").strip(), bool(given.get("private")), ""
    if request.method == "POST":
        try:
            made = create_repository(actor_of(request), _kind(kind), name, owner, private=private)
            return redirect(repository_link(made))
        except HubError as error:
            problem = error.message
    context = {
        "kind": kind,
        "owner": owner,
        "owners": _owners(user),
        "name": name,
        "private": private,
        "problem": problem,
    }
    return render(request, "pages/new.html", context, status=400 if problem else 200)


def _make_token(user: User, name: str, role: str) -> tuple[str, str]:
    """(value, problem): one of them is empty."""
    if not name or "\0" in name:
        return "", "Give the token a name, so that you know it again."
    try:
        return create_token(user, name, role), ""
    except HubError as error:
        return "", error.message


def _kind(text: str) -> RepoType:
    if text not in _KINDS:
        raise BadRequest("A repository is a model or a dataset.")
    return _KINDS[text]


def _owners(user: User) -> list[str]:
    """The namespaces in which this person may create, their own first."""
    roles = (Role.CONTRIBUTOR, Role.WRITE, Role.ADMIN)
    rows = Membership.objects.filter(user=user, role__in=roles).order_by("namespace__name")
    return [user.username, *rows.values_list("namespace__name", flat=True)]


def _user(request: HttpRequest) -> User:
    user = actor_of(request).user
    if user is None:
        raise Forbidden("Sign in first.")
    return user


def _inside(request: HttpRequest, address: str) -> str:
    """The address when it leads to this hub, else its home: a link of somebody else's must not lead people away."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if safe else "/"
