"""Profiles, organisations with their members and roles, following."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_registry.accounts import members as acts
from models_registry.accounts.models import Namespace, Role
from models_registry.accounts.policies import can_administer, can_see_roles
from models_registry.accounts.services import find_organization
from models_registry.errors import HubError
from models_registry.pages.places import actor_of
from models_registry.pages.views.account import person_of, signed_in
from models_registry.repos.services import find_namespace

_MEMBERS_A_PAGE = 100
ROLES = {
    Role.READ: "reads the organisation's private repositories",
    Role.CONTRIBUTOR: "makes repositories, and may do everything with those they made",
    Role.WRITE: "makes, writes, moves and deletes all of its repositories",
    Role.ADMIN: "does all of that, and decides about members and the profile",
}


@never_cache
@require_safe
def members(request: HttpRequest, name: str) -> HttpResponse:
    """Who is in an organisation; its admins change roles here."""
    return _members_page(request, find_organization(name))


@signed_in
@require_POST
def set_member(request: HttpRequest, name: str) -> HttpResponse:
    """Add a member or change a role."""
    organization = find_organization(name)
    user, role = request.POST.get("user", "").strip(), request.POST.get("role", "")
    try:
        row = acts.set_member(actor_of(request), organization, user, role)
    except HubError as error:
        return _members_page(request, organization, problem=error.message, status=error.status, user=user)
    messages.success(request, f"{row.user.username} has the role {row.role}.")
    return redirect(_members_link(organization))


@signed_in
@require_POST
def remove_member(request: HttpRequest, name: str) -> HttpResponse:
    """Take a member out, or leave."""
    organization, user = find_organization(name), request.POST.get("user", "")
    try:
        acts.remove_member(actor_of(request), organization, user)
    except HubError as error:
        return _members_page(request, organization, problem=error.message, status=error.status)
    messages.success(request, f"{user} is no member of {organization.name} any more.")
    return redirect(_members_link(organization))


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def own_profile(request: HttpRequest) -> HttpResponse:
    """What one's own profile says."""
    return _profile(request, find_namespace(person_of(request).username))


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def organization_profile(request: HttpRequest, name: str) -> HttpResponse:
    """What an organisation's profile says."""
    return _profile(request, find_organization(name))


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new_organization(request: HttpRequest) -> HttpResponse:
    """Make an organisation; whoever makes it is its first admin."""
    name, full_name, problem = request.POST.get("name", "").strip(), request.POST.get("full_name", "").strip(), ""
    if request.method == "POST":
        try:
            made = acts.found_organization(actor_of(request), name, full_name)
            return redirect(_members_link(made))
        except HubError as error:
            problem = error.message
    context = {"name": name, "full_name": full_name, "problem": problem}
    return render(request, "pages/organization_new.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def follow(request: HttpRequest) -> HttpResponse:
    """Follow or unfollow a user or an organisation."""
    namespace = find_namespace(request.POST.get("name", ""))
    acts.set_follow(actor_of(request), namespace, follows=request.POST.get("follows") == "yes")
    return redirect(f"/{namespace.name}")


def _members_page(
    request: HttpRequest, organization: Namespace, *, problem: str = "", status: int = 200, user: str = ""
) -> HttpResponse:
    actor = actor_of(request)
    page = Paginator(acts.members_of(organization), _MEMBERS_A_PAGE).get_page(request.GET.get("page"))
    context: dict[str, Any] = {
        "owner": organization,
        "page": page,
        "roles": [(role.value, told) for role, told in ROLES.items()],
        "administers": can_administer(actor, organization),
        "sees_roles": can_see_roles(actor, organization),
        "problem": problem,
        "user_typed": user,
    }
    return render(request, "pages/members.html", context, status=status)


def _profile(request: HttpRequest, namespace: Namespace) -> HttpResponse:
    acts.require_administer(actor_of(request), namespace)
    full_name, details, problem, quiet = namespace.full_name, namespace.details, "", namespace.private_by_default
    if request.method == "POST":
        full_name, details = request.POST.get("full_name", ""), request.POST.get("details", "")
        quiet = "private_by_default" in request.POST
        try:
            acts.set_profile(
                actor_of(request), namespace, full_name=full_name, details=details, private_by_default=quiet
            )
            messages.success(request, "The profile is changed.")
            return redirect(f"/{namespace.name}")
        except HubError as error:
            problem = error.message
    context = {"owner": namespace, "full_name": full_name, "details": details, "problem": problem, "quiet": quiet}
    return render(request, "pages/profile.html", context, status=400 if problem else 200)


def _members_link(organization: Namespace) -> str:
    return f"/organizations/{organization.name}/members"
