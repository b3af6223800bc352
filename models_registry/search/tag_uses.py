"""How often each tag is used by public repositories: kept where tags change."""

from collections.abc import Iterable

from django.db import transaction
from django.db.models import F

from models_registry.repos.models import Repository, RepositoryTag, RepoType
from models_registry.search.models import TagUse

MAX_LISTED = 5000


def replace(repository: Repository, shown: dict[str, str], hidden: Iterable[str]) -> None:
    """Give a repository these tags (`shown`: {tag: group}) and no others. Inside a transaction."""
    before = set(RepositoryTag.objects.filter(repository=repository).values_list("tag", flat=True))
    after = {*shown, *hidden}
    if before == after and list(shown) == repository.tags:
        return
    gone, fresh = before - after, after - before
    if gone:
        RepositoryTag.objects.filter(repository=repository, tag__in=gone).delete()
    RepositoryTag.objects.bulk_create([RepositoryTag(repository=repository, tag=tag) for tag in sorted(fresh)])
    old = set(repository.tags)
    repository.tags = list(shown)
    Repository.objects.filter(pk=repository.pk).update(tags=repository.tags)
    if not repository.private:
        _count(repository, set(shown) - old, 1, shown)
        _count(repository, old - set(shown), -1, {})


def visibility_changed(repository: Repository) -> None:
    """Tags of private repositories are not counted: nobody shall learn of them."""
    _count(repository, repository.tags, -1 if repository.private else 1, {})


def forget(repository: Repository) -> None:
    if not repository.private:
        _count(repository, repository.tags, -1, {})


def _count(repository: Repository, tags: Iterable[str], step: int, groups: dict[str, str]) -> None:
    wanted = sorted(tags)
    if not wanted:
        return
    rows = TagUse.objects.filter(type=repository.type, tag__in=wanted)
    with transaction.atomic():
        if step > 0:
            fresh = [
                TagUse(type=repository.type, tag=tag, group=groups.get(tag) or group_of(tag), uses=0) for tag in wanted
            ]
            TagUse.objects.bulk_create(fresh, ignore_conflicts=True)
        # Locked in one order by everybody, so that two commits never wait for each other.
        pks = list(rows.select_for_update().order_by("tag").values_list("pk", flat=True))
        TagUse.objects.filter(pk__in=pks, uses__gte=max(0, -step)).update(uses=F("uses") + step)


def group_of(tag: str) -> str:
    """The group of a tag which nobody named one for."""
    group, colon, _ = tag.partition(":")
    return group[:40] if colon else "other"


def tags_by_type(kind: RepoType) -> dict[str, list[dict[str, str]]]:
    """`{group: [{"id", "label", "type"}]}`, the most used first; at most 5,000 tags of public repositories."""
    rows = TagUse.objects.filter(type=kind, uses__gt=0).order_by("-uses", "tag")
    groups: dict[str, list[dict[str, str]]] = {}
    for tag, group in rows.values_list("tag", "group")[:MAX_LISTED]:
        label = tag.partition(":")[2] if ":" in tag else tag
        groups.setdefault(group, []).append({"id": tag, "label": label, "type": group})
    return groups


def most_used(kind: RepoType, most: int) -> list[tuple[str, str, int]]:
    """(tag, group, uses) of the tags which most public repositories have."""
    rows = TagUse.objects.filter(type=kind, uses__gt=0).order_by("-uses", "tag")
    return list(rows.values_list("tag", "group", "uses")[:most])
