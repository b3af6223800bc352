"""Squashing, and what stored contents a repository holds: list, delete for good, grant on (hub-protocol §3)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.errors import BadRequest
from models_registry.hfapi.base import TYPES, HubView, json_object, moment, number, page_of, text_field
from models_registry.repos.contents import MAX_DELETED, delete_contents, grant_contents, stored_files
from models_registry.repos.models import GIT_TYPES, RepoType
from models_registry.repos.services import find_repository
from models_registry.repos.squash import squash

MAX_GRANTED = 500


class SuperSquash(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, rest: str) -> Response:
        """A branch's (or a pull request's) history becomes one commit."""
        repository = self.repository(types, namespace, name)
        oid = squash(self.actor, repository, rest, text_field(json_object(request), "message", ""))
        return Response({"success": True, "commitOid": oid})


class LfsFiles(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Every stored content of the repository, newest first."""
        repository = self.repository(types, namespace, name)
        files = stored_files(self.actor, repository)
        limit = number(request, "limit", 1000, 1000) or 1
        offset = number(request, "cursor", 0, 10**9)
        rows = [
            {
                "fileOid": file.sha256,
                "oid": file.sha256,
                "filename": file.path,
                "pushedAt": moment(file.pushed_at),
                "size": file.size_bytes,
                **({"ref": file.ref} if file.ref else {}),
            }
            for file in files[offset : offset + limit]
        ]
        return page_of(request, rows, len(files), offset, limit)


class LfsFilesBatch(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Delete contents for good, and (unless told otherwise) the files which name them from all refs."""
        repository = self.repository(types, namespace, name)
        deletions = json_object(request).get("deletions")
        if not isinstance(deletions, dict):
            raise BadRequest("The field 'deletions' must be an object.")
        rewrite = deletions.get("rewriteHistory", True)
        if not isinstance(rewrite, bool):
            raise BadRequest("The field 'rewriteHistory' must be true or false.")
        wanted = _sha256s(deletions.get("sha"), "deletions.sha", MAX_DELETED)
        count = delete_contents(self.actor, repository, wanted, rewrite_history=rewrite)
        return Response({"success": True, "deleted": count})


class LfsFilesDuplicate(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Contents of this repository may be named by `target` too. What fails is listed, the rest is granted."""
        source = self.repository(types, namespace, name)
        data = json_object(request)
        target, files = data.get("target"), data.get("files")
        if not isinstance(target, dict):
            raise BadRequest("The field 'target' must be an object with 'type' and 'name'.")
        kind = text_field(target, "type", RepoType.MODEL.value)
        if f"{kind}s" not in TYPES:
            raise BadRequest(
                f"The target's type {kind[:40]!r} is none of {', '.join(kind.value for kind in GIT_TYPES)}."
            )
        into = find_repository(self.actor, TYPES[f"{kind}s"], text_field(target, "name"), follow=True)
        if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
            raise BadRequest("The field 'files' must be a list of objects.")
        wanted = _sha256s([file.get("sha256") for file in files], "sha256", MAX_GRANTED)
        failed = grant_contents(self.actor, source, into, wanted)
        return Response({"failed": [{"sha256": sha256, "error": error} for sha256, error in failed.items()]})


def _sha256s(value: Any, what: str, most: int) -> list[str]:
    if not isinstance(value, list) or len(value) > most:
        raise BadRequest(f"The field {what!r} must be a list of at most {most:,}.")
    for text in value:
        if not isinstance(text, str) or len(text) != 64 or set(text) - set("0123456789abcdef"):
            raise BadRequest(f"The field {what!r} holds something which is no SHA-256 in 64 lower-case hex digits.")
    return value
