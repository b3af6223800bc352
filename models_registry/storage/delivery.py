"""Serving a content over HTTP: HEAD, ETag, Range, If-Range, 304 and 416 (RFC 9110), in blocks of 256 KiB.

Django's own FileResponse reads 4 KiB at a time and knows no ranges: measured at a fifth of this speed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from models_registry.errors import RangeNotSatisfiable
from models_registry.storage.blobstore import blob_store
from models_registry.storage.models import Blob
from models_registry.storage.services import blob_key, read_range

if TYPE_CHECKING:
    from models_registry.storage.s3 import S3BlobStore

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@dataclass(frozen=True)
class Content:
    """Something to serve. `read(start, length)` gives its bytes; `etag` is without quotes."""

    size_bytes: int
    etag: str
    read: Callable[[int, int], Iterator[bytes]]
    blob: Blob | None = None


def content_of_bytes(data: bytes, etag: str) -> Content:
    return Content(len(data), etag, lambda start, length: iter([data[start : start + length]]))


def content_of_blob(blob: Blob) -> Content:
    return Content(blob.size_bytes, blob.sha256, lambda start, length: read_range(blob, start, length), blob)


def serve(request: HttpRequest, content: Content, content_type: str, headers: dict[str, str]) -> HttpResponseBase:
    """The answer to GET or HEAD. Raises RangeNotSatisfiable (416)."""
    etag = f'"{content.etag}"'
    headers = headers | {"ETag": etag, "Accept-Ranges": "bytes"}
    if _matches(request.headers.get("If-None-Match"), etag):
        return HttpResponse(status=304, headers=headers)
    span = span_of(request, content.size_bytes, etag)
    start, end = span or (0, content.size_bytes)
    response: HttpResponseBase
    if request.method == "HEAD":
        response = HttpResponse(content_type=content_type)
    elif (handed_over := _hand_over(content)) is not None:
        return _with(handed_over, headers)
    else:
        response = StreamingHttpResponse(content.read(start, end - start), content_type=content_type)
    response["Content-Length"] = str(end - start)
    if span:
        response.status_code = 206
        response["Content-Range"] = f"bytes {start}-{end - 1}/{content.size_bytes}"
    return _with(response, headers)


def span_of(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """[start, end) of a single byte range; None for the whole (also for what is no range, as RFC 9110 §14.2 says)."""
    header = request.headers.get("Range", "").strip()
    match = _RANGE.fullmatch(header)
    condition = request.headers.get("If-Range")
    if not match or match[1] == match[2] == "" or (condition and condition.strip() != etag):
        return None
    if match[1]:
        start, end = int(match[1]), int(match[2]) + 1 if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
        if int(match[2]) == 0:
            start = size
    if start >= size:
        raise RangeNotSatisfiable(
            f"The range {header!r} begins after the last of {size:,} bytes.", {"Content-Range": f"bytes */{size}"}
        )
    return start, min(end, size)


def _matches(header: str | None, etag: str) -> bool:
    if not header:
        return False
    return header.strip() == "*" or etag in [part.strip().removeprefix("W/") for part in header.split(",")]


def _hand_over(content: Content) -> HttpResponse | None:
    """nginx or S3 sends the bytes, where the administrator set it up so and the content lies whole."""
    if settings.FILE_DELIVERY == "stream" or content.blob is None or not content.blob.is_whole:
        return None
    key = blob_key(content.blob.sha256)
    if settings.FILE_DELIVERY == "accel":
        path = blob_store().local_path(key)
        if path is None:
            return None
        relative = path.relative_to(settings.FITHUB_DATA / "storage")
        return HttpResponse(headers={"X-Accel-Redirect": f"/fithub-storage/{relative}"})
    store = direct_store()
    return HttpResponse(status=302, headers={"Location": store.presigned_url(key)}) if store is not None else None


def direct_store() -> "S3BlobStore | None":
    """The store to which clients go by themselves (FILE_DELIVERY=presigned); None when bytes pass through the hub."""
    if settings.FILE_DELIVERY != "presigned":
        return None
    from models_registry.storage.s3 import S3BlobStore

    store = blob_store()
    return store if isinstance(store, S3BlobStore) else None


def _with(response: HttpResponseBase, headers: dict[str, str]) -> HttpResponseBase:
    for name, value in headers.items():
        response[name] = value
    return response
