"""Contents which came whole are cut into chunks in the background, one after the other (xet/chunking.py is the act)."""

import logging
import shutil
import time
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Exists, OuterRef

from models_registry.errors import HubError, StorageFull
from models_registry.repos.models import RepositoryBlob
from models_registry.storage.blobstore import blob_store, staging_folder
from models_registry.storage.models import Blob
from models_registry.storage.services import blob_key
from models_registry.xet.formats.errors import XetFormatError

logger = logging.getLogger(__name__)
MB = 1000**2


@dataclass
class Done:
    """`size_bytes`: of the files; `new_bytes`: what their chunks take beyond what was there. `failed` stay whole."""

    files: int = 0
    size_bytes: int = 0
    new_bytes: int = 0
    failed: int = 0
    complete: bool = True


def chunk_contents(seconds: float | None = None, keep_free: float = 0) -> Done:
    """Cut what lies whole, the oldest first, until so many seconds are over (None: all). A file begun is finished.

    Contents of less than `FITHUB_CHUNK_FROM_MB` stay whole: they have few chunks to share. Raises StorageFull.
    `keep_free`: the share of the disk which must be free afterwards; each file lies twice for the grace.
    """
    from models_registry.xet.chunking import chunk_content  # it brings numpy, which no web process needs

    done = Done()
    deadline = time.monotonic() + seconds if seconds is not None else None
    if not settings.CHUNK_FROM_MB:
        return done
    named = RepositoryBlob.objects.filter(blob=OuterRef("pk"))
    waiting = Blob.objects.filter(
        Exists(named), is_whole=True, xet_hash="", size_bytes__gte=settings.CHUNK_FROM_MB * MB
    ).order_by("created_at", "pk")
    for sha256 in list(waiting.values_list("pk", flat=True)):
        if deadline is not None and time.monotonic() > deadline:
            done.complete = False
            break
        blob = waiting.filter(pk=sha256).first()
        if blob is None:
            continue
        if not _fits(blob.size_bytes, keep_free):
            logger.warning("%s stays whole: the disk has too little room to keep it twice for a while", sha256)
            done.complete = False
            continue
        try:
            chunked = chunk_content(blob)
        except StorageFull:
            raise
        except (HubError, XetFormatError, OSError):
            logger.exception("%s stays whole for now", sha256)
            done.failed += 1
            continue
        done.files += 1
        done.size_bytes += chunked.size_bytes
        done.new_bytes += chunked.new_bytes
    return done


def _fits(size_bytes: int, keep_free: float) -> bool:
    if blob_store().local_path(blob_key("0" * 64)) is None:  # S3 tells no limit
        return True
    disk = shutil.disk_usage(staging_folder())
    return disk.free - size_bytes >= keep_free * disk.total
