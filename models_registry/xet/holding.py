"""Which repositories hold which xorbs: whoever may read such a repository may build new files on them."""

from collections.abc import Iterable

from models_registry.repos.models import Repository
from models_registry.xet.models import XorbHolder, XorbUse


def hold_xorbs(repository: Repository, sha256s: Iterable[str]) -> None:
    """A repository which came by these contents without their being sent holds the xorbs of which they are made."""
    xorbs = XorbUse.objects.filter(file__sha256__in=list(sha256s)).values_list("xorb_id", flat=True).distinct()
    rows = [XorbHolder(repository=repository, xorb_id=name) for name in sorted(xorbs)]
    XorbHolder.objects.bulk_create(rows, ignore_conflicts=True)
