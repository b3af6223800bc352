"""git pushes to `refs/pr/<number>`: by who opened the pull request, and by whoever may write."""

from collections.abc import Iterable

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_open_pull_request
from models_registry.community.discussions import pulls
from models_registry.community.discussions.models import Discussion, Offer, Status
from models_registry.community.discussions.offers import take_up
from models_registry.errors import Forbidden, RevisionNotFound
from models_registry.repos.models import Repository
from models_registry.repos.pushes import Update


class PullRequestRefs:
    """The keeper of `refs/pr/` (repos.pushes.RefKeeper)."""

    def opens_the_door(self, actor: Actor, repository: Repository) -> bool:
        if actor.user is None or repository.discussions_disabled or not can_open_pull_request(actor, repository):
            return False
        mine = Discussion.objects.filter(repository=repository, author=actor.user, is_pull_request=True)
        return mine.filter(status__in=(Status.OPEN, Status.DRAFT)).exists()

    def check(self, actor: Actor, repository: Repository, update: Update) -> None:
        number = pulls.number_of(update.ref)
        if number is None:
            raise RevisionNotFound(f"Invalid rev id: {update.ref[:100]} is no pull request.")
        pull = pulls.find_pull_request(repository, number)
        if update.new is None:
            raise Forbidden(f"Cannot delete {update.ref}: close pull request {number} instead.")
        pulls.require_push(actor, pull)

    def contents(self, actor: Actor, repository: Repository, names: Iterable[str]) -> dict[str, int]:
        rows = Offer.objects.filter(repository=repository, author=actor.user, blob__in=list(names))
        return dict(rows.values_list("blob_id", "blob__size_bytes"))

    def take_up(self, actor: Actor, repository: Repository, names: Iterable[str]) -> None:
        if actor.user is not None:
            take_up(repository, actor.user, names)


def commits_of_pulls(repository: Repository) -> set[str]:
    """What pull requests compare, also those which were closed: garbage collection keeps it."""
    rows = Discussion.objects.filter(repository=repository, is_pull_request=True)
    return {oid for row in rows.values_list("base_oid", "merge_oid") for oid in row if oid}
