"""How a Xet client reads a file: which chunks make it up, and signed addresses of their bytes (hub-protocol §5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core import signing

from models_registry.accounts.policies import can_read_files
from models_registry.errors import Forbidden, NotFound, RangeNotSatisfiable
from models_registry.repos.models import RepositoryBlob
from models_registry.storage.blobstore import blob_store
from models_registry.storage.delivery import Content, direct_store
from models_registry.xet.formats.files import chunk_window
from models_registry.xet.formats.shard import Segment
from models_registry.xet.formats.xorb import XorbIndex
from models_registry.xet.models import XetFile, Xorb
from models_registry.xet.services import TOKEN_SECONDS, Grant, xorb_key

_SALT = "xet-xorb"


@dataclass(frozen=True)
class Chunks:
    """Chunks `first` to `end` (not included) of a xorb."""

    first: int
    end: int


def reconstruction(grant: Grant, file_hash: str, start: int, end: int | None, cas: str) -> dict[str, Any]:
    """The terms of the bytes from `start` up to `end` (not included; None for all), and where to fetch their chunks.

    Only for a file which the token's repository holds and whose files its user may read: NotFound otherwise.
    RangeNotSatisfiable (416) when the file ends before `start`. `cas` is the address below which xorbs are served.
    """
    file = XetFile.objects.filter(hash=file_hash).first()
    held = file is not None and RepositoryBlob.objects.filter(repository=grant.repository, blob=file.sha256).exists()
    if file is None or not held or not can_read_files(grant.actor, grant.repository):
        raise NotFound("This repository holds no such file.")
    if start >= file.size_bytes:
        size = f"bytes */{file.size_bytes}"
        raise RangeNotSatisfiable(f"The file has {file.size_bytes:,} bytes.", {"Content-Range": size})
    segments = [Segment(*term) for term in file.terms]
    rows = Xorb.objects.filter(hash__in={segment.xorb_hash_hex for segment in segments}).values_list("hash", "index")
    indexes = {hash_: XorbIndex.from_bytes(bytes(index)) for hash_, index in rows}
    terms: list[dict[str, Any]] = []
    wanted: dict[str, list[Chunks]] = {}
    offset, position = 0, 0
    for segment in segments:
        if end is not None and position >= end:
            break
        if position + segment.unpacked_bytes > start:
            index = indexes[segment.xorb_hash_hex]
            first, last, at = chunk_window(segment, index, position, start, end)
            if not terms:
                offset = start - at
            length = sum(index.unpacked_lengths[first:last])
            terms.append(
                {"hash": segment.xorb_hash_hex, "unpacked_length": length, "range": {"start": first, "end": last}}
            )
            wanted.setdefault(segment.xorb_hash_hex, []).append(Chunks(first, last))
        position += segment.unpacked_bytes
    fetch_info = {
        hash_: [_fetch(indexes[hash_], part, cas) for part in _merged(parts)] for hash_, parts in wanted.items()
    }
    return {"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch_info}


def second_version(found: dict[str, Any]) -> dict[str, Any]:
    """The same answer as `/v2/reconstructions` gives it: one address a range, so each request is for one range."""
    xorbs = {
        name: [
            {"url": part["url"], "ranges": [{"chunks": part["range"], "bytes": part["url_range"]}]} for part in parts
        ]
        for name, parts in found["fetch_info"].items()
    }
    return {
        "offset_into_first_range": found["offset_into_first_range"],
        "terms": found["terms"],
        "xorbs": xorbs,
    }


def content_of_signed(signed: str, span_of: Callable[[int], tuple[int, int] | None]) -> Content:
    """The xorb behind a signed address, for the bytes which were signed and no others.

    `span_of` tells the range [start, end) which is asked of so many bytes. A xorb may hold chunks of other files, so
    the range is part of the permission. Raises Forbidden, NotFound.
    """
    try:
        claims = signing.loads(signed, salt=_SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature as error:
        raise Forbidden("This address is forged or has ended: ask for the reconstruction again.") from error
    key, store = xorb_key(claims["xorb"]), blob_store()
    if not store.exists(key):
        raise NotFound("This xorb is not stored any more: ask for the reconstruction again.")
    size = store.size(key)
    span = span_of(size)
    if span is None or span[0] < claims["start"] or span[1] > claims["end"]:
        raise Forbidden(f"This address is for the range bytes={claims['start']}-{claims['end'] - 1}.")
    return Content(size, claims["xorb"], lambda start, length: store.read_range(key, start, length))


def _merged(parts: list[Chunks]) -> list[Chunks]:
    """The same chunks in as few ranges as there are gaps, in order."""
    found: list[Chunks] = []
    for part in sorted(parts, key=lambda part: part.first):
        if found and part.first <= found[-1].end:
            found[-1] = Chunks(found[-1].first, max(found[-1].end, part.end))
        else:
            found.append(part)
    return found


def _fetch(index: XorbIndex, part: Chunks, cas: str) -> dict[str, Any]:
    start, end = index.offsets[part.first], index.offsets[part.end]
    store = direct_store()
    if store is not None:
        url = store.presigned_url(xorb_key(index.hash_hex), TOKEN_SECONDS, span=(start, end))
    else:
        signed = signing.dumps({"xorb": index.hash_hex, "start": start, "end": end}, salt=_SALT, compress=True)
        url = f"{cas}/v1/xorbs/signed/{signed}"
    return {
        "range": {"start": part.first, "end": part.end},
        "url": url,
        "url_range": {"start": start, "end": end - 1},
    }
