"""Commits which the rows of this room name: garbage collection keeps them, so that a variant can be made again."""

from django.db.models import Q, QuerySet

from compression_service.variants.models import SourceModel, Variant
from models_registry.repos.models import Repository, RepoType


def pins(repository: Repository) -> set[str]:
    """The commits from which variants were made, those which hold them, and what calibrated them."""
    found = set(_useful().filter(repository=repository).values_list("commit", flat=True))
    found.update(Variant.objects.filter(source__repository=repository).values_list("commit", flat=True))
    if repository.kind is RepoType.DATASET:
        names = [repository.full_name, *repository.redirects.values_list("full_name", flat=True)]
        named = Q()
        for name in names:
            named |= Q(dataset__lower=name.lower())
        found.update(_useful().filter(named).values_list("dataset_commit", flat=True))
    return found


def _useful() -> QuerySet[SourceModel]:
    """Those from which something was made, or is being made."""
    return SourceModel.objects.filter(status__in=(SourceModel.Status.MAKING, SourceModel.Status.READY))
