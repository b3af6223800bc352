"""Acts on repositories: create, find, change, delete; branches and tags."""

import hashlib
import json
import logging
from collections.abc import Sequence

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import can_create_in, can_manage, can_read, can_write
from models_registry.accounts.services import check_name
from models_registry.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    RepoMoved,
    RepoNotFound,
    RevisionNotFound,
    Unauthorized,
)
from models_registry.repos.attributes import default_attributes
from models_registry.repos.commits import ATTRIBUTES, AddFile, write_commit
from models_registry.repos.events import (
    repository_created,
    repository_deleted,
    repository_settings_changed,
    revision_published,
)
from models_registry.repos.git_objects import pointer_text
from models_registry.repos.models import Gate, GitObject, Ref, Repository, RepositoryBlob, RepoType
from models_registry.repos.paths import check_ref_part
from models_registry.repos.quotas import hold_to_limit
from models_registry.repos.redirects import repository_once_named, take_name
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS, resolve_revision
from models_registry.storage.models import Blob

logger = logging.getLogger(__name__)
# This hub keeps a space's files and runs nothing, whatever its sdk.
SPACE_SDKS = ("gradio", "streamlit", "docker", "static")


def repository_named(kind: RepoType, full_name: str) -> Repository | None:
    """The repository of this name, or which had it once, whoever may see it: for acts which ask the policy after."""
    return _named(kind, full_name) or repository_once_named(kind, full_name)


def find_repository(actor: Actor, kind: RepoType, full_name: str, *, follow: bool = False) -> Repository:
    """The repository, or RepoNotFound: a private one does not exist for those who may not see it.

    A name which it had once raises RepoMoved, which becomes a redirect of the whole request; with `follow` (for names
    which do not stand in the URL) the repository is returned.
    """
    found = _named(kind, full_name)
    if found is None:
        moved = repository_once_named(kind, full_name)
        if moved is not None and can_read(actor, moved):
            if not follow:
                raise RepoMoved(full_name, moved.full_name)
            return moved
        if moved is None:  # between the two looks it may have been moved back to this name
            found = _named(kind, full_name)
    if found is None or not can_read(actor, found):
        # 401 is the protocol's way to say "it is not there, or sign in".
        raise RepoNotFound("Repository not found", status=401 if actor.is_anonymous else 404)
    return found


def _named(kind: RepoType, full_name: str) -> Repository | None:
    if "\0" in full_name:
        return None
    rows = Repository.objects.select_related("namespace", "creator")
    return rows.filter(type=kind, full_name__lower=full_name.lower()).first()


def namespace_named(name: str) -> Namespace | None:
    return Namespace.objects.filter(name__lower=name.lower()).first() if "\0" not in name else None


def require_write(actor: Actor, repository: Repository) -> None:
    if actor.is_anonymous:
        raise Unauthorized("Sign in or send a token with the role write.")
    if not can_write(actor, repository):
        raise Forbidden(
            f"You may not change {repository.full_name}: use a token with the role write of someone who may write."
        )


def require_manage(actor: Actor, repository: Repository) -> None:
    """For settings, moves, deletion and access requests."""
    if actor.is_anonymous:
        raise Unauthorized("Sign in or send a token with the role write.")
    if not can_manage(actor, repository):
        raise Forbidden(
            f"You may not manage {repository.full_name}: use a token with the role write of someone who may."
        )


def create_repository(
    actor: Actor,
    kind: RepoType,
    name: str,
    owner: str | None = None,
    *,
    private: bool | None = None,
    sdk: str = "",
    files: Sequence[AddFile] = (),
) -> Repository:
    """Make a repository with its first commit, which holds `.gitattributes`, a space's card, and `files`.

    Args:
        private: None takes what its namespace has as default.
        sdk: of a space, one of SPACE_SDKS.

    Raises Unauthorized, Forbidden, BadRequest, Conflict (whose body names the repository which is there).
    """
    namespace = namespace_to_create_in(actor, kind, owner)
    if kind is RepoType.SPACE and sdk not in SPACE_SDKS:
        raise BadRequest(f"A space needs an sdk: one of {', '.join(SPACE_SDKS)}.")
    check_name(name, "repository")
    with transaction.atomic():
        repository = insert_repository(
            actor,
            namespace,
            Repository(
                type=kind,
                name=name,
                private=namespace.private_by_default if private is None else private,
                sdk=sdk if kind is RepoType.SPACE else "",
            ),
        )
        write_commit(
            repository,
            HEADS + DEFAULT_BRANCH,
            [AddFile(ATTRIBUTES, default_attributes(kind)), *_space_card(repository, files), *files],
            "initial commit",
            author=actor.name,
            create=True,
        )
        repository_created.send(Repository, repository=repository, actor=actor)
    logger.info("created %s (%s) by %s", repository.path, "private" if repository.private else "public", actor.name)
    return repository


def _space_card(repository: Repository, files: Sequence[AddFile]) -> list[AddFile]:
    """A space begins with a card which says what it is made with; clients count on it."""
    if repository.kind is not RepoType.SPACE or any(file.path == "README.md" for file in files):
        return []
    return [AddFile("README.md", f"---\ntitle: {json.dumps(repository.name)}\nsdk: {repository.sdk}\n---\n".encode())]


def namespace_to_create_in(actor: Actor, kind: RepoType, owner: str | None) -> Namespace:
    """The namespace `owner` (None: the actor's own). Raises Unauthorized, Forbidden."""
    if actor.user is None:
        raise Unauthorized("Sign in or send a token with the role write to create a repository.")
    namespace = namespace_named(owner or actor.user.username)
    if namespace is None or not can_create_in(actor, namespace):
        raise Forbidden(
            f"You don't have the rights to create a {kind.value} under the namespace {owner or actor.name!r}."
        )
    return namespace


def insert_repository(actor: Actor, namespace: Namespace, repository: Repository) -> Repository:
    """Write a new repository's row, inside the transaction which fills it. Raises Conflict, Forbidden."""
    kind = repository.kind
    repository.namespace, repository.creator = namespace, actor.user
    repository.full_name = f"{namespace.name}/{repository.name}"
    repository.last_modified = timezone.now()
    try:
        with transaction.atomic():
            repository.save(force_insert=True)
    except IntegrityError as error:
        there = {"name": repository.full_name}
        raise Conflict(f"You already created this {kind.value} repo: {repository.full_name}", there) from error
    take_name(actor, namespace, kind, repository.full_name)
    return repository


def delete_repository(actor: Actor, repository: Repository) -> None:
    """Remove a repository and its history. Contents which nobody names any more are left to garbage collection."""
    require_manage(actor, repository)
    with transaction.atomic():
        repository_deleted.send(Repository, repository=repository, actor=actor)
        # The grace of what nobody else holds begins now: until then a backup of yesterday's database finds its bytes.
        Blob.objects.filter(repository_rows__repository=repository).update(used_at=timezone.now())
        repository.delete()
    logger.info("deleted %s by %s", repository.path, actor.name)


def update_settings(
    actor: Actor,
    repository: Repository,
    *,
    private: bool | None = None,
    gated: str | None = None,
    description: str | None = None,
    discussions_disabled: bool | None = None,
) -> None:
    """Change what is not None, all of it or nothing. `gated` is a Gate or the empty text."""
    require_manage(actor, repository)
    if gated is not None and gated not in ("", *Gate.values):
        raise BadRequest("gated is auto, manual or false.")
    asked = {
        "private": private,
        "gated": gated,
        "description": description,
        "discussions_disabled": discussions_disabled,
    }
    with transaction.atomic():
        locked = Repository.objects.select_for_update().get(pk=repository.pk)
        new = {key: value for key, value in asked.items() if value is not None and value != getattr(locked, key)}
        before = {key: getattr(locked, key) for key in new}
        for key, value in new.items():
            setattr(repository, key, value)
        if new:
            repository.save(update_fields=list(new))
            if "private" in new:
                hold_to_limit(repository, locked.used_storage_bytes)
            repository_settings_changed.send(Repository, repository=repository, changes=before, actor=actor)
    if new:
        logger.info("%s: %s, by %s", repository.path, ", ".join(f"{k}={v!r:.80}" for k, v in new.items()), actor.name)


def create_branch(
    actor: Actor,
    repository: Repository,
    name: str,
    start: str | None = None,
    *,
    overwrite: bool = False,
    empty: bool = False,
) -> None:
    """Make a branch at `start` (default: main), or an `empty` one with a history of its own."""
    require_write(actor, repository)
    check_ref_part(name, "branch")
    if empty:
        _create_empty_branch(actor, repository, HEADS + name, overwrite=overwrite)
    else:
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


def grant_blob(repository: Repository, blob: Blob, *, by_hub: bool = False) -> bool:
    """`grant_blobs` for one. Whether the repository did not hold it before."""
    return bool(grant_blobs(repository, [blob], by_hub=by_hub))


def grant_blobs(repository: Repository, blobs: Sequence[Blob], *, by_hub: bool = False) -> list[Blob]:
    """Whoever sent the bytes to this repository may commit them there. Returns those which it did not hold before.

    A few hundred at a time: all or none, in one transaction. Raises NotFound when one was collected meanwhile, and
    QuotaExceeded, unless the hub made them.
    """
    names = [blob.pk for blob in blobs]
    with transaction.atomic():
        # Locked in one order, and before the rows which hold them are looked at: nobody else adds those meanwhile.
        there = Blob.objects.select_for_update().filter(pk__in=names).order_by("pk").values_list("pk", flat=True)
        if missing := sorted(set(names) - set(there)):
            raise NotFound(f"The content {missing[0]} was cleared away meanwhile: upload it again.")
        now = timezone.now()
        Blob.objects.filter(pk__in=names).update(used_at=now)
        rows = RepositoryBlob.objects.filter(repository=repository, blob__in=names)
        held = set(rows.values_list("blob_id", flat=True))
        if held:
            rows.update(used_at=now)
        fresh = [blob for blob in blobs if blob.pk not in held]
        if fresh:
            RepositoryBlob.objects.bulk_create(RepositoryBlob(repository=repository, blob=blob) for blob in fresh)
            size = sum(blob.size_bytes for blob in fresh)
            grown = F("used_storage_bytes") + size
            Repository.objects.filter(pk=repository.pk).update(used_storage_bytes=grown)
            if not by_hub:
                hold_to_limit(repository, size)
            _revive_pointers(repository, fresh)
    return fresh


def _revive_pointers(repository: Repository, blobs: Sequence[Blob]) -> None:
    """Pointers whose content was deleted for good, and which is here again."""
    texts = ((blob, pointer_text(blob.sha256, blob.size_bytes)) for blob in blobs)
    by_oid = {
        hashlib.sha1(b"blob %d\0" % len(text) + text, usedforsecurity=False).hexdigest(): blob for blob, text in texts
    }
    there = GitObject.objects.filter(repository=repository, oid__in=by_oid)
    for pk, oid in there.values_list("pk", "oid"):
        blob = by_oid[oid]
        GitObject.objects.filter(pk=pk).update(sha256=blob.sha256, size_bytes=blob.size_bytes)


def find_namespace(name: str) -> Namespace:
    found = Namespace.objects.select_related("user").filter(name__lower=name.lower()).first()
    if found is None:
        raise NotFound(f"There is no user or organisation {name[:100]!r}.")
    return found


def _create_empty_branch(actor: Actor, repository: Repository, ref: str, *, overwrite: bool) -> None:
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        there = Ref.objects.filter(repository=repository, name=ref)
        if there.exists() and not overwrite:
            raise Conflict(f"Reference {ref} already exists")
        there.delete()
        write_commit(repository, ref, [], "initial commit", author=actor.name, create=True)


def _create_ref(repository: Repository, ref: str, oid: str, *, overwrite: bool) -> None:
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        if not GitObject.objects.filter(repository=repository, oid=oid).exists():
            raise RevisionNotFound(f"Invalid rev id: {oid} was cleared away meanwhile.")
        row = Ref.objects.filter(repository=repository, name=ref).first()
        if row and not overwrite:
            raise Conflict(f"Reference {ref} already exists")
        if row:
            Ref.objects.filter(pk=row.pk).update(oid=oid)
        else:
            require_free_ref(repository, ref)
            Ref.objects.create(repository=repository, name=ref, oid=oid)
        old_oid = row.oid if row else None
        revision_published.send(Repository, repository=repository, ref=ref, oid=oid, old_oid=old_oid)


def require_free_ref(repository: Repository, ref: str) -> None:
    """git keeps refs as files: where there is `a` there can be no `a/b`."""
    if len(ref) > 255:
        raise BadRequest("The ref's name is longer than 255 characters.")
    parts = ref.split("/")
    above = ["/".join(parts[:n]) for n in range(3, len(parts))]
    rows = Ref.objects.filter(repository=repository)
    there = rows.filter(name__in=above).first() or rows.filter(name__startswith=f"{ref}/").first()
    if there:
        raise BadRequest(f"{ref} can not be made beside {there.name}: git takes one for a folder of the other.")
