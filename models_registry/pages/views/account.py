"""Sign in and out, a new repository."""

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import login as begin_session
from django.contrib.auth import logout as end_session
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.accounts.logins import check_password
from models_registry.accounts.models import Membership, Role, User
from models_registry.errors import BadRequest, Forbidden, HubError, TooManyRequests
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
    name, problem, status, headers = request.POST.get("username", "").strip(), "", 200, {}
    if request.method == "POST":
        try:
            user = check_password(request, name, request.POST.get("password", ""))
            if user is not None:
                begin_session(request, user)
                return redirect(after)
            problem, status = "This name and password do not belong together: check both and try again.", 401
        except TooManyRequests as error:
            problem, status, headers = error.message, error.status, error.headers
    answer = render(request, "pages/login.html", {"after": after, "name": name, "problem": problem}, status=status)
    for key, value in headers.items():
        answer[key] = value
    return answer


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    end_session(request)
    return redirect("/")


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make a model or a dataset."""
    user = person_of(request)
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
        "owners": owners_of(user),
        "name": name,
        "private": private,
        "problem": problem,
    }
    return render(request, "pages/new.html", context, status=400 if problem else 200)


def _kind(text: str) -> RepoType:
    if text not in _KINDS:
        raise BadRequest("A repository is a model or a dataset.")
    return _KINDS[text]


def namespaces_of(user: User) -> list[str]:
    """Where a person has a role, their own namespace first."""
    rows = Membership.objects.filter(user=user).order_by("namespace__name")
    return [user.username, *rows.values_list("namespace__name", flat=True)]


def owners_of(user: User) -> list[str]:
    """The namespaces in which this person may create, their own first."""
    roles = (Role.CONTRIBUTOR, Role.WRITE, Role.ADMIN)
    rows = Membership.objects.filter(user=user, role__in=roles).order_by("namespace__name")
    return [user.username, *rows.values_list("namespace__name", flat=True)]


def person_of(request: HttpRequest) -> User:
    user = actor_of(request).user
    if user is None:
        raise Forbidden("Sign in first.")
    return user


def _inside(request: HttpRequest, address: str) -> str:
    """The address when it leads to this hub, else its home: a link of somebody else's must not lead people away."""
    safe = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if safe else "/"
