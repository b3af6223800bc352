"""Home, the listings of models and datasets, and what one user or organisation has."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_registry.accounts.members import follow_counts, follows
from models_registry.accounts.policies import Actor, can_administer, can_follow, readable_by
from models_registry.community.collections.reading import list_collections
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.pages.sections import notes_of
from models_registry.repos.models import Repository, RepositoryTag, RepoType
from models_registry.repos.services import find_namespace
from models_registry.search.listings import Filters, list_repositories

ROWS_A_PAGE = 30
_NEWEST = 6
_SHOWN_TAGS = 4
_FACET_TAGS = 24
_SORTS = (
    ("last_modified", "Newest changes"),
    ("created_at", "Newest"),
    ("downloads", "Most downloads"),
    ("likes", "Most likes"),
)


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this hub is, a search, and the newest of what it holds."""
    actor = actor_of(request)
    newest = {
        kind: list(list_repositories(actor, kind, Filters())[:_NEWEST]) for kind in (RepoType.MODEL, RepoType.DATASET)
    }
    context = {
        "models": describe(newest[RepoType.MODEL]),
        "datasets": describe(newest[RepoType.DATASET]),
        "host": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "pages/home.html", context)


@require_safe
def listing(request: HttpRequest, kind: RepoType) -> HttpResponse:
    """Repositories by words, author, tags and task; paged."""
    actor, query = actor_of(request), request.GET
    tags = tuple(dict.fromkeys(tag for tag in query.getlist("tag") if tag))
    filters = Filters(
        search=(query.get("q", ""),),
        author=query.get("author", "").strip(),
        tags=tags,
        pipeline_tag=query.get("task", ""),
        sort=query.get("sort", ""),
    )
    page = Paginator(list_repositories(actor, kind, filters), ROWS_A_PAGE).get_page(query.get("page"))
    context = {
        "kind": kind,
        "action": f"/{kind.plural}",
        "q": query.get("q", ""),
        "author": filters.author,
        "tags": tags,
        "task": filters.pipeline_tag,
        "sort": filters.sort,
        "sorts": _SORTS,
        "filtered": bool(query.get("q") or filters.author or tags or filters.pipeline_tag),
        "page": page,
        "rows": describe(list(page.object_list)),
        "chips": _chips(request, filters),
        "facets": _facets(request, actor, kind, tags),
        "next": _link(request, page=page.next_page_number()) if page.has_next() else "",
        "previous": _link(request, page=page.previous_page_number()) if page.has_previous() else "",
    }
    return render(request, "pages/listing.html", context)


@require_safe
def namespace(request: HttpRequest, namespace: str) -> HttpResponse:
    """A user's or an organisation's page."""
    owner = find_namespace(namespace)
    actor = actor_of(request)
    groups = []
    for kind, title in ((RepoType.MODEL, "Models"), (RepoType.DATASET, "Datasets")):
        found = list_repositories(actor, kind, Filters(author=owner.name))
        page = Paginator(found, ROWS_A_PAGE).get_page(1)
        more = f"/{kind.plural}?{urlencode({'author': owner.name})}" if page.has_next() else ""
        groups.append({"title": title, "kind": kind, "total": page.paginator.count, "more": more})
        groups[-1]["rows"] = describe(list(page.object_list))
    members = []
    if owner.is_organization:
        members = list(owner.memberships.select_related("user").order_by("user__username")[:100])
    followers, following = follow_counts(owner)
    context = {
        "owner": owner,
        "groups": groups,
        "members": members,
        "followers": followers,
        "following": following,
        "may_follow": can_follow(actor) and actor.user != owner.user,
        "follows": follows(actor, owner),
        "collections": list(list_collections(actor, owner=owner.name)[: _NEWEST + 1]),
        "administers": can_administer(actor, owner),
    }
    return render(request, "pages/namespace.html", context)


def describe(repositories: Sequence[Repository]) -> list[dict[str, Any]]:
    """Repositories as listings show them: the row, its link, a few tags, and what other rooms say of it."""
    notes = notes_of(repositories)
    rows = []
    for repository in repositories:
        tags = sorted(
            {row.tag for row in repository.tag_rows.all()} - {repository.pipeline_tag, repository.library_name}
        )
        plain = [tag for tag in tags if ":" not in tag]
        rows.append(
            {
                "repository": repository,
                "link": repository_link(repository),
                "tags": plain[:_SHOWN_TAGS],
                "more_tags": max(0, len(plain) - _SHOWN_TAGS),
                "note": notes.get(repository.pk, ""),
            }
        )
    return rows


def _chips(request: HttpRequest, filters: Filters) -> list[tuple[str, str]]:
    """(words, link without it) of each filter which is on."""
    chips = [(tag, _link(request, tag=[t for t in filters.tags if t != tag])) for tag in filters.tags]
    if filters.pipeline_tag:
        chips.append((f"task: {filters.pipeline_tag}", _link(request, task="")))
    if filters.author:
        chips.append((f"by {filters.author}", _link(request, author="")))
    return chips


def _facets(request: HttpRequest, actor: Actor, kind: RepoType, chosen: Sequence[str]) -> list[dict[str, Any]]:
    """The tags which most repositories have, as links which add them."""
    readable = Repository.objects.filter(readable_by(actor), type=kind)
    rows = RepositoryTag.objects.filter(repository__in=readable).exclude(tag__in=chosen).values_list("tag")
    counted = rows.annotate(total=Count("pk")).order_by("-total", "tag")[:_FACET_TAGS]
    return [{"tag": tag, "total": total, "link": _link(request, tag=[*chosen, tag])} for tag, total in counted]


def _link(request: HttpRequest, **changes: Any) -> str:
    """This listing with some of its parameters changed, from its first page on."""
    query = {key: values for key, values in request.GET.lists() if key != "page"} | changes
    pairs = [
        (key, value)
        for key, values in query.items()
        for value in (values if isinstance(values, list) else [values])
        if value
    ]
    return f"{request.path}?{urlencode(pairs)}" if pairs else request.path
