"""The act of moving everything from one store to another: folder to S3 or back. It goes on where it was broken off."""

import hashlib
import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from models_registry.storage.blobstore import BlobStore, full_disk_said, staging_folder

logger = logging.getLogger(__name__)
KINDS = ("blobs", "xorbs")
BLOCK_BYTES = 1024 * 1024


@dataclass
class Moved:
    """`damaged` are keys whose bytes are not what their name says: they are not copied."""

    copied: int = 0
    copied_bytes: int = 0
    there: int = 0
    deleted: int = 0
    damaged: tuple[str, ...] = ()


def copy_store(source: BlobStore, target: BlobStore, say: Callable[[str], None] = logger.info) -> Moved:
    """Copy what `target` does not hold yet. Objects are seen there only when complete, so this may be cut off."""
    moved = Moved()
    target.check()
    for kind in KINDS:
        for key in source.keys(kind):
            try:
                size = source.size(key)
            except KeyError:  # collected meanwhile
                continue
            if _holds(target, key, size):
                moved.there += 1
                continue
            if _copy(source, target, key, kind):
                moved.copied += 1
                moved.copied_bytes += size
            else:
                moved.damaged += (key,)
                say(f"{key} is damaged: it is left where it is")
    return moved


def delete_copied(source: BlobStore, target: BlobStore) -> int:
    """Delete from `source` what `target` holds in the same size. Returns how many."""
    count = 0
    for kind in KINDS:
        for key in list(source.keys(kind)):
            if _holds(target, key, source.size(key)):
                source.delete(key)
                count += 1
    return count


def _holds(store: BlobStore, key: str, size: int) -> bool:
    try:
        return store.size(key) == size
    except KeyError:
        return False


def _copy(source: BlobStore, target: BlobStore, key: str, kind: str) -> bool:
    """By way of a staged file. False when a content is not what its name says (xorbs: `manage.py verify_storage`)."""
    with tempfile.NamedTemporaryFile(dir=staging_folder(), delete=False) as file:
        path, digest = Path(file.name), hashlib.sha256()
        try:
            with full_disk_said():
                for block in source.read_range(key, 0, source.size(key)):
                    digest.update(block)
                    file.write(block)
                file.flush()
            if kind == "blobs" and digest.hexdigest() != key.partition("/")[2]:
                return False
            target.put_file(key, path)
        finally:
            path.unlink(missing_ok=True)
    return True
