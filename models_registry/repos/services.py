"""Acts on repositories: create, find, change, delete; branches and tags."""

import logging
from functools import cache, partial

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import Actor, can_create_in, can_read, can_write
from models_registry.accounts.services import check_name
from models_registry.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    RepoNotFound,
    RevisionNotFound,
    Unauthorized,
)
from models_registry.repos.attributes import default_attributes
from models_registry.repos.commits import ATTRIBUTES, AddFile, write_commit
from models_registry.repos.entries import list_entries
from models_registry.repos.events import (
    repository_created,
    repository_deleted,
    repository_settings_changed,
    revision_published,
)
from models_registry.repos.models import Ref, Repository, RepositoryBlob, RepoType
from models_registry.repos.paths import check_ref_part
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS, resolve_revision
from models_registry.storage.models import Blob

logger = logging.getLogger(__name__)


def find_repository(actor: Actor, kind: RepoType, full_name: str) -> Repository:
    """The repository, or RepoNotFound: a private one does not exist for those who may not see it."""
    found = (
        Repository.objects.select_related("namespace", "creator")
        .filter(type=kind, full_name__lower=full_name.lower())
        .first()
        if "\0" not in full_name
        else None
    )
    if found is None or not can_read(actor, found):
        # 401 is the protocol's way to say "it is not there, or sign in".
        raise RepoNotFound("Repository not found", status=401 if actor.is_anonymous else 404)
    return found


def require_write(actor: Actor, repository: Repository) -> None:
    if actor.is_anonymous:
        raise Unauthorized("Sign in or send a token with the role write.")
    if not can_write(actor, repository):
        raise Forbidden(
            f"You may not change {repository.full_name}: use a token with the role write of someone who may write."
        )


def create_repository(
    actor: Actor, kind: RepoType, name: str, owner: str | None = None, *, private: bool = False
) -> Repository:
    """Make a repository with its first commit. Raises Unauthorized, Forbidden, BadRequest, Conflict."""
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to create a repository.")
    namespace = Namespace.objects.filter(name__lower=(owner or actor.user.username).lower()).first()
    if namespace is None or not can_create_in(actor, namespace):
        raise Forbidden(
            f"You don't have the rights to create a {kind.value} under the namespace {owner or actor.name!r}."
        )
    check_name(name, "repository")
    full_name = f"{namespace.name}/{name}"
    with transaction.atomic():
        try:
            with transaction.atomic():
                repository = Repository.objects.create(
                    type=kind,
                    namespace=namespace,
                    name=name,
                    full_name=full_name,
                    private=private,
                    creator=actor.user,
                    last_modified=timezone.now(),
                )
        except IntegrityError as error:
            raise Conflict(f"You already created this {kind.value} repo: {full_name}", {"name": full_name}) from error
        write_commit(
            repository,
            HEADS + DEFAULT_BRANCH,
            [AddFile(ATTRIBUTES, default_attributes(kind))],
            "initial commit",
            author=actor.user.username,
            create=True,
        )
        repository_created.send(Repository, repository=repository, actor=actor)
    logger.info("created %s (%s) by %s", repository.path, "private" if private else "public", actor.name)
    return repository


def delete_repository(actor: Actor, repository: Repository) -> None:
    """Remove a repository and its history. Contents which nobody names any more are left to garbage collection."""
    require_write(actor, repository)
    with transaction.atomic():
        repository_deleted.send(Repository, repository=repository, actor=actor)
        repository.delete()
    logger.info("deleted %s by %s", repository.path, actor.name)


def set_visibility(actor: Actor, repository: Repository, *, private: bool) -> None:
    require_write(actor, repository)
    changes = {"private": repository.private}
    with transaction.atomic():
        Repository.objects.filter(pk=repository.pk).update(private=private)
        repository.private = private
        repository_settings_changed.send(Repository, repository=repository, changes=changes, actor=actor)
    logger.info("%s is now %s, by %s", repository.path, "private" if private else "public", actor.name)


def create_branch(
    actor: Actor, repository: Repository, name: str, start: str | None = None, *, overwrite: bool = False
) -> None:
    require_write(actor, repository)
    check_ref_part(name, "branch")
    oid = resolve_revision(actor, repository, start or DEFAULT_BRANCH)
    _create_ref(repository, HEADS + name, oid, overwrite=overwrite)


def delete_branch(actor: Actor, repository: Repository, name: str) -> None:
    require_write(actor, repository)
    if name == DEFAULT_BRANCH:
        raise Forbidden(f"Cannot delete {HEADS}{DEFAULT_BRANCH}: it is the default branch.")
    if not Ref.objects.filter(repository=repository, name=HEADS + name).delete()[0]:
        raise RevisionNotFound(f"Invalid rev id: {name[:200]}")


def create_tag(actor: Actor, repository: Repository, name: str, revision: str) -> None:
    require_write(actor, repository)
    oid = resolve_revision(actor, repository, revision)
    check_ref_part(name, "tag")
    _create_ref(repository, TAGS + name, oid, overwrite=False)


def delete_tag(actor: Actor, repository: Repository, name: str) -> None:
    require_write(actor, repository)
    if not Ref.objects.filter(repository=repository, name=TAGS + name).delete()[0]:
        raise RevisionNotFound(f"Invalid rev id: there is no tag {name[:200]!r}.")


def grant_blob(repository: Repository, blob: Blob) -> None:
    """Whoever sent the bytes to this repository may commit them there."""
    with transaction.atomic():
        _, is_new = RepositoryBlob.objects.get_or_create(repository=repository, blob=blob)
        if is_new:
            grown = F("used_storage_bytes") + blob.size_bytes
            Repository.objects.filter(pk=repository.pk).update(used_storage_bytes=grown)


def find_namespace(name: str) -> Namespace:
    found = Namespace.objects.select_related("user").filter(name__lower=name.lower()).first()
    if found is None:
        raise NotFound(f"There is no user or organisation {name[:100]!r}.")
    return found


def _create_ref(repository: Repository, ref: str, oid: str, *, overwrite: bool) -> None:
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        row = Ref.objects.filter(repository=repository, name=ref).first()
        if row and not overwrite:
            raise Conflict(f"Reference {ref} already exists")
        if row:
            Ref.objects.filter(pk=row.pk).update(oid=oid)
        else:
            if len(ref) > 255:
                raise BadRequest("The name is longer than 255 characters.")
            Ref.objects.create(repository=repository, name=ref, oid=oid)
        entries = cache(partial(list_entries, repository, oid, recursive=True))
        revision_published.send(
            Repository, repository=repository, ref=ref, oid=oid, old_oid=row.oid if row else None, entries=entries
        )
