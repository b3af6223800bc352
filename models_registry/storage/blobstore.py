"""BlobStore: where bytes lie. One interface, a local folder and S3 behind it, one test suite for both.

Keys are `<kind>/<hex>`: `blobs/<sha256>` for whole files, `xorbs/<hash>` for Xet's. What is stored never changes.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from models_registry.errors import StorageFull

FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FULL_SENTENCE = "The hub's disk is full: nothing was kept. Ask its administrator for room."


class BlobStore(Protocol):
    """Raises StorageFull when there is no room; KeyError when a key is not there."""

    def put_file(self, key: str, path: Path) -> None:
        """Take over a finished local file (it is moved or uploaded). Idempotent; all or nothing."""

    def size(self, key: str) -> int: ...

    def exists(self, key: str) -> bool: ...

    def open(self, key: str) -> BinaryIO:
        """A seekable reader."""

    def read_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `start`, in blocks."""

    def local_path(self, key: str) -> Path | None:
        """The file itself, where the store is a folder of this machine."""

    def delete(self, key: str) -> None: ...

    def keys(self, kind: str) -> Iterator[str]: ...

    def check(self) -> None:
        """Raises OSError with a sentence when the store can not be used."""


_current: BlobStore | None = None


def blob_store() -> BlobStore:
    """The store of this hub, by its settings."""
    global _current
    if _current is None:
        if settings.S3_BUCKET:
            from models_registry.storage.s3 import S3BlobStore

            _current = S3BlobStore(
                settings.S3_BUCKET, settings.S3_ENDPOINT_URL, settings.S3_ACCESS_KEY, settings.S3_SECRET_KEY
            )
        else:
            from models_registry.storage.local import LocalBlobStore

            _current = LocalBlobStore(settings.FITHUB_DATA / "storage")
    return _current


def forget() -> None:
    """Make the store anew at its next use: the settings have changed."""
    global _current
    _current = None


def staging_folder() -> Path:
    """Where bytes are gathered before they are known to be right. Beside the local store: a rename moves them."""
    folder = settings.FITHUB_DATA / "storage" / "staging"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def full_disk_said() -> Iterator[None]:
    """Turns the system's "no space" into the hub's own refusal."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL_ERRORS:
            raise StorageFull(FULL_SENTENCE) from error
        raise
