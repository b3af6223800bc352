"""Acts on contents: take a stream in, give a blob out, whole or from xorbs."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from django.db import transaction
from django.utils import timezone

from models_registry.errors import BadRequest, NotFound, TooLarge
from models_registry.storage.blobstore import blob_store, full_disk_said, staging_folder
from models_registry.storage.models import Blob, Damage

BLOCK_BYTES = 1024 * 1024

# Xet fills this at start-up: storage knows that some blobs are kept by another room, not how.
range_readers: dict[str, Callable[[Blob, int, int], Iterator[bytes]]] = {}


def blob_key(sha256: str) -> str:
    return f"blobs/{sha256}"


def take_in(stream: BinaryIO, sha256: str, size_bytes: int | None = None) -> Blob:
    """Store a stream whose hash is known beforehand. What does not verify is refused and nothing is kept.

    Raises:
        BadRequest: the bytes are fewer or more than said, or have another SHA-256.
        StorageFull: there is no room.
    """
    with staged(stream, size_bytes) as (path, found, length):
        if size_bytes is not None and length != size_bytes:
            raise BadRequest(
                f"The body has {length:,} bytes, not the {size_bytes:,} which were announced: send it again."
            )
        if found != sha256:
            raise BadRequest(f"The body's SHA-256 is {found}, not {sha256}: it was damaged on its way, send it again.")
        return keep_file(path, sha256, length)


def take_file(path: Path) -> Blob:
    """Store a local file, which stays where it is."""
    with path.open("rb") as file, staged(file) as (staged_path, found, length):
        return keep_file(staged_path, found, length)


def keep_file(path: Path, sha256: str, size_bytes: int) -> Blob:
    """Move a verified staged file into the store and record it.

    A content which lies here as chunks is not kept a second time.
    """
    return adopt(sha256, size_bytes, lambda key: blob_store().put_file(key, path))


def adopt(sha256: str, size_bytes: int, put: Callable[[str], None]) -> Blob:
    """Record a verified content; `put(key)` brings its bytes to their key in the store."""
    blob = announce(sha256, size_bytes)
    if not blob.is_whole and blob.xet_hash and not Damage.objects.filter(key__startswith="xorbs/").exists():
        return blob
    put(blob_key(sha256))
    Damage.objects.filter(key=blob_key(sha256)).delete()
    if not blob.is_whole:
        Blob.objects.filter(sha256=sha256).update(is_whole=True)
        blob.is_whole = True
    return blob


def announce(sha256: str, size_bytes: int, **defaults: Any) -> Blob:
    """Note that a content is about to be stored or granted: garbage collection leaves it alone from here on.

    The row comes before the bytes. Whoever collects takes bytes and row together, under the row's lock, and only when
    nobody used it for the grace; so a content can not be taken away between its bytes and whatever will name it.
    """
    with transaction.atomic():
        while True:
            fresh = {"size_bytes": size_bytes, "is_whole": False} | defaults
            blob, created = Blob.objects.get_or_create(sha256=sha256, defaults=fresh)
            if created or Blob.objects.filter(sha256=sha256).update(used_at=timezone.now()):
                return blob


def announce_many(blobs: Iterable[Blob]) -> None:
    """The same for many at once: rows which are there keep what they say. Their rows are locked until the end of the
    transaction in which this must be called, in one order, so that nobody waits for each other.
    """
    rows = sorted(blobs, key=lambda blob: blob.sha256)
    names = [row.sha256 for row in rows]
    for row in rows:
        row.is_whole = False
    while True:
        Blob.objects.bulk_create(rows, ignore_conflicts=True)
        there = Blob.objects.select_for_update().filter(sha256__in=names).order_by("sha256")
        if len(there.values_list("sha256")) == len(names):
            Blob.objects.filter(sha256__in=names).update(used_at=timezone.now())
            return


def damaged(sha256s: Iterable[str]) -> set[str]:
    """Which of these whole contents are known to be damaged: whoever has them is asked to send them again."""
    keys = Damage.objects.filter(key__in=[blob_key(sha256) for sha256 in sha256s]).values_list("key", flat=True)
    return {key.partition("/")[2] for key in keys}


def is_here(blob: Blob) -> bool:
    """Whether its bytes have arrived: False while it is only announced."""
    return blob.is_whole or bool(blob.xet_hash)


@contextlib.contextmanager
def staged(
    stream: BinaryIO, limit_bytes: int | None = None, hasher: Callable[[], Any] | None = hashlib.sha256
) -> Iterator[tuple[Path, str, int]]:
    """Read a stream to a file near the store. Gives (path, hash, bytes); the file is gone afterwards unless moved.

    The hash is that of `hasher` (as those of hashlib), "" for None: not everything needs SHA-256, half of the time.
    """
    descriptor, name = tempfile.mkstemp(dir=staging_folder())
    path = Path(name)
    digest, length = hasher() if hasher is not None else None, 0
    try:
        with os.fdopen(descriptor, "wb") as file, full_disk_said():
            while block := stream.read(BLOCK_BYTES):
                length += len(block)
                if limit_bytes is not None and length > limit_bytes:
                    raise TooLarge(f"The body is larger than the {limit_bytes:,} bytes which were announced.")
                if digest is not None:
                    digest.update(block)
                file.write(block)
        yield path, digest.hexdigest() if digest is not None else "", length
    finally:
        path.unlink(missing_ok=True)


def get_blob(sha256: str) -> Blob:
    blob = Blob.objects.filter(sha256=sha256).first()
    if blob is None or not is_here(blob):
        raise NotFound(f"No content with the SHA-256 {sha256} is stored.")
    return blob


def xet_hashes_of(sha256s: Iterable[str]) -> dict[str, str]:
    """sha256 → Xet's name of those contents which Xet clients can fetch chunk by chunk."""
    found: dict[str, str] = {}
    wanted = iter(set(sha256s))
    while part := list(islice(wanted, 500)):
        rows = Blob.objects.filter(sha256__in=part).exclude(xet_hash="")
        found.update(rows.values_list("sha256", "xet_hash"))
    return found


def read_range(blob: Blob, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """`length` bytes of the content from `start`, in blocks, wherever it lies."""
    length = blob.size_bytes - start if length is None else length
    if blob.is_whole:
        try:
            return blob_store().read_range(blob_key(blob.sha256), start, length)
        except KeyError:
            blob.refresh_from_db()
            if not blob.xet_hash:
                raise
            # Its whole copy was let go since the row was read: it lies as chunks.
    return range_readers["xet"](blob, start, length)


def write_to(blob: Blob, path: Path, on_bytes: Callable[[int], None] | None = None) -> None:
    """Put the content at a path (a hard link would let a job write into the store, so bytes are copied).

    `on_bytes` is told the size of each block once it is written.
    """
    with path.open("wb") as file, full_disk_said():
        for block in read_range(blob):
            file.write(block)
            if on_bytes is not None:
                on_bytes(len(block))
