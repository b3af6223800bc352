"""The like button, who likes a repository, what a user likes."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from models_registry.accounts.services import find_user
from models_registry.community.likes import services
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of, frame
from models_registry.pages.views.account import signed_in
from models_registry.repos.models import RepoType
from models_registry.repos.services import find_repository

_ROWS = 60


@signed_in
@require_POST
def like(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """The button: `liked` says how it is to be."""
    actor = actor_of(request)
    repository = find_repository(actor, kind, f"{namespace}/{name}")
    if request.POST.get("liked") == "no":
        services.unlike(actor, repository)
    else:
        services.like(actor, repository)
    return redirect(repository_link(repository))


@require_safe
def likers(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    page = Paginator(services.likers_of(repository), _ROWS).get_page(request.GET.get("page"))
    return render(request, "pages/likers.html", frame(request, repository, "likers") | {"people": page})


@require_safe
def liked(request: HttpRequest, username: str) -> HttpResponse:
    """What a user likes, as far as the visitor may see it."""
    user = find_user(username)
    page = Paginator(services.likes_of(actor_of(request), user), _ROWS).get_page(request.GET.get("page"))
    rows = [(row, repository_link(row.repository)) for row in page.object_list]
    return render(request, "pages/liked.html", {"person": user, "page": page, "rows": rows})
