"""Buckets: make, find, list, change, download (hub-protocol §3). They have no history, and take files by Xet only."""

import mimetypes
from typing import Any
from urllib.parse import quote, urlencode

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.policies import readable_by
from models_registry.buckets import reading
from models_registry.buckets.models import BucketFile
from models_registry.buckets.services import (
    EMPTY_XET_HASH,
    AddFile,
    CopyFile,
    DeleteFile,
    Operation,
    change_files,
    create_bucket,
)
from models_registry.errors import BadRequest, Conflict, TooLarge, Unauthorized
from models_registry.hfapi.base import (
    MAX_JSON_BYTES,
    HubView,
    body_stream,
    endpoint,
    json_object,
    moment,
    number,
    page_of,
    parse_json,
    repo_url,
    text_field,
)
from models_registry.hfapi.lifecycle import private_of
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import (
    delete_repository,
    find_namespace,
    find_repository,
    require_write,
    update_settings,
)
from models_registry.storage.delivery import content_of_blob, serve
from models_registry.xet.views import token_answer

MAX_OPERATIONS = 10_000
MAX_PATHS = 1000
_PAGE = 1000
_NOT_HERE = {"resourceGroupId": "This hub has no resource groups", "region": "This hub keeps everything in one place"}


class BucketView(HubView):
    def bucket(self, namespace: str, name: str) -> Repository:
        owner = self.actor.name if namespace == "me" and self.actor.user is not None else namespace
        return find_repository(self.actor, RepoType.BUCKET, f"{owner}/{name}")


class Buckets(HubView):
    def get(self, request: Request, namespace: str) -> Response:
        """The buckets of a user or organisation (`me`: of the caller) which the caller may see."""
        if namespace == "me":
            if self.actor.user is None:
                raise Unauthorized("Sign in or send a token to list your buckets.")
            namespace = self.actor.name
        owner = find_namespace(namespace)
        rows = Repository.objects.filter(readable_by(self.actor), type=RepoType.BUCKET, namespace=owner)
        if search := request.query_params.get("search", "").replace("\0", ""):
            rows = rows.filter(name__icontains=search)
        limit = number(request, "limit", _PAGE, _PAGE) or 1
        offset = number(request, "cursor", 0, 10**9)
        total = rows.count()
        page = list(rows.order_by("full_name", "pk")[offset : offset + limit])
        totals = reading.totals_of(page)
        found = [_bucket(bucket, totals.get(bucket.pk, reading.Totals())) for bucket in page]
        return page_of(request, found, total, offset, limit)


class Bucket(BucketView):
    def post(self, request: Request, namespace: str, name: str) -> Response:
        """Make a bucket. 409, with its `url`, when it is there already."""
        data = json_object(request)
        for key, sentence in _NOT_HERE.items():
            if data.get(key) is not None:
                raise BadRequest(f"{sentence}: leave {key} out.")
        owner = None if namespace == "me" else namespace
        try:
            made = create_bucket(self.actor, name, owner, private=private_of(data, RepoType.BUCKET))
        except Conflict as error:
            there = error.body.get("name", f"{owner or self.actor.name}/{name}")
            body = {"url": f"{endpoint(request)}/buckets/{quote(str(there))}", "name": there}
            raise Conflict(f"You already created this bucket: {there}", body) from error
        return Response({"url": repo_url(request, made), "name": made.full_name, "id": made.full_name})

    def get(self, request: Request, namespace: str, name: str) -> Response:
        """A bucket's visibility, dates, size and number of files."""
        bucket = self.bucket(namespace, name)
        return Response(_bucket(bucket, reading.totals_of([bucket]).get(bucket.pk, reading.Totals())))

    def delete(self, request: Request, namespace: str, name: str) -> Response:
        """Delete a bucket with all its files."""
        delete_repository(self.actor, self.bucket(namespace, name))
        return Response({})


class BucketSettings(BucketView):
    def put(self, request: Request, namespace: str, name: str) -> Response:
        """Change a bucket's visibility."""
        bucket = self.bucket(namespace, name)
        private = private_of(json_object(request), RepoType.BUCKET)
        if private is None:
            raise BadRequest("A bucket has one setting: send {'private': true} or {'private': false}.")
        update_settings(self.actor, bucket, private=private)
        return Response({"private": private})


class BucketTree(BucketView):
    def get(self, request: Request, namespace: str, name: str, prefix: str = "") -> Response:
        """The files whose paths begin with a prefix; with `recursive=false` one level of files and folders."""
        bucket = self.bucket(namespace, name)
        recursive = request.query_params.get("recursive", "true").lower() not in ("false", "0")
        after = request.query_params.get("cursor", "")
        limit = number(request, "limit", _PAGE, _PAGE) or 1
        if "\0" in prefix or "\0" in after:
            raise BadRequest("A path holds no NUL character.")
        entries: list[BucketFile | reading.Folder]
        if recursive:
            entries = list(reading.list_files(bucket, prefix, after, limit + 1))
        else:
            entries = reading.list_level(bucket, prefix, after, limit + 1)
        response = Response([_entry(entry) for entry in entries[:limit]])
        if len(entries) > limit:
            query = {**request.query_params.dict(), "cursor": entries[limit - 1].path}
            url = f"{endpoint(request)}{quote(request.path)}?{urlencode(query)}"
            response["Link"] = f'<{url}>; rel="next"'
        return response


class BucketPathsInfo(BucketView):
    def post(self, request: Request, namespace: str, name: str) -> Response:
        """The files at these paths; those which are not there are left out."""
        bucket = self.bucket(namespace, name)
        paths = json_object(request).get("paths")
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise BadRequest("The field 'paths' must be a list of texts.")
        if len(paths) > MAX_PATHS:
            raise TooLarge(f"At most {MAX_PATHS:,} paths at once, not {len(paths):,}.")
        return Response([_entry(row) for row in reading.files_at(bucket, paths)])


class BucketBatch(BucketView):
    def post(self, request: Request, namespace: str, name: str) -> Response:
        """Add, copy and delete files, one operation a line. 422 when all of them failed."""
        bucket = self.bucket(namespace, name)
        require_write(self.actor, bucket)
        operations = _operations(request._request)
        failed = change_files(self.actor, bucket, operations)
        body = {
            "success": not failed,
            "processed": len(operations),
            "succeeded": len(operations) - len(failed),
            "failed": [{"path": path, "error": error} for path, error in failed],
        }
        return Response(body, status=422 if failed and len(failed) == len(operations) else 200)


class BucketXetToken(BucketView):
    def get(self, request: Request, namespace: str, name: str, right: str) -> Response:
        """A token for the CAS, to read or to write in this bucket."""
        bucket = self.bucket(namespace, name)
        if right == "write":
            require_write(self.actor, bucket)
        return token_answer(request, self.actor, bucket, write=right == "write")


@csrf_exempt
@require_safe
def resolve(request: HttpRequest, namespace: str, name: str, path: str) -> HttpResponseBase:
    """A file of a bucket, as plain bytes or (by its headers) chunk by chunk."""
    actor = request.actor  # type: ignore[attr-defined]
    _ = actor.token
    bucket = find_repository(actor, RepoType.BUCKET, f"{namespace}/{name}")
    file = reading.file_at(bucket, path)
    hub, hash_ = endpoint(request), _xet_hash(file)
    token = f"{hub}/api/buckets/{quote(bucket.full_name)}/xet-read-token"
    leaf = file.path.rpartition("/")[2]
    headers = {
        "X-Linked-Etag": f'"{file.blob_id}"',
        "X-Linked-Size": str(file.blob.size_bytes),
        "X-Xet-Hash": hash_,
        "Link": f'<{token}>; rel="xet-auth", <{hub}/cas/v1/reconstructions/{hash_}>; rel="xet-reconstruction-info"',
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(leaf)}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }
    guessed = mimetypes.guess_type(leaf)[0] or ""
    shown = guessed if guessed.startswith(("image/", "audio/", "video/")) and guessed != "image/svg+xml" else ""
    return serve(request, content_of_blob(file.blob), shown or "application/octet-stream", headers)


def _bucket(bucket: Repository, totals: reading.Totals) -> dict[str, Any]:
    return {
        "id": bucket.full_name,
        "author": bucket.full_name.partition("/")[0],
        "private": bucket.private,
        "createdAt": moment(bucket.created_at),
        "updatedAt": moment(bucket.last_modified),
        "size": totals.size_bytes,
        "totalFiles": totals.files,
    }


def _entry(entry: BucketFile | reading.Folder) -> dict[str, Any]:
    if isinstance(entry, reading.Folder):
        return {"type": "directory", "path": entry.path, "uploadedAt": moment(entry.uploaded_at)}
    return {
        "type": "file",
        "path": entry.path,
        "size": entry.blob.size_bytes,
        "xetHash": _xet_hash(entry),
        "uploadedAt": moment(entry.uploaded_at),
        **({"mtime": _of_ms(entry.mtime_ms)} if entry.mtime_ms is not None else {}),
        **({"contentType": entry.content_type} if entry.content_type else {}),
    }


def _xet_hash(file: BucketFile) -> str:
    return file.blob.xet_hash or EMPTY_XET_HASH


def _of_ms(milliseconds: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return moment(seconds)[:-4] + f"{rest:03d}Z"


def _operations(request: HttpRequest) -> list[Operation]:
    stream, announced = body_stream(request)
    body = stream.read(MAX_JSON_BYTES + 1)
    if len(body) > MAX_JSON_BYTES:
        raise TooLarge(f"The body is larger than {MAX_JSON_BYTES:,} bytes: send fewer operations at once.")
    if announced is not None and len(body) < announced:
        raise BadRequest(f"The body was cut off after {len(body):,} of {announced:,} bytes: send it again.")
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise BadRequest("The body holds no operation: send one JSON object a line.")
    if len(lines) > MAX_OPERATIONS:
        raise TooLarge(f"At most {MAX_OPERATIONS:,} operations at once, not {len(lines):,}.")
    return [_operation(line) for line in lines]


def _operation(line: bytes) -> Operation:
    data = parse_json(line, f"A line of the batch is not JSON: {line[:60]!r}.")
    if not isinstance(data, dict):
        raise BadRequest("Every line of a batch is a JSON object.")
    kind, path = data.get("type"), text_field(data, "path")
    if kind == "deleteFile":
        return DeleteFile(path)
    if kind not in ("addFile", "copyFile"):
        raise BadRequest(f"A batch knows no operation {str(kind)[:40]!r}: addFile, copyFile, deleteFile.")
    mtime = data.get("mtime")
    if mtime is not None and (not isinstance(mtime, int) or isinstance(mtime, bool) or abs(mtime) >= 2**63):
        raise BadRequest(f"{path[:200]}: mtime is a whole number of milliseconds since 1970.")
    hash_, content_type = text_field(data, "xetHash"), text_field(data, "contentType", "")
    if kind == "addFile":
        return AddFile(path, hash_, mtime, content_type)
    return CopyFile(
        path, hash_, text_field(data, "sourceRepoType"), text_field(data, "sourceRepoId"), mtime, content_type
    )
