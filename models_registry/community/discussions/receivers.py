"""A pull request's ref moved, by whatever way: note the commits which came, in the transaction which brought them."""

from typing import Any

from models_registry.accounts.models import User
from models_registry.community.discussions.models import Discussion, Kind
from models_registry.community.discussions.pulls import number_of
from models_registry.community.discussions.services import new_event
from models_registry.repos.merges import History
from models_registry.repos.models import Repository
from models_registry.repos.revisions import commit_at

MAX_NOTED = 100  # commits of one push


def on_revision_published(
    sender: object, *, repository: Repository, ref: str, oid: str, old_oid: str | None, **_: Any
) -> None:
    number = number_of(ref)
    if number is None:
        return
    pull = Discussion.objects.filter(repository=repository, number=number, is_pull_request=True).first()
    if pull is None:
        return
    pull.repository = repository
    new = commit_at(repository, oid)
    is_next = old_oid is None or new.parents[:1] == (old_oid,)
    commits = [new] if is_next or old_oid is None else History(repository).ahead(oid, old_oid)
    authors = {user.username: user for user in User.objects.filter(username__in={one.author for one in commits})}
    for commit in commits[-MAX_NOTED:]:
        data = {"subject": commit.title[:500], "oid": commit.oid}
        new_event(pull, authors.get(commit.author), Kind.COMMIT, data)
