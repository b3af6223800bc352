"""The gate of a repository: everybody may see that it is there, its files are for those who were let in."""

from models_registry.accounts.policies import Actor, can_read_files
from models_registry.errors import GatedRepo
from models_registry.repos.models import Repository

# What stays readable in front of a gate: the card says what the repository is and how to ask (hub-protocol §2.3).
OPEN_FILES = ("README.md",)


def require_files(actor: Actor, repository: Repository, hub: str, path: str | None = None) -> None:
    """Raises GatedRepo unless this actor may read the file at `path` (or, without one, any file) of a repository.

    Args:
        hub: the hub's address as the caller knows it (`hfapi.base.endpoint`), for the sentence.
    """
    if path in OPEN_FILES or can_read_files(actor, repository):
        return
    # The words are the protocol's: clients compare them (hub-protocol §1).
    raise GatedRepo(
        f"Access to {repository.kind.value} {repository.full_name} is restricted and you are not in the authorized "
        f"list. Visit {hub}/{repository.path} to ask for access.",
        status=401 if actor.is_anonymous else 403,
    )
