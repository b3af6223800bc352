"""Collections: the list, one with its items, making and changing them."""

from typing import Any
from urllib.parse import quote, urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_registry.accounts.models import Membership, Role
from models_registry.accounts.policies import can_edit_collection
from models_registry.community.collections import reading, services
from models_registry.community.collections.models import (
    DESCRIPTION_MAX,
    NOTE_MAX,
    TITLE_MAX,
    Collection,
    CollectionItem,
    Theme,
)
from models_registry.community.collections.notes import note_html
from models_registry.errors import BadRequest, HubError
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.pages.views.account import person_of, signed_in

_ROWS = 24
_SORTS = (("lastModified", "Newest changes"), ("upvotes", "Most upvotes"))
_LIMITS = {"title_max": TITLE_MAX, "description_max": DESCRIPTION_MAX, "note_max": NOTE_MAX}


def collection_link(collection: Collection) -> str:
    return "/collections/" + quote(collection.slug)


@require_safe
def collections(request: HttpRequest) -> HttpResponse:
    """Everybody's collections, or one owner's, or those which hold an item."""
    actor, query = actor_of(request), request.GET
    owner, item, sort = query.get("owner", "").strip(), query.get("item", ""), query.get("sort", "")
    found = reading.list_collections(actor, owner=owner, item=item, sort=sort)
    page = Paginator(found, _ROWS).get_page(query.get("page"))
    shown = list(page.object_list)
    items = reading.first_items(actor, shown)
    kept = urlencode([(key, query[key]) for key in ("owner", "item", "sort") if query.get(key)])
    context = {
        "page": page,
        "rows": [(row, collection_link(row), [_described(one) for one in items[row.pk]]) for row in shown],
        "owner": owner,
        "item": item,
        "sort": sort,
        "sorts": _SORTS,
        "kept": kept,
        "nav": "collections",
    }
    return render(request, "pages/collections.html", context)


@require_safe
def collection(request: HttpRequest, namespace: str, slug: str) -> HttpResponse:
    """One collection. A slug of an older title leads on to the one of now."""
    actor = actor_of(request)
    found = reading.find_collection(actor, f"{namespace}/{slug}")
    if found.slug != f"{namespace}/{slug}":
        return redirect(collection_link(found))
    items = [_described(item) for item in reading.items_of(actor, found)]
    for number, item in enumerate(items):
        item |= {"up": number - 1, "down": number + 1, "is_first": number == 0, "is_last": number == len(items) - 1}
    context = {
        "collection": found,
        "own": collection_link(found),
        "items": items,
        "may_edit": actor.token is None and can_edit_collection(actor, found),
        "upvoted": services.upvotes(actor, found),
        **_LIMITS,
    }
    return render(request, "pages/collection.html", context)


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Make a collection; from a repository's page, with that as its first item."""
    given = request.POST if request.method == "POST" else request.GET
    problem = ""
    if request.method == "POST":
        try:
            made = _make(request)
            return redirect(collection_link(made))
        except HubError as error:
            problem = error.message
    context = {
        "given": {key: given.get(key, "") for key in ("title", "description", "owner", "type", "id")},
        "private": bool(given.get("private")),
        "owners": _owners(request),
        "problem": problem,
        **_LIMITS,
    }
    return render(request, "pages/collection_new.html", context, status=400 if problem else 200)


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def add(request: HttpRequest) -> HttpResponse:
    """Put a repository (or a paper, or a collection) into one of one's collections."""
    actor = actor_of(request)
    given = request.POST if request.method == "POST" else request.GET
    what = reading.resolve_item(actor, given.get("type", ""), given.get("id", "").strip())
    problem = ""
    if request.method == "POST":
        try:
            chosen = reading.find_collection(actor, given.get("collection", ""))
            services.add_item(actor, chosen, what, given.get("note", "").strip())
            messages.success(request, "It is in the collection.")
            return redirect(collection_link(chosen))
        except HubError as error:
            problem = error.message
    context = {
        "what": what,
        "type": what.type.value,
        "id": given.get("id", "").strip(),
        "collections": list(reading.collections_to_edit(actor)[: services.MAX_COLLECTIONS]),
        "note": given.get("note", ""),
        "problem": problem,
        **_LIMITS,
    }
    return render(request, "pages/collection_add.html", context, status=400 if problem else 200)


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, namespace: str, slug: str) -> HttpResponse:
    """Title, description, theme, privacy and place of a collection."""
    actor = actor_of(request)
    found = reading.find_collection(actor, f"{namespace}/{slug}")
    services.require_edit(actor, found)
    problem = ""
    if request.method == "POST":
        given = request.POST
        try:
            services.update_collection(
                actor,
                found,
                title=given.get("title", ""),
                description=given.get("description", "").strip(),
                theme=given.get("theme", ""),
                private=bool(given.get("private")),
                position=max(0, _number(given.get("position", "1")) - 1),
            )
            messages.success(request, "The collection is changed.")
            return redirect(collection_link(found))
        except HubError as error:
            problem = error.message
    context = {
        "collection": found,
        "own": collection_link(found),
        "place": found.position + 1,
        "themes": Theme.values,
        "problem": problem,
        **_LIMITS,
    }
    return render(request, "pages/collection_edit.html", context, status=400 if problem else 200)


@signed_in
@require_POST
def delete(request: HttpRequest, namespace: str, slug: str) -> HttpResponse:
    actor = actor_of(request)
    found = reading.find_collection(actor, f"{namespace}/{slug}")
    services.delete_collection(actor, found)
    messages.success(request, f"The collection {found.title} is deleted.")
    return redirect(f"/collections?{urlencode({'owner': found.namespace.name})}")


@signed_in
@require_POST
def upvote(request: HttpRequest, namespace: str, slug: str) -> HttpResponse:
    actor = actor_of(request)
    found = reading.find_collection(actor, f"{namespace}/{slug}")
    services.upvote(actor, found, on=request.POST.get("upvoted") != "no")
    return redirect(collection_link(found))


@signed_in
@require_POST
def item(request: HttpRequest, namespace: str, slug: str, ident: str) -> HttpResponse:
    """What the buttons of an item do: move it, change its note, take it out."""
    actor = actor_of(request)
    found = reading.find_collection(actor, f"{namespace}/{slug}")
    given = request.POST
    try:
        if given.get("act") == "remove":
            services.remove_item(actor, found, ident)
        else:
            note, place = given.get("note"), given.get("position")
            position = None if place is None else _number(place)
            services.update_item(actor, found, ident, note=None if note is None else note.strip(), position=position)
    except BadRequest as error:
        messages.error(request, error.message)
    return redirect(f"{collection_link(found)}#items")


def _make(request: HttpRequest) -> Collection:
    actor, given = actor_of(request), request.POST
    first = reading.resolve_item(actor, given["type"], given.get("id", "")) if given.get("type") else None
    made = services.create_collection(
        actor,
        given.get("title", ""),
        given.get("owner") or None,
        description=given.get("description", "").strip(),
        private=bool(given.get("private")),
    )
    if first is not None:
        services.add_item(actor, made, first)
    return made


def _described(row: CollectionItem) -> dict[str, Any]:
    """An item as pages show it."""
    found: dict[str, Any] = {"row": row, "ident": f"{row.pk:024x}", "note": _safe(row.note)}
    if row.repository is not None:
        return found | {"name": row.repository.full_name, "link": repository_link(row.repository)}
    if row.target is not None:
        return found | {"name": row.target.title, "link": collection_link(row.target)}
    return found | {"name": f"arXiv:{row.paper}", "link": f"https://arxiv.org/abs/{row.paper}"}


def _safe(note: str) -> SafeString | str:
    return mark_safe(note_html(note)) if note else ""  # noqa: S308  cleaned by cards.markdown


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise BadRequest("A place is a whole number.")
    return int(text)


def _owners(request: HttpRequest) -> list[str]:
    """Where this person may make collections, their own namespace first."""
    user = person_of(request)
    roles = (Role.CONTRIBUTOR, Role.WRITE, Role.ADMIN)
    rows = Membership.objects.filter(user=user, role__in=roles).order_by("namespace__name")
    return [user.username, *rows.values_list("namespace__name", flat=True)]
