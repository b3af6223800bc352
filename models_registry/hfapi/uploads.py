"""Uploads: validate-yaml, preupload, commit (hub-protocol §2.6)."""

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.cards.services import refuse_bad_card
from models_registry.cards.validation import validate
from models_registry.community.discussions import pulls
from models_registry.errors import BadRequest, EntryNotFound, TooLarge
from models_registry.hfapi.base import HubView, body_stream, flag, json_object, parse_json, repo_url, text_field
from models_registry.repos.attributes import IgnoreRules, LfsRules
from models_registry.repos.commits import MAX_INLINE_BYTES, AddContent, AddFile, Copy, Delete, Operation, commit
from models_registry.repos.entries import Entry, entries_at, entry_at, read_small
from models_registry.repos.models import GIT_TYPES, Repository
from models_registry.repos.paths import check_path
from models_registry.repos.quotas import require_room
from models_registry.repos.revisions import resolve_revision

MAX_COMMIT_BYTES = 512 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_OPERATIONS = 50_000
MAX_FILES_ASKED = 1000  # of one preupload: clients ask for 256 at once


class ValidateYaml(HubView):
    authentication_classes: list[Any] = []

    def post(self, request: Request) -> HttpResponse | Response:
        """Check a README's metadata: 200 with warnings, or 400 with errors, as JSON or as lines of text."""
        data = json_object(request)
        kind = data.get("repoType") or "model"
        if kind not in GIT_TYPES:
            raise BadRequest(f"repoType is one of {', '.join(GIT_TYPES)}, not {str(kind)[:40]!r}.")
        errors, warnings = validate(text_field(data, "content"), kind)
        status = 400 if errors else 200
        if "text/plain" in request.headers.get("Accept", ""):
            lines = [f"- Error: {problem.message} (line {problem.line})" for problem in errors]
            lines += [f"- Warning: {text}" for text in warnings]
            return HttpResponse("\n".join(lines), content_type="text/plain; charset=utf-8", status=status)
        body = {
            "errors": [{"message": problem.message, "line": problem.line} for problem in errors],
            "warnings": [{"message": text} for text in warnings],
        }
        return Response(body, status)


class Preupload(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """For each file: by git (`regular`) or by Xet or LFS (`lfs`), whether it is ignored, and what is there now."""
        repository = self.repository(types, namespace, name)
        create_pull = flag(request.query_params.get("create_pr", "false"))
        pulls.require_upload(self.actor, repository, rest, create_pull=create_pull)
        if create_pull:
            commit_oid = pulls.require_open(self.actor, repository, rest)
        else:
            commit_oid = resolve_revision(self.actor, repository, rest)
        data = json_object(request)
        files = data.get("files")
        if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
            raise BadRequest("The field 'files' must be a list of objects.")
        if len(files) > MAX_FILES_ASKED:
            raise TooLarge(f"At most {MAX_FILES_ASKED:,} files at once, not {len(files):,}: ask for them in parts.")
        lfs = LfsRules(_text_at(repository, commit_oid, ".gitattributes", data.get("gitAttributes")))
        ignore = IgnoreRules(_text_at(repository, commit_oid, ".gitignore", data.get("gitIgnore")))
        paths = [check_path(text_field(file, "path")) for file in files]
        there = {entry.path: entry for entry in entries_at(repository, commit_oid, paths)}
        answers = []
        more_bytes = 0
        for file, path in zip(files, paths, strict=True):
            entry = there.get(path)
            size, sample = file.get("size", 0), file.get("sample", "")
            if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(sample, str):
                raise BadRequest(f"{path}: 'size' must be a whole number and 'sample' a base64 text.")
            goes_lfs = size > 0 and (lfs.takes(path) or size > MAX_INLINE_BYTES or _looks_binary(path, sample))
            answer: dict[str, Any] = {
                "path": path,
                "uploadMode": "lfs" if goes_lfs else "regular",
                "shouldIgnore": ignore.takes(path),
            }
            if entry is not None and not entry.is_folder:
                answer["oid"] = entry.sha256 or entry.oid
            # Of the same size as what is there: most likely the same, and asked again when it is sent.
            if goes_lfs and not answer["shouldIgnore"] and (entry is None or entry.size_bytes != size):
                more_bytes += size
            answers.append(answer)
        require_room(repository, more_bytes)
        return Response({"files": answers})


class Commit(HubView):
    max_body_bytes = MAX_COMMIT_BYTES

    def post(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """Commit: NDJSON lines of a header and operations, read as a stream. `create_pr=1` opens a pull request."""
        repository = self.repository(types, namespace, name)
        create_pull = flag(request.query_params.get("create_pr", "false"))
        pulls.require_upload(self.actor, repository, rest, create_pull=create_pull)
        if create_pull:
            pulls.require_open(self.actor, repository, rest)
        else:
            resolve_revision(self.actor, repository, rest)
        header: dict[str, Any] = {}
        operations: list[Operation] = []
        for key, value in _lines(request._request):
            if key == "header":
                header = value
            else:
                operations.append(_operation(key, value))
            if len(operations) > MAX_OPERATIONS:
                raise TooLarge(f"A commit has at most {MAX_OPERATIONS:,} operations: split it.")
        if not header:
            raise BadRequest('The first line must be {"key": "header", "value": {"summary": …}}.')
        parent = header.get("parentCommit")
        if parent is not None and not isinstance(parent, str):
            raise BadRequest("parentCommit must be a sha.")
        for op in operations:
            if isinstance(op, AddFile):
                refuse_bad_card(op.path, op.content, repository.kind)
        title, description = text_field(header, "summary", ""), header.get("description") or ""
        if not isinstance(description, str):
            raise BadRequest("The field 'description' must be a text.")
        told = (operations, title, description, parent)
        answer: dict[str, Any] = {"success": True, "hookOutput": ""}
        base = repo_url(request, repository)
        number = pulls.number_of(rest)
        if create_pull:
            pull, oid = pulls.open_with_commit(self.actor, repository, rest, *told)
            answer["pullRequestUrl"] = f"{base}/discussions/{pull.number}"
        elif number is not None:
            oid = pulls.commit_to(self.actor, pulls.find_pull_request(repository, number), *told)
        else:
            oid = commit(self.actor, repository, rest, *told)
        return Response(answer | {"commitOid": oid, "commitUrl": f"{base}/commit/{oid}"})


def _lines(request: HttpRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, value) of every line. Also takes the one JSON object which old clients send."""
    stream, announced = body_stream(request)
    read = 0
    if "ndjson" not in (request.content_type or ""):
        yield from _object_lines(request)
        return
    rest = b""
    while True:
        block = stream.read(1024 * 1024)
        read += len(block)
        if read > MAX_COMMIT_BYTES:
            raise TooLarge(f"A commit's body is at most {MAX_COMMIT_BYTES:,} bytes: push large files by Xet or LFS.")
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > MAX_LINE_BYTES or any(len(line) > MAX_LINE_BYTES for line in lines):
            raise TooLarge("A line of the commit is too long: a file of more than 10 MiB is pushed by Xet or LFS.")
        if not block:
            if announced is not None and read < announced:
                raise BadRequest(
                    f"The body was cut off after {read:,} of {announced:,} bytes: nothing was committed, send it again."
                )
            lines.append(rest)
        for line in lines:
            if line.strip():
                yield _line(line)
        if not block:
            break


def _line(line: bytes) -> tuple[str, dict[str, Any]]:
    data = parse_json(line, f"A line of the commit is not JSON: {line[:60]!r}.")
    if not isinstance(data, dict) or not isinstance(data.get("key"), str) or not isinstance(data.get("value"), dict):
        raise BadRequest('Every line of a commit is {"key": text, "value": object}.')
    return data["key"], data["value"]


def _object_lines(request: HttpRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    data = parse_json(request.body or b"{}", "The body is neither NDJSON nor JSON.")
    if not isinstance(data, dict):
        raise BadRequest("The body must be NDJSON lines or one JSON object.")
    yield "header", {key: data[key] for key in ("summary", "description", "parentCommit") if key in data}
    names = {"files": "file", "lfsFiles": "lfsFile", "deletedFiles": "deletedFile", "deletedFolders": "deletedFolder"}
    for plural, key in names.items():
        rows = data.get(plural, [])
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise BadRequest(f"The field {plural!r} must be a list of objects.")
        for row in rows:
            yield key, row


def _operation(key: str, value: dict[str, Any]) -> Operation:
    path = text_field(value, "path")
    if key == "file":
        if "oldPath" in value and "content" not in value:
            return Copy(path, text_field(value, "oldPath"))
        return AddFile(path, _content(path, value))
    if key == "lfsFile":
        if value.get("oldPath") and not value.get("oid"):
            return Copy(path, text_field(value, "oldPath"))
        oid, size = text_field(value, "oid").lower(), value.get("size")
        if value.get("algo", "sha256") != "sha256" or len(oid) != 64 or set(oid) - set("0123456789abcdef"):
            raise BadRequest(f"{path}: 'oid' must be a SHA-256 in 64 hex digits.")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise BadRequest(f"{path}: 'size' must be a whole number of bytes.")
        return AddContent(path, oid, size)
    if key == "deletedFile":
        return Delete(path)
    if key == "deletedFolder":
        return Delete(path, is_folder=True)
    raise BadRequest(f"A commit knows no operation {key[:40]!r}: use file, lfsFile, deletedFile or deletedFolder.")


def _content(path: str, value: dict[str, Any]) -> bytes:
    text, encoding = text_field(value, "content"), value.get("encoding", "base64")
    try:
        if encoding == "base64":
            return base64.b64decode(text, validate=True)
        if encoding == "utf-8":
            return text.encode()
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"The content of {path} is not valid {encoding}.") from error
    raise BadRequest(f"The content of {path} must be base64 or utf-8, not {str(encoding)[:40]!r}.")


def _looks_binary(path: str, sample: str) -> bool:
    try:
        data = base64.b64decode(sample, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{path}: 'sample' is not valid base64.") from error
    if b"\0" in data:
        return True
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start < len(data) - 4  # a character may be cut at the sample's end
    return False


def _text_at(repository: Repository, commit_oid: str, path: str, given: Any) -> bytes:
    if isinstance(given, str):
        return given.encode()
    try:
        entry: Entry = entry_at(repository, commit_oid, path)
    except EntryNotFound:
        return b""
    return read_small(repository, entry)
