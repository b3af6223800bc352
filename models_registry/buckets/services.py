"""Acts on buckets: make one, and change its files by a batch of operations, each of which succeeds or fails alone."""

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read_files
from models_registry.accounts.services import check_name
from models_registry.buckets.models import BucketFile
from models_registry.errors import BadRequest, EntryNotFound, HubError
from models_registry.repos.events import repository_created
from models_registry.repos.models import Repository, RepositoryBlob, RepoType
from models_registry.repos.paths import check_path
from models_registry.repos.quotas import require_room
from models_registry.repos.services import (
    find_repository,
    grant_blob,
    insert_repository,
    namespace_to_create_in,
    require_write,
)
from models_registry.storage.models import Blob
from models_registry.storage.services import take_in
from models_registry.xet.holding import hold_xorbs
from models_registry.xet.models import XetFile

logger = logging.getLogger(__name__)
MAX_MTIME_MS = 253_402_300_800_000  # the end of the year 9999
EMPTY_XET_HASH = "0" * 64
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_BATCH = 500


@dataclass(frozen=True)
class AddFile:
    """A content which was sent to this bucket by Xet."""

    path: str
    xet_hash: str
    mtime_ms: int | None = None
    content_type: str = ""


@dataclass(frozen=True)
class CopyFile:
    """A content of another bucket or repository, which the actor may read. Nothing travels."""

    path: str
    xet_hash: str
    source_type: str
    source_name: str
    mtime_ms: int | None = None
    content_type: str = ""


@dataclass(frozen=True)
class DeleteFile:
    path: str


Operation = AddFile | CopyFile | DeleteFile


def create_bucket(actor: Actor, name: str, owner: str | None = None, *, private: bool | None = None) -> Repository:
    """Make an empty bucket. `private` None takes what its namespace has as default.

    Raises Unauthorized, Forbidden, BadRequest, Conflict.
    """
    namespace = namespace_to_create_in(actor, RepoType.BUCKET, owner)
    check_name(name, "bucket")
    with transaction.atomic():
        made = Repository(
            type=RepoType.BUCKET, name=name, private=namespace.private_by_default if private is None else private
        )
        insert_repository(actor, namespace, made)
        repository_created.send(Repository, repository=made, actor=actor)
    logger.info("created %s by %s", made.path, actor.name)
    return made


def change_files(actor: Actor, bucket: Repository, operations: Sequence[Operation]) -> list[tuple[str, str]]:
    """Add, copy and delete files. Returns (path, what is wrong) of those operations which failed; the others are done.

    Raises Unauthorized, Forbidden: the actor may not write to this bucket.
    """
    require_write(actor, bucket)
    failed: list[tuple[str, str]] = []
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=bucket.pk)
        held = _held(bucket, {op.xet_hash for op in operations if isinstance(op, AddFile)})
        sources = _Sources(actor, bucket)
        for op in operations:
            try:
                with transaction.atomic():
                    check_path(op.path)
                    if isinstance(op, DeleteFile):
                        _delete(bucket, op)
                    elif isinstance(op, AddFile):
                        _put(bucket, op, _content(bucket, op, held))
                    else:
                        _put(bucket, op, sources.content(op))
            except HubError as error:
                failed.append((op.path, error.message))
        now = timezone.now()
        Repository.objects.filter(pk=bucket.pk).update(last_modified=now)
    logger.info("%d changes, %d refused, in %s by %s", len(operations), len(failed), bucket.path, actor.name)
    return failed


def contents_of(repository: Repository) -> set[str]:
    """The contents which a bucket's files name: garbage collection keeps them."""
    if repository.kind is not RepoType.BUCKET:
        return set()
    return set(BucketFile.objects.filter(repository=repository).values_list("blob_id", flat=True))


def _held(bucket: Repository, hashes: set[str]) -> dict[str, str]:
    """Xet's name → SHA-256 of those contents which this bucket holds."""
    found: dict[str, str] = {}
    wanted = sorted(hashes)
    for start in range(0, len(wanted), _BATCH):
        known = dict(XetFile.objects.filter(hash__in=wanted[start : start + _BATCH]).values_list("hash", "sha256"))
        rights = RepositoryBlob.objects.filter(repository=bucket, blob__in=known.values())
        there = set(rights.values_list("blob_id", flat=True))
        found |= {name: sha256 for name, sha256 in known.items() if sha256 in there}
    return found


def _content(bucket: Repository, op: AddFile, held: dict[str, str]) -> str:
    if op.xet_hash == EMPTY_XET_HASH:
        grant_blob(bucket, take_in(io.BytesIO(), _EMPTY_SHA256, 0))
        return _EMPTY_SHA256
    if op.xet_hash not in held:
        raise BadRequest(f"The content {op.xet_hash[:64]} was never uploaded to this bucket: upload it first.")
    return held[op.xet_hash]


class _Sources:
    """Repositories from which files are copied, each found and asked for its rights once."""

    def __init__(self, actor: Actor, bucket: Repository) -> None:
        self.actor, self.bucket = actor, bucket
        self.found: dict[tuple[str, str], Repository] = {}

    def content(self, op: CopyFile) -> str:
        key = (op.source_type, op.source_name)
        if key not in self.found:
            if op.source_type not in RepoType.values:
                raise BadRequest(f"{op.source_type[:40]!r} is no type of repository: {', '.join(RepoType.values)}.")
            self.found[key] = find_repository(self.actor, RepoType(op.source_type), op.source_name, follow=True)
        source = self.found[key]
        if op.xet_hash == EMPTY_XET_HASH:
            blob: Blob | None = take_in(io.BytesIO(), _EMPTY_SHA256, 0)
        else:
            named = XetFile.objects.filter(hash=op.xet_hash).values("sha256")
            blob = Blob.objects.filter(pk__in=named, repository_rows__repository=source).first()
        if blob is None or not can_read_files(self.actor, source):
            raise EntryNotFound(f"{source.full_name} holds no content {op.xet_hash[:64]} which you may read.")
        if not RepositoryBlob.objects.filter(repository=self.bucket, blob=blob).exists():
            require_room(self.bucket, blob.size_bytes)
        grant_blob(self.bucket, blob)
        hold_xorbs(self.bucket, [blob.pk])
        return blob.pk


def _put(bucket: Repository, op: AddFile | CopyFile, sha256: str) -> None:
    if op.mtime_ms is not None and not 0 <= op.mtime_ms < MAX_MTIME_MS:
        raise BadRequest(f"mtime is a number of milliseconds since 1970, not {op.mtime_ms}.")
    BucketFile.objects.update_or_create(
        repository=bucket,
        path=op.path,
        defaults={
            "blob_id": sha256,
            "mtime_ms": op.mtime_ms,
            "content_type": op.content_type[:200],
            "uploaded_at": timezone.now(),
        },
    )


def _delete(bucket: Repository, op: DeleteFile) -> None:
    if not BucketFile.objects.filter(repository=bucket, path=op.path).delete()[0]:
        raise EntryNotFound(f"A file with this name doesn't exist: {op.path}")
