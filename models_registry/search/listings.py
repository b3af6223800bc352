"""Which repositories a caller sees in a listing, in which order."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from models_registry.accounts.policies import Actor, readable_by
from models_registry.errors import BadRequest
from models_registry.repos.models import Repository, RepositoryTag, RepoType

SORTS = {
    "": "-last_modified",
    "lastModified": "-last_modified",
    "last_modified": "-last_modified",
    "createdAt": "-created_at",
    "created_at": "-created_at",
    "downloads": "-downloads",
    "likes": "-likes",
    "trendingScore": "-downloads",
    "trending_score": "-downloads",
}
_MAX_WORDS = 20


@dataclass(frozen=True)
class Filters:
    """What a listing keeps. Every word of `search` and every tag must match."""

    search: tuple[str, ...] = ()
    author: str = ""
    tags: tuple[str, ...] = ()
    pipeline_tag: str = ""
    gated: bool | None = None
    sort: str = ""


def list_repositories(actor: Actor, kind: RepoType, filters: Filters) -> QuerySet[Repository]:
    """A lazy query, newest first unless `sort` says otherwise. Raises BadRequest for an unknown sort."""
    if filters.sort not in SORTS:
        known = ", ".join(key for key in SORTS if key)
        raise BadRequest(f"sort={filters.sort[:40]!r} is not known: use one of {known}.")
    if any("\0" in text for text in (*filters.search, filters.author, *filters.tags, filters.pipeline_tag)):
        raise BadRequest("A filter can not hold a NUL character.")
    rows = Repository.objects.filter(readable_by(actor), type=kind).select_related("namespace")
    if filters.author:
        rows = rows.filter(namespace__name__iexact=filters.author)
    for word in [word for text in filters.search for word in text.split()][:_MAX_WORDS]:
        tagged = Exists(RepositoryTag.objects.filter(repository=OuterRef("pk"), tag__iexact=word))
        rows = rows.filter(Q(full_name__icontains=word) | Q(summary__icontains=word) | tagged)
    for tag in filters.tags[:_MAX_WORDS]:
        rows = rows.filter(Exists(RepositoryTag.objects.filter(repository=OuterRef("pk"), tag=tag)))
    if filters.pipeline_tag:
        rows = rows.filter(pipeline_tag=filters.pipeline_tag)
    if filters.gated is not None:
        rows = rows.exclude(gated="") if filters.gated else rows.filter(gated="")
    return rows.order_by(SORTS[filters.sort], "-pk").prefetch_related("tag_rows")


def tags_by_type(actor: Actor, kind: RepoType) -> dict[str, list[dict[str, Any]]]:
    """Tags which are in use, grouped as the hub's clients expect."""
    readable = Repository.objects.filter(readable_by(actor), type=kind)
    rows = (
        RepositoryTag.objects.filter(repository__in=readable).values_list("tag").annotate(Count("pk")).order_by("tag")
    )
    groups: dict[str, list[dict[str, Any]]] = {}
    for tag, _count in rows:
        group, _, label = tag.partition(":") if ":" in tag else ("other", "", tag)
        groups.setdefault(group, []).append({"id": tag, "label": label, "type": group})
    return groups
