"""Home, the listings of models and datasets, and what one user or organisation has."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_registry.accounts.members import follow_counts, follows
from models_registry.accounts.policies import can_administer, can_follow, readable_by
from models_registry.community.collections.reading import list_collections
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.pages.sections import notes_of
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import find_namespace
from models_registry.search.extensions import Extension, extensions_of
from models_registry.search.facets import Facets, facets_of
from models_registry.search.listings import (
    MAX_COUNTED,
    Filters,
    count_repositories,
    find_repositories,
    read_amounts,
)

ROWS_A_PAGE = 30
_NEWEST = 6
_SHOWN_TAGS = 4
_SORTS = (
    ("", "Newest changes"),
    ("trendingScore", "Trending"),
    ("downloads", "Most downloads"),
    ("likes", "Most likes"),
    ("createdAt", "Newest"),
)
_SIZES = (
    ("", "Any size"),
    ("max:100M", "below 100M"),
    ("min:100M,max:1B", "100M to 1B"),
    ("min:1B,max:10B", "1B to 10B"),
    ("min:10B", "above 10B"),
)
_HIDDEN_COLUMNS = ("card", "file_facts", "description")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What this hub is, a search, and the newest of what it holds."""
    actor = actor_of(request)
    newest = {
        kind: find_repositories(actor, kind, Filters(), _NEWEST, defer=_HIDDEN_COLUMNS).rows
        for kind in (RepoType.MODEL, RepoType.DATASET)
    }
    context = {
        "models": describe(newest[RepoType.MODEL]),
        "datasets": describe(newest[RepoType.DATASET]),
        "host": request.build_absolute_uri("/").rstrip("/"),
    }
    return render(request, "pages/home.html", context)


@require_safe
def listing(request: HttpRequest, kind: RepoType) -> HttpResponse:
    """Repositories by words, author, tags, task and size: the same search as the API's; paged."""
    actor, query = actor_of(request), request.GET
    tags = tuple(dict.fromkeys(tag for tag in query.getlist("tag") if tag))
    size = query.get("size", "") if kind is RepoType.MODEL else ""
    extensions = extensions_of(kind)
    filters = Filters(
        search=(query.get("q", ""),),
        author=query.get("author", "").strip(),
        tags=tags,
        pipeline_tag=query.get("task", ""),
        parameters=read_amounts(size) if size else (None, None),
        extended=tuple((one.key, text) for one in extensions if (text := "".join(query.get(one.key, "").split()))),
        sort=query.get("sort", ""),
    )
    cursor = query.get("cursor", "")
    page = find_repositories(actor, kind, filters, ROWS_A_PAGE, cursor, _HIDDEN_COLUMNS)
    total = count_repositories(actor, kind, filters)
    context = {
        "kind": kind,
        "action": f"/{kind.plural}",
        "q": query.get("q", ""),
        "author": filters.author,
        "tags": tags,
        "task": filters.pipeline_tag,
        "sort": filters.sort,
        "sorts": _SORTS,
        "size": size,
        "sizes": _SIZES if kind is RepoType.MODEL else (),
        "filtered": bool(query.get("q") or filters.author or tags or filters.pipeline_tag or size or filters.extended),
        "total": min(total, MAX_COUNTED),
        "is_more": total > MAX_COUNTED,
        "rows": describe(page.rows),
        "extensions": _extensions(request, extensions, dict(filters.extended)),
        "chips": _chips(request, filters),
        "facets": _facets(request, facets_of(actor, kind, page.few), tags),
        "next": _link(request, cursor=page.next) if page.next else "",
        "first": _link(request) if cursor else "",
    }
    return render(request, "pages/listing.html", context)


@require_safe
def namespace(request: HttpRequest, namespace: str) -> HttpResponse:
    """A user's or an organisation's page."""
    owner = find_namespace(namespace)
    actor = actor_of(request)
    groups = []
    for kind, title in ((RepoType.MODEL, "Models"), (RepoType.DATASET, "Datasets")):
        filters = Filters(author=owner.name)
        rows = find_repositories(actor, kind, filters, ROWS_A_PAGE, defer=_HIDDEN_COLUMNS).rows
        total = count_repositories(actor, kind, filters) if len(rows) == ROWS_A_PAGE else len(rows)
        more = f"/{kind.plural}?{urlencode({'author': owner.name})}" if total > len(rows) else ""
        groups.append({"title": title, "kind": kind, "total": total, "more": more, "rows": describe(rows)})
    buckets = Repository.objects.filter(readable_by(actor), type=RepoType.BUCKET, namespace=owner)
    members = []
    if owner.is_organization:
        members = list(owner.memberships.select_related("user").order_by("user__username")[:100])
    followers, following = follow_counts(owner)
    context = {
        "owner": owner,
        "groups": groups,
        "buckets": list(buckets.order_by("-last_modified", "-pk")[:ROWS_A_PAGE]),
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
        known = {repository.pipeline_tag, repository.library_name}
        plain = [tag for tag in repository.tags if ":" not in tag and tag not in known]
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
    chips += [(f"{key} {text}", _link(request, **{key: ""})) for key, text in filters.extended]
    return chips


def _facets(request: HttpRequest, groups: list[Facets], chosen: Sequence[str]) -> list[dict[str, Any]]:
    """The tags of what is listed, in groups, as links which add them."""
    return [
        {
            "title": group.title,
            "tags": [
                {"label": label, "total": total, "link": _link(request, tag=[*chosen, tag])}
                for tag, label, total in group.tags
                if tag not in chosen
            ],
        }
        for group in groups
        if any(tag not in chosen for tag, _, _ in group.tags)
    ]


def _extensions(request: HttpRequest, found: Sequence[Extension], given: dict[str, str]) -> list[dict[str, Any]]:
    """Filters of other rooms: a field each, and its suggestions as links."""
    return [
        {
            "extension": one,
            "value": given.get(one.key, ""),
            "suggestions": [(words, _link(request, **{one.key: value})) for words, value in one.suggestions],
        }
        for one in found
    ]


def _link(request: HttpRequest, **changes: Any) -> str:
    """This listing with some of its parameters changed, from its first page on."""
    query = {key: values for key, values in request.GET.lists() if key not in ("page", "cursor")} | changes
    pairs = [
        (key, value)
        for key, values in query.items()
        for value in (values if isinstance(values, list) else [values])
        if value
    ]
    return f"{request.path}?{urlencode(pairs)}" if pairs else request.path
