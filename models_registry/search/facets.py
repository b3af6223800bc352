"""The tags to narrow a listing by, in groups, with how many repositories have each."""

from dataclasses import dataclass

from django.db.models import Count

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import readable_by
from models_registry.repos.models import RepositoryTag, RepoType
from models_registry.search.tag_uses import group_of, most_used

_TITLES = {
    "pipeline_tag": "Tasks",
    "task_categories": "Tasks",
    "library": "Libraries and formats",
    "format": "Formats",
    "sdk": "SDK",
    "language": "Languages",
    "license": "Licenses",
    "dataset": "Datasets",
    "base_model": "Base models",
    "other": "Other tags",
}
_LOOKED_AT = 400
_SHOWN = 10
_MOST_COUNTED = 500  # ids among which tags are counted row by row


@dataclass(frozen=True)
class Facets:
    """One group: its title, and (tag, label, how many have it), the most frequent first."""

    title: str
    tags: list[tuple[str, str, int]]


def facets_of(actor: Actor, kind: RepoType, among: list[int] | None) -> list[Facets]:
    """Among the repositories found, where they are few; else among all public ones, by counts which are kept."""
    used = most_used(kind, _LOOKED_AT)
    if among is not None and len(among) <= _MOST_COUNTED:
        groups = {tag: group for tag, group, _ in used}
        rows = RepositoryTag.objects.filter(readable_by(actor, "repository__"), repository__in=among)
        rows = rows.filter(repository__type=kind)
        counts = rows.values_list("tag").annotate(total=Count("pk", distinct=True)).order_by("-total", "tag")
        counted = counts.values_list("tag", "total")[:_LOOKED_AT]
        used = [(tag, groups[tag] if tag in groups else group_of(tag), total) for tag, total in counted]
        used = [row for row in used if row[0] in groups or ":" not in row[0]]
    found: dict[str, list[tuple[str, str, int]]] = {title: [] for title in _TITLES.values()}
    for tag, group, total in used:
        title = _TITLES.get(group)
        if title and len(found[title]) < _SHOWN and tag.count(":") < 2:
            found[title].append((tag, tag.partition(":")[2] if ":" in tag else tag, total))
    return [Facets(title, tags) for title, tags in found.items() if tags]
