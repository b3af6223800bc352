"""Names which repositories had before they were moved. Each leads to its repository until somebody takes the name."""

from django.db.models import QuerySet

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import can_take_name
from models_registry.errors import Forbidden
from models_registry.repos.models import Repository, RepositoryRedirect, RepoType


def repository_once_named(kind: RepoType, full_name: str) -> Repository | None:
    """The repository which had this name, in any case, or None. It does not ask who may know of it."""
    if "\0" in full_name:
        return None
    row = _rows(kind, full_name).select_related("repository__namespace", "repository__creator").first()
    return row.repository if row else None


def take_name(actor: Actor, namespace: Namespace, kind: RepoType, full_name: str, own: int | None = None) -> None:
    """End the redirect of a name, as a repository takes it. Call it inside the transaction in which it is taken.

    Args:
        own: the primary key of the repository which takes the name, when it may have had the name itself.

    Raises Forbidden: the name leads to a repository of others, and this actor may not redirect their readers.
    """
    row = _rows(kind, full_name).select_related("repository__namespace").first()
    if row is None:
        return
    if row.repository_id != own and not can_take_name(actor, namespace, row.repository):
        raise Forbidden(
            f"{full_name} leads to a repository which was moved: choose another name, or ask an admin of "
            f"{namespace.name} to take this one."
        )
    row.delete()


def keep_name(repository: Repository, full_name: str) -> None:
    """From now on this name, which no repository has, leads to `repository`."""
    _rows(repository.kind, full_name).delete()
    RepositoryRedirect.objects.create(type=repository.type, full_name=full_name, repository=repository)


def _rows(kind: RepoType, full_name: str) -> QuerySet[RepositoryRedirect]:
    return RepositoryRedirect.objects.filter(type=kind, full_name__lower=full_name.lower())
