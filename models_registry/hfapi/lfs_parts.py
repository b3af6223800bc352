"""LFS uploads in parts: for files which a client would rather not send in one request (hub-protocol §2.6.3b).

With FILE_DELIVERY=presigned the parts go to S3 itself, and the hub reads the whole once to verify it. Otherwise a part
lies in the staging folder under a name which says what it is part of and what it holds, so any request finds it, and
one which was cut off is simply sent again. Putting parts together takes a second writing, so the hub itself asks for
them only where a body would be too long to be sent twice.

What is never completed, the sweeper (or for S3 garbage collection) takes away after a day.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from blake3 import blake3

from models_registry.errors import BadRequest
from models_registry.repos.models import Repository
from models_registry.storage.blobstore import full_disk_said, staging_folder
from models_registry.storage.delivery import direct_store
from models_registry.storage.models import Blob
from models_registry.storage.services import adopt, staged, take_in

PART_BYTES = 64 * 1024 * 1024
WHOLE_BYTES = 1024 * 1024 * 1024  # up to here one PUT to the hub itself takes less time
MOST_PARTS = 1000
BLOCK_BYTES = 1024 * 1024


def worth_parts(size: int) -> bool:
    """Whether a file of so many bytes is better sent in parts."""
    return size > (PART_BYTES if direct_store() is not None else WHOLE_BYTES)


def chunk_bytes(size: int) -> int:
    """How long each part but the last is."""
    return max(PART_BYTES, -(-size // MOST_PARTS))


def count_of(size: int, chunk: int) -> int:
    return max(1, -(-size // chunk))


def action(sign: Callable[[dict[str, Any]], str], size: int, seconds: int) -> dict[str, Any]:
    """The `upload` action: a numbered URL for each part, and the one which completes. `sign` makes a URL of claims."""
    chunk = chunk_bytes(size)
    numbers = range(1, count_of(size, chunk) + 1)
    whole: dict[str, Any] = {"operation": "complete", "chunk": chunk}
    if (store := direct_store()) is not None:
        key = f"incoming/{secrets.token_hex(16)}"
        upload = store.begin_parts(key)
        parts = {f"{number:05d}": store.part_url(key, upload, number, seconds) for number in numbers}
        whole |= {"key": key, "upload": upload}
    else:
        parts = {f"{number:05d}": sign({"operation": "part", "part": number, "chunk": chunk}) for number in numbers}
    return {
        "href": sign(whole),
        "header": {"chunk_size": str(chunk), **parts},
        "expires_in": seconds,
    }


def take_part(repository: Repository, claims: dict[str, Any], stream: BinaryIO) -> str:
    """Keep a part until the file is complete. Returns its etag. Raises BadRequest when its length is wrong."""
    number, chunk = claims["part"], claims["chunk"]
    expected = min(chunk, claims["size"] - (number - 1) * chunk)
    with staged(stream, expected, blake3) as (path, etag, length), full_disk_said():
        if length != expected:
            raise BadRequest(f"Part {number} has {length:,} bytes, not {expected:,}: send it again.")
        before = _arrived(repository, claims, number)
        kept = path.rename(staging_folder() / f"{_prefix(repository, claims, number)}{etag}")
        for other in before:
            if other != kept:
                other.unlink(missing_ok=True)
    return str(etag)


def complete(
    repository: Repository, claims: dict[str, Any], data: dict[str, Any], show: Callable[[Blob], None]
) -> None:
    """Put the parts together, check the whole, `show` it to the repository, and only then forget the parts.

    They are the proof that whoever completes had the bytes: a process which dies before is asked again, with them.
    Raises BadRequest saying which part is missing or wrong, and what `show` raises.
    """
    count = count_of(claims["size"], claims["chunk"])
    given = data.get("parts")
    if data.get("oid") != claims["oid"] or not isinstance(given, list):
        raise BadRequest("The body must be {'oid': …, 'parts': [{'partNumber': …, 'etag': …}, …]} of this upload.")
    etags: dict[Any, Any] = {}
    for row in given:
        number, etag = (row.get("partNumber"), row.get("etag")) if isinstance(row, dict) else (None, None)
        if not isinstance(number, int) or not isinstance(etag, str):
            raise BadRequest("Every part is {'partNumber': number, 'etag': text}.")
        etags[number] = etag.strip().removeprefix("W/").strip('"')
    if sorted(etags) != list(range(1, count + 1)):
        raise BadRequest(f"This upload has the parts 1 to {count}: send them all, and name each once.")
    if "upload" in claims:
        _complete_at_store(claims, [etags[number] for number in range(1, count + 1)], show)
        return
    paths = [_part(repository, claims, number, etags[number]) for number in range(1, count + 1)]
    joined = cast(BinaryIO, _Joined(paths))
    show(take_in(joined, claims["oid"], claims["size"]))
    for path in paths:
        path.unlink(missing_ok=True)


def _complete_at_store(claims: dict[str, Any], etags: list[str], show: Callable[[Blob], None]) -> None:
    """Let S3 put the parts together, read the whole to verify it, and give it its name."""
    store = direct_store()
    if store is None:
        raise BadRequest("This upload was begun while the hub kept its files elsewhere: ask the batch API again.")
    key, sha256, size = claims["key"], claims["oid"], claims["size"]
    if not store.exists(key):  # else the answer was lost, and it is asked again
        store.finish_parts(key, claims["upload"], etags)
    digest, length = hashlib.sha256(), store.size(key)
    for block in store.read_range(key, 0, min(length, size + 1)):
        digest.update(block)
    if (length, digest.hexdigest()) != (size, sha256):
        store.delete(key)
        raise BadRequest(f"The parts make up {length:,} bytes of another SHA-256 than {sha256}: send them again.")
    show(adopt(sha256, size, lambda name: store.copy(key, name)))
    store.delete(key)


class _Joined:
    """The parts as one stream. What they make up is told by its SHA-256; each was named by a hash when it came."""

    def __init__(self, paths: list[Path]) -> None:
        self._blocks = self._read(paths)

    def read(self, size: int = -1, /) -> bytes:
        return next(self._blocks, b"")

    @staticmethod
    def _read(paths: list[Path]) -> Iterator[bytes]:
        for path in paths:
            with path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block


def _part(repository: Repository, claims: dict[str, Any], number: int, etag: str) -> Path:
    """The file of a part which has arrived. BadRequest when it has not, or as another one."""
    name = f"{_prefix(repository, claims, number)}{etag}"
    arrived = _arrived(repository, claims, number)
    if not arrived:
        raise BadRequest(f"Part {number} has not arrived: send it, then complete again.")
    found = next((path for path in arrived if path.name == name), None)
    if found is None:
        raise BadRequest(f"Part {number} is not the one of this etag: send it again.")
    return found


def _arrived(repository: Repository, claims: dict[str, Any], number: int) -> list[Path]:
    return list(staging_folder().glob(f"{_prefix(repository, claims, number)}*"))


def _prefix(repository: Repository, claims: dict[str, Any], number: int) -> str:
    return f"lfs-{repository.pk}-{claims['oid']}-{claims['chunk']}-{number:05d}-"
