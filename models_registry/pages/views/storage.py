"""What a repository and an owner keep, for people."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import person_of, signed_in
from models_registry.repos.models import RepoType
from models_registry.repos.services import find_namespace, find_repository
from models_registry.upkeep.usage import usage_of, usage_of_owner


@never_cache
@signed_in
@require_safe
def repository(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Bytes of a repository and its refs, what is shared told apart."""
    found = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    usage = usage_of(actor_of(request), found)
    context = frame(request, found, "settings") | {
        "usage": usage,
        "own_share": _share(usage.own_bytes, usage.stored_bytes),
    }
    return render(request, "pages/storage.html", context)


@never_cache
@signed_in
@require_safe
def owner(request: HttpRequest, name: str = "") -> HttpResponse:
    """Bytes and limits of an owner (without a name: of the reader), and the largest repositories."""
    found = find_namespace(name or person_of(request).username)
    usage = usage_of_owner(actor_of(request), found)
    quotas = [("Public", usage.public), ("Private", usage.private)]
    context = {
        "owner": found,
        "quotas": [(title, quota, _share(quota.used_bytes, quota.limit_bytes or 0)) for title, quota in quotas],
        "rows": [(row, repository_link(row)) for row in usage.repositories],
    }
    return render(request, "pages/owner_storage.html", context)


def _share(part: int, whole: int) -> float:
    """In percent, for the width of a bar."""
    return min(100.0, round(100 * part / whole, 1)) if whole else 0.0
