"""Garbage collection: what nothing names any more, and nobody used for a while, is taken away.

From the outside in: each repository's objects and rights (repos/sweeping.py), offers which came to nothing, contents,
xorbs, bytes without a row. What is about to be stored has its row first (`storage.services.announce`), and a content is
taken with its row, under the row's lock, if it is still unnamed and unused: so no upload, grant or commit which runs at
the same time loses anything. Several collections at once are harmless.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from models_registry.community.discussions.models import Offer
from models_registry.repos import sweeping
from models_registry.repos.models import Repository, RepositoryBlob
from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob, Damage
from models_registry.storage.s3 import S3BlobStore
from models_registry.storage.services import blob_key
from models_registry.upkeep import references
from models_registry.xet.models import XetFile, Xorb, XorbHolder, XorbUse
from models_registry.xet.services import xorb_key

logger = logging.getLogger(__name__)
# The client remembers for three weeks which xorbs it sent, and builds on them without sending them again.
XORB_DAYS = 28


@dataclass(frozen=True)
class Grace:
    """How long things stay after their last use: `days` contents, and commits which no ref leads to; `xorb_days`."""

    days: float
    xorb_days: float = XORB_DAYS


@dataclass
class Freed:
    """What a collection took, or (as a dry run) would take. Figures in bytes are those of the store."""

    repositories: dict[str, sweeping.Swept] = field(default_factory=dict)
    offers: int = 0
    contents: int = 0
    content_bytes: int = 0
    copies: int = 0
    copy_bytes: int = 0
    xorbs: int = 0
    xorb_bytes: int = 0
    strays: int = 0
    stray_bytes: int = 0

    @property
    def objects(self) -> int:
        return sum(swept.objects for swept in self.repositories.values())

    @property
    def object_bytes(self) -> int:
        return sum(swept.object_bytes for swept in self.repositories.values())

    @property
    def stored_bytes(self) -> int:
        return self.content_bytes + self.copy_bytes + self.xorb_bytes + self.stray_bytes


def collect(grace: Grace, *, dry_run: bool = False, now: datetime | None = None) -> Freed:
    """One whole collection. A dry run changes nothing, and holds up nobody."""
    now = now or timezone.now()
    unused_since, xorbs_since = now - timedelta(days=grace.days), now - timedelta(days=grace.xorb_days)
    freed = Freed()
    for pk in list(Repository.objects.order_by("pk").values_list("pk", flat=True)):
        repository = Repository.objects.select_related("namespace").filter(pk=pk).first()
        if repository is None:  # deleted meanwhile
            continue
        if dry_run:
            swept = sweeping.plan(repository, unused_since, unused_since)
        else:
            swept = sweeping.sweep(repository, now, unused_since, unused_since)
        if swept.objects or swept.contents:
            freed.repositories[repository.path] = swept
    offers = Offer.objects.filter(created_at__lt=unused_since)
    freed.offers = offers.count() if dry_run else offers.delete()[0]
    if dry_run:
        _plan_contents(freed, unused_since, xorbs_since, offers)
    else:
        _take_contents(freed, unused_since)
        _drop_second_copies(freed, unused_since)
        _take_files_which_nobody_knows(unused_since)
        _take_xorbs(freed, xorbs_since)
    _take_strays(freed, unused_since, dry_run=dry_run)
    if not dry_run and isinstance(store := blob_store(), S3BlobStore):
        store.clear_up(now - timedelta(days=1))
    if not dry_run:
        logger.info(
            "collected %d objects, %d contents, %d xorbs, %d bytes", freed.objects, freed.contents, freed.xorbs,
            freed.stored_bytes,
        )  # fmt: skip
    return freed


def _plan_contents(freed: Freed, unused_since: datetime, xorbs_since: datetime, offers: QuerySet[Offer]) -> None:
    """What the steps below would take, from what is named now and the offers which would be gone."""
    names = set(references.unnamed_blobs(unused_since, without=offers).values_list("pk", flat=True))
    for blob in Blob.objects.filter(pk__in=names):
        freed.contents += 1
        freed.content_bytes += blob.size_bytes if blob.is_whole else 0
    for size in _second_copies(unused_since).exclude(pk__in=names).values_list("size_bytes", flat=True):
        freed.copies += 1
        freed.copy_bytes += size
    files = set(XetFile.objects.filter(sha256__in=names).values_list("pk", flat=True))
    files |= set(_unknown_files(unused_since).values_list("pk", flat=True))
    uses = XorbUse.objects.filter(xorb=OuterRef("pk")).exclude(file__in=files)
    for size in Xorb.objects.filter(~Exists(uses), used_at__lt=xorbs_since).values_list("size_bytes", flat=True):
        freed.xorbs += 1
        freed.xorb_bytes += size


def _take_contents(freed: Freed, unused_since: datetime) -> None:
    for sha256 in list(references.unnamed_blobs(unused_since).values_list("pk", flat=True)):
        with transaction.atomic():
            blob = references.unnamed_blobs(unused_since).select_for_update(of=("self",)).filter(pk=sha256).first()
            if blob is None:  # used meanwhile
                continue
            blob_store().delete(blob_key(sha256))
            XetFile.objects.filter(sha256=sha256).delete()
            blob.delete()
        freed.contents += 1
        freed.content_bytes += blob.size_bytes if blob.is_whole else 0


def _second_copies(unused_since: datetime):  # type: ignore[no-untyped-def]
    """Whole copies which may go. The grace also runs from the cutting: a backup from before knows no chunks."""
    known = XetFile.objects.filter(hash=OuterRef("xet_hash"), created_at__lt=unused_since)
    damaged = Damage.objects.filter(key__startswith="xorbs/").values_list("key", flat=True)
    xorbs = [key.partition("/")[2] for key in damaged]
    known = known.exclude(Exists(XorbUse.objects.filter(file=OuterRef("pk"), xorb__in=xorbs)))
    return Blob.objects.filter(Exists(known), is_whole=True, used_at__lt=unused_since).exclude(xet_hash="")


def _drop_second_copies(freed: Freed, unused_since: datetime) -> None:
    """A content which lies as chunks needs no copy beside them: everything is kept once."""
    for sha256 in list(_second_copies(unused_since).values_list("pk", flat=True)):
        with transaction.atomic():
            blob = _second_copies(unused_since).select_for_update(of=("self",)).filter(pk=sha256).first()
            if blob is None:
                continue
            Blob.objects.filter(pk=sha256).update(is_whole=False)
        _delete_copy(sha256)
        freed.copies += 1
        freed.copy_bytes += blob.size_bytes


def _delete_copy(sha256: str) -> bool:
    """Delete the whole bytes of a content which the database already reads from chunks: after that is committed.

    A process which dies in between leaves bytes which nobody reads; the next collection finds them as strays.
    """
    with transaction.atomic():
        rows = Blob.objects.filter(pk=sha256, is_whole=False).exclude(xet_hash="").select_for_update()
        if rows.first() is None:  # somebody stored it again
            return False
        blob_store().delete(blob_key(sha256))
    return True


def _unknown_files(unused_since: datetime):  # type: ignore[no-untyped-def]
    """Other ways to cut a content into chunks than the one by which it is known."""
    known = Blob.objects.filter(pk=OuterRef("sha256"), xet_hash=OuterRef("hash"))
    return XetFile.objects.filter(~Exists(known), created_at__lt=unused_since)


def _take_files_which_nobody_knows(unused_since: datetime) -> None:
    _unknown_files(unused_since).delete()


def _take_xorbs(freed: Freed, unused_since: datetime) -> None:
    # Who no longer holds any file made of a xorb may not build on it for ever.
    contents = RepositoryBlob.objects.filter(repository=OuterRef(OuterRef("repository"))).values("blob")
    uses = XorbUse.objects.filter(xorb=OuterRef("xorb"), file__sha256__in=contents)
    XorbHolder.objects.filter(~Exists(uses), xorb__used_at__lt=unused_since).delete()
    for name in list(references.unnamed_xorbs(unused_since).values_list("pk", flat=True)):
        with transaction.atomic():
            xorb = references.unnamed_xorbs(unused_since).select_for_update(of=("self",)).filter(pk=name).first()
            if xorb is None:
                continue
            blob_store().delete(xorb_key(name))
            xorb.delete()
        freed.xorbs += 1
        freed.xorb_bytes += xorb.size_bytes


def _take_strays(freed: Freed, unused_since: datetime, *, dry_run: bool) -> None:
    """Bytes without a row, or which their row no longer counts: a process died between the two."""
    store = blob_store()
    for kind, model, fresh in (("blobs", Blob, {"size_bytes": 0, "is_whole": False}), ("xorbs", Xorb, _NO_XORB)):
        for key in store.keys(kind):
            name = key.partition("/")[2]
            row = model.objects.filter(pk=name).first()
            left_over = isinstance(row, Blob) and not row.is_whole and row.xet_hash and row.used_at < unused_since
            if row is not None and not left_over:
                continue
            size = store.size(key)
            if row is not None and not dry_run and not _delete_copy(name):
                continue
            if row is None and not dry_run:
                try:
                    # The row holds the name: an upload which begins now waits, or has it and this one gives way.
                    with transaction.atomic():
                        row = model.objects.create(pk=name, **fresh)
                        store.delete(key)
                        row.delete()
                except IntegrityError:
                    continue
            freed.strays += 1
            freed.stray_bytes += size


_NO_XORB = {"size_bytes": 0, "index": b""}
