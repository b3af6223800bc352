"""Recording verified files: their contents, the chunks they are made of, who may build on those. Many at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from models_registry.accounts.models import User
from models_registry.community.discussions.offers import offer_blob
from models_registry.errors import BadRequest
from models_registry.repos.models import Repository
from models_registry.repos.services import grant_blobs
from models_registry.storage.models import Blob
from models_registry.storage.services import announce_many
from models_registry.xet.events import files_registered
from models_registry.xet.formats.hashes import hash_to_hex
from models_registry.xet.formats.shard import Segment
from models_registry.xet.models import ChunkPlace, XetFile, Xorb, XorbHolder, XorbUse

# A commit of the database costs as much as the rows of a hundred files; more at once would hold others up for longer.
_AT_ONCE = 500


@dataclass(frozen=True)
class VerifiedFile:
    """A file whose every hash was checked. `hash` is its Xet name, `first_chunk` the hash of its first one, or b""."""

    hash: str
    sha256: str
    segments: Sequence[Segment]
    first_chunk: bytes

    @property
    def size_bytes(self) -> int:
        return sum(segment.unpacked_bytes for segment in self.segments)


def register_files(repository: Repository, files: Sequence[VerifiedFile], offered_by: User | None = None) -> None:
    """Let the repository hold these files, or note them as this person's offers for a pull request.

    A part of them at a time, each whole or not at all: what was told to be recorded before an error stays, and the same
    call does the rest. Raises BadRequest or NotFound (a xorb or content was collected meanwhile), QuotaExceeded,
    Forbidden.
    """
    for start in range(0, len(files), _AT_ONCE):
        with transaction.atomic():
            _register(repository, files[start : start + _AT_ONCE], offered_by)


def record_files(files: Sequence[VerifiedFile]) -> list[str]:
    """Note of which chunks verified files are made, and use their xorbs. Returns their names. Inside a transaction.

    Raises BadRequest when a xorb was collected meanwhile.
    """
    names = sorted({segment.xorb_hash_hex for file in files for segment in file.segments})
    if use_xorbs(names) != len(names):
        raise BadRequest("Xorbs which the shard names were cleared away meanwhile: upload them again.")
    hashes = sorted(file.hash for file in files)
    known = set(XetFile.objects.filter(hash__in=hashes).values_list("hash", flat=True))
    rows = [
        XetFile(hash=file.hash, sha256=file.sha256, size_bytes=file.size_bytes, terms=_terms(file.segments))
        for file in sorted(files, key=lambda file: file.hash)
        if file.hash not in known
    ]
    XetFile.objects.bulk_create(rows, ignore_conflicts=True)
    # By the terms which are kept: somebody else may have recorded the same file over other xorbs in this moment.
    kept = XetFile.objects.filter(hash__in=[row.hash for row in rows]).values_list("hash", "terms")
    uses = sorted({(name, term[0]) for name, terms in kept for term in terms})
    XorbUse.objects.bulk_create(
        (XorbUse(file_id=file, xorb_id=xorb) for file, xorb in uses), ignore_conflicts=True, batch_size=_AT_ONCE
    )
    note_chunks(
        (file.segments[0].xorb_hash_hex, file.first_chunk) for file in files if file.segments and file.first_chunk
    )
    return names


def use_xorbs(names: Iterable[str]) -> int:
    """Note that these xorbs are in use: garbage collection waits from here on. Returns how many are there.

    Their rows are locked in one order, so that nobody waits for each other.
    """
    with transaction.atomic():
        rows = Xorb.objects.select_for_update().filter(hash__in=list(names)).order_by("hash")
        there = list(rows.values_list("hash", flat=True))
        return Xorb.objects.filter(hash__in=there).update(used_at=timezone.now())


def note_chunks(places: Iterable[tuple[str, bytes]]) -> None:
    """Remember where chunks lie after which clients will ask (dedupe.py). Pairs of a xorb's name and a chunk's hash."""
    rows = [ChunkPlace(chunk=hash_to_hex(chunk), xorb_id=xorb) for xorb, chunk in places]
    ChunkPlace.objects.bulk_create(rows, ignore_conflicts=True, batch_size=_AT_ONCE)


def _register(repository: Repository, files: Sequence[VerifiedFile], offered_by: User | None) -> None:
    by_sha256 = {file.sha256: file for file in files}
    announce_many(
        Blob(sha256=file.sha256, size_bytes=file.size_bytes, xet_hash=file.hash) for file in by_sha256.values()
    )
    names = record_files(files)
    blobs = list(Blob.objects.filter(pk__in=by_sha256))
    for blob in blobs:
        if not blob.xet_hash:  # it came whole before, by LFS or git
            Blob.objects.filter(pk=blob.pk).update(xet_hash=by_sha256[blob.pk].hash)
    if offered_by is not None:
        # The repository holds them from the commit on which names them.
        for blob in blobs:
            offer_blob(repository, offered_by.pk, blob)
        return
    if fresh := grant_blobs(repository, blobs):
        size = sum(blob.size_bytes for blob in fresh)
        files_registered.send(sender=XetFile, repository=repository, size_bytes=size)
    holders = [XorbHolder(xorb_id=name, repository=repository) for name in names]
    XorbHolder.objects.bulk_create(holders, ignore_conflicts=True, batch_size=_AT_ONCE)


def _terms(segments: Sequence[Segment]) -> list[list[str | int]]:
    return [[s.xorb_hash_hex, s.unpacked_bytes, s.start, s.end] for s in segments]
