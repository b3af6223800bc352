"""How much a namespace may keep, public and private repositories apart; asked before bytes come, held when granted.

What counts is what its repositories hold (`used_storage_bytes`): a content which two of them hold counts twice, whoever
else keeps it, so that nobody's figure depends on what others delete. Small files in git itself do not count.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db.models import Sum

from models_registry.accounts.models import Namespace
from models_registry.errors import QuotaExceeded
from models_registry.repos.models import Repository

GB = 1000**3


@dataclass(frozen=True)
class Quota:
    """Of the public or the private repositories of a namespace. `limit_bytes` None: no limit."""

    used_bytes: int
    limit_bytes: int | None

    @property
    def missing_bytes(self) -> int:
        """How far it is exceeded."""
        return max(0, self.used_bytes - self.limit_bytes) if self.limit_bytes is not None else 0


def limit_of(namespace: Namespace, *, private: bool) -> int | None:
    """The namespace's own limit, else the hub's for everybody. Bytes."""
    own = namespace.private_quota_bytes if private else namespace.public_quota_bytes
    common_gb = settings.QUOTA_PRIVATE_GB if private else settings.QUOTA_PUBLIC_GB
    return own if own is not None else int(common_gb * GB) if common_gb else None


def quota_of(namespace: Namespace, *, private: bool) -> Quota:
    rows = Repository.objects.filter(namespace=namespace, private=private)
    used = rows.aggregate(used=Sum("used_storage_bytes"))["used"] or 0
    return Quota(used, limit_of(namespace, private=private))


def require_room(repository: Repository, more_bytes: int) -> None:
    """Raises QuotaExceeded, with the figure that is missing, unless so much fits into the repository's namespace."""
    require_room_in(repository.namespace, more_bytes, private=repository.private)


def hold_to_limit(repository: Repository, more_bytes: int) -> None:
    """Ask again in the transaction in which the repository's use has just grown by so much: QuotaExceeded undoes it.

    What was asked before the bytes came is old: others may have filled the room. Here the owner's row is held, so of
    several who take the last room at once only those succeed for whom it is enough. The repository's row is locked
    before (it was written to), the owner's after it, by everybody.
    """
    limits = (limit_of(repository.namespace, private=private) for private in (True, False))
    if more_bytes <= 0 or all(limit is None for limit in limits):
        return
    row = Repository.objects.only("namespace_id", "private").get(pk=repository.pk)  # it may have been moved meanwhile
    namespace = Namespace.objects.select_for_update().get(pk=row.namespace_id)
    _require(namespace, quota_of(namespace, private=row.private).used_bytes - more_bytes, more_bytes, row.private)


def require_room_in(namespace: Namespace, more_bytes: int, *, private: bool) -> None:
    """The same for what is about to be made, moved or made private there."""
    if limit_of(namespace, private=private) is not None and more_bytes > 0:
        _require(namespace, quota_of(namespace, private=private).used_bytes, more_bytes, private)


def _require(namespace: Namespace, used: int, more_bytes: int, private: bool) -> None:
    limit = limit_of(namespace, private=private)
    if limit is None:
        return
    missing = used + more_bytes - limit
    if missing > 0:
        kind = "private" if private else "public"
        raise QuotaExceeded(
            f"{namespace.name} keeps {used:,} of {limit:,} bytes in {kind} repositories, and this needs {more_bytes:,} "
            f"more: {missing:,} bytes are missing. Delete files for good, or ask the hub's administrator for room.",
            missing,
        )
