"""The act of renaming a repository, or of handing it to another namespace. Its old names go on to lead to it."""

import logging

from django.db import IntegrityError, transaction

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import can_create_in
from models_registry.accounts.services import check_name
from models_registry.errors import BadRequest, Conflict, Forbidden
from models_registry.repos.events import repository_moved
from models_registry.repos.models import Repository
from models_registry.repos.quotas import hold_to_limit
from models_registry.repos.redirects import keep_name, take_name
from models_registry.repos.services import namespace_named, require_manage

logger = logging.getLogger(__name__)


def move_repository(actor: Actor, repository: Repository, to: str) -> Repository:
    """Give a repository the name `to` (`namespace/name`). Refs, contents, tokens' rights and jobs go on.

    Raises:
        Unauthorized, Forbidden: the actor may not change it, or may not create in the other namespace.
        BadRequest: `to` is no name. Conflict: `to` is taken, or the repository was moved a moment ago.
    """
    require_manage(actor, repository)
    owner, slash, name = to.partition("/")
    if not slash:
        raise BadRequest(f"{to[:200]!r} is no name of a repository: write namespace/name.")
    check_name(name, "repository")
    namespace = namespace_named(owner)
    if namespace is None or not can_create_in(actor, namespace):
        raise Forbidden(f"You don't have the rights to move a {repository.kind.value} into the namespace {owner!r}.")
    old, new = repository.full_name, f"{namespace.name}/{name}"
    if old == new:
        raise _taken(repository, new)
    with transaction.atomic():
        # The same lock which commits take: a commit lands before or after, under one name or the other.
        locked = Repository.objects.select_for_update(of=("self",)).select_related("namespace").get(pk=repository.pk)
        if locked.full_name != old:
            raise Conflict(f"{old} was moved to {locked.full_name} a moment ago: look again.")
        left = locked.namespace
        _rename(locked, namespace, name, new)
        if left.pk != namespace.pk:
            hold_to_limit(locked, locked.used_storage_bytes)
        take_name(actor, namespace, locked.kind, new, own=locked.pk)
        if old.lower() != new.lower():
            keep_name(locked, old)
        repository_moved.send(Repository, repository=locked, old_full_name=old, old_namespace=left, actor=actor)
    logger.info("moved %s from %s by %s", locked.path, old, actor.name)
    return locked


def _rename(repository: Repository, namespace: Namespace, name: str, full_name: str) -> None:
    repository.namespace, repository.name, repository.full_name = namespace, name, full_name
    try:
        with transaction.atomic():
            repository.save(update_fields=["namespace", "name", "full_name"])
    except IntegrityError as error:
        raise _taken(repository, full_name) from error


def _taken(repository: Repository, full_name: str) -> Conflict:
    # Clients compare these words (hub-protocol §2.2).
    return Conflict(f"A {repository.kind.value} repository called {full_name} already exists")
