"""Writing packs: objects from the database as one stream, never the whole of it in memory.

No deltas: packing costs the reading and a light zlib. A clone's pack is kept on disk, so the next one is a file's copy.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from django.conf import settings

from models_registry.repos.models import GitObject, Repository

logger = logging.getLogger(__name__)
BLOCK_BYTES = 1024 * 1024
BATCH_ROWS, BATCH_BYTES = 1000, 16 * 1024 * 1024
KEPT_BYTES = 2 * 1024**3  # of all kept packs together
_SMALLEST_KEPT = 100  # objects: below, packing is as quick as looking


def pack(repository: Repository, objects: list[tuple[str, int]]) -> Iterator[bytes]:
    """The pack of these objects, given as (oid, size in bytes), in their order."""
    digest = hashlib.sha1(usedforsecurity=False)
    head = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")
    digest.update(head)
    buffer = bytearray(head)
    for part in _batches(objects):
        rows = GitObject.objects.filter(repository=repository, oid__in=part).values_list("oid", "kind", "data")
        found = {oid: (kind, data) for oid, kind, data in rows}
        chunk = bytearray()
        for oid in part:
            kind, data = found[oid]
            chunk += _entry_head(kind, len(data)) + zlib.compress(data, 1)
        digest.update(chunk)
        buffer += chunk
        if len(buffer) >= BLOCK_BYTES:
            yield bytes(buffer)
            buffer.clear()
    yield bytes(buffer) + digest.digest()


def _batches(objects: list[tuple[str, int]]) -> Iterator[list[str]]:
    part: list[str] = []
    size = 0
    for oid, length in objects:
        if part and (len(part) >= BATCH_ROWS or size + length > BATCH_BYTES):
            yield part
            part, size = [], 0
        part.append(oid)
        size += length
    if part:
        yield part


def _entry_head(kind: int, size: int) -> bytes:
    """git's variable-length header: three bits of kind, then the size."""
    byte, size = (kind << 4) | (size & 0x0F), size >> 4
    out = bytearray()
    while size:
        out.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    out.append(byte)
    return bytes(out)


# --- packs which are kept ----------------------------------------------------------------------------------------
def key_of(repository: Repository, what: Iterable[str]) -> str:
    """The name under which the pack for this question is kept. Its answer never changes: all in it are hashes."""
    return f"{repository.pk}-{hashlib.sha256(chr(10).join(what).encode()).hexdigest()}"


def kept(key: str) -> Path | None:
    path = _folder() / f"{key}.pack"
    try:
        os.utime(path)
    except OSError:
        return None
    return path


def read_kept(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


def keep(key: str, blocks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Pass the blocks on, and keep them if all were taken. A full disk only means that nothing is kept."""
    if count < _SMALLEST_KEPT:
        yield from blocks
        return
    part: Path | None = None
    try:
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
        part = Path(name)
    except OSError as error:
        logger.warning("a pack is not kept: %s", error)
        yield from blocks
        return
    try:
        with os.fdopen(descriptor, "wb") as file:
            writes = True
            for block in blocks:
                if writes:
                    try:
                        file.write(block)
                    except OSError as error:
                        logger.warning("a pack is not kept: %s", error)
                        writes = False
                yield block
            file.flush()
        if writes:
            part.rename(folder / f"{key}.pack")
            _make_room(folder)
    except OSError as error:
        logger.warning("a pack is not kept: %s", error)
    finally:
        part.unlink(missing_ok=True)


def forget(repository: Repository) -> None:
    """Remove what is kept of a repository: it is being deleted, or its past rewritten."""
    for path in _folder().glob(f"{repository.pk}-*.pack"):
        path.unlink(missing_ok=True)


def _make_room(folder: Path) -> None:
    """The packs which were asked for longest ago go first."""
    rows = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            rows.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in rows)
    for _, size, path in sorted(rows):
        if total <= KEPT_BYTES:
            break
        path.unlink(missing_ok=True)
        total -= size


def _folder() -> Path:
    return Path(settings.FITHUB_DATA) / "packs"
