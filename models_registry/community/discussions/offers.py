"""Contents sent for a pull request by people who may not write to the repository.

What they send is known to the repository only once a pull request of theirs names it; until then it is theirs alone.
"""

from collections.abc import Iterable

from django.db.models import Sum

from models_registry.accounts.models import User
from models_registry.community.discussions.models import Offer
from models_registry.errors import Forbidden
from models_registry.repos.models import Repository
from models_registry.repos.services import grant_blob
from models_registry.storage.models import Blob
from models_registry.xet.holding import hold_xorbs

MAX_WAITING_BYTES = 100 * 1024**3  # of one person, over all repositories


def offer_blob(repository: Repository, author_id: int, blob: Blob) -> None:
    """Raises Forbidden when the person is gone, or has offered more than anybody's pull requests need."""
    if not User.objects.filter(pk=author_id, is_active=True).exists():
        raise Forbidden("The account which sends this is gone.")
    waiting = Offer.objects.filter(author=author_id).aggregate(size=Sum("blob__size_bytes"))["size"] or 0
    if waiting > MAX_WAITING_BYTES:
        raise Forbidden(
            f"You have sent {waiting:,} bytes which none of your pull requests names: commit them before you send more."
        )
    Offer.objects.get_or_create(repository=repository, author_id=author_id, blob=blob)


def offered(repository: Repository, author: User, names: Iterable[str]) -> set[str]:
    """Which of these SHA-256 this person has offered to this repository."""
    rows = Offer.objects.filter(repository=repository, author=author, blob__in=list(names))
    return set(rows.values_list("blob_id", flat=True))


def take_up(repository: Repository, author: User, names: Iterable[str]) -> None:
    """Let the repository hold what its author offered, because a commit which everyone may read will name it."""
    found = offered(repository, author, names)
    if not found:
        return
    for blob in Blob.objects.filter(pk__in=found):
        grant_blob(repository, blob)
    hold_xorbs(repository, found)
    Offer.objects.filter(repository=repository, author=author, blob__in=found).delete()
