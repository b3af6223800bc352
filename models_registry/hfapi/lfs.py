"""git-lfs: the batch API, its `basic` transfers and those in parts, for old clients, file objects and git (§2.6.3b)."""

from typing import Any

from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read, can_read_files, can_upload, can_write
from models_registry.accounts.tokens import actor_of_claims, claims_of
from models_registry.community.discussions import pulls
from models_registry.community.discussions.offers import offer_blob, offered
from models_registry.errors import BadRequest, Forbidden, NotFound, TooLarge
from models_registry.hfapi import lfs_parts
from models_registry.hfapi.base import MAX_JSON_BYTES, HubView, body_stream, endpoint, json_object, parse_json
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository, RepositoryBlob, RepoType
from models_registry.repos.quotas import require_room
from models_registry.repos.services import find_repository, grant_blob
from models_registry.storage.delivery import content_of_blob, serve
from models_registry.storage.models import Blob
from models_registry.storage.services import damaged, get_blob, take_in

URL_SECONDS = 24 * 3600
_SALT = "lfs-url"
_CONTENT_TYPE = "application/vnd.git-lfs+json"


class LfsView(HubView):
    """Refusals as git-lfs understands them: a `message`, and Basic where it should ask for a token."""

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(response.data, dict) and "error" in response.data:
            response.data["message"] = response.data["error"]
        if response.status_code == 401:
            response["WWW-Authenticate"] = response["LFS-Authenticate"] = 'Basic realm="FitHub"'
        return response


class Batch(LfsView):
    def post(self, request: Request, kind: RepoType, namespace: str, name: str) -> Response:
        """For each object: where to PUT it (nothing when it is here already), or where to GET it."""
        repository = find_repository(self.actor, kind, f"{namespace}/{name}")
        data = json_object(request)
        operation, objects = data.get("operation"), data.get("objects")
        if operation not in ("upload", "download"):
            raise BadRequest("The field 'operation' must be upload or download.")
        if not isinstance(objects, list) or len(objects) > 1000:
            raise BadRequest("The field 'objects' must be a list of at most 1,000 objects.")
        is_offer = operation == "upload" and pulls.only_offers(self.actor, repository)
        if operation == "download":
            require_files(self.actor, repository, endpoint(request))
        wanted = [_object(item) for item in objects]
        in_parts = operation == "upload" and _in_parts(data.get("transfers"), wanted)
        oids = [oid for oid, _ in wanted]
        rows = RepositoryBlob.objects.filter(repository=repository, blob__in=oids)
        here = set(rows.values_list("blob_id", flat=True))
        if operation == "upload" and here:  # the client will name them without sending them again
            rows.update(used_at=timezone.now())
        if is_offer and self.actor.user is not None:
            here |= offered(repository, self.actor.user, oids)
        if operation == "upload":
            require_room(repository, sum(size for oid, size in dict(wanted).items() if oid not in here))
            here -= damaged(here)
        answers = [self._answer(repository, operation, oid, size, oid in here, in_parts) for oid, size in wanted]
        body = {"transfer": "multipart" if in_parts else "basic", "objects": answers, "hash_algo": "sha256"}
        return Response(body, content_type=_CONTENT_TYPE)

    def _answer(
        self, repository: Repository, operation: str, oid: str, size: int, is_here: bool, in_parts: bool
    ) -> dict[str, Any]:
        answer: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
        if operation == "download" and not is_here:
            return answer | {"error": {"code": 404, "message": "This repository holds no such object."}}
        if operation == "upload" and is_here:
            return answer
        common = {"repository": repository.pk, "oid": oid, "size": size} | claims_of(self.actor)

        def sign(claims: dict[str, Any]) -> str:
            return f"{endpoint(self.request)}/lfs/{signing.dumps(common | claims, salt=_SALT, compress=True)}"

        if in_parts:
            action = lfs_parts.action(sign, size, URL_SECONDS)
        else:
            action = {"href": sign({"operation": operation}), "expires_in": URL_SECONDS}
        answer["actions"] = {operation: action}
        if operation == "upload":
            # Signed as well: git-lfs sends no token there, other clients do.
            answer["actions"]["verify"] = {"href": sign({"operation": "verify"})}
        return answer


class Verify(LfsView):
    def post(self, request: Request, kind: RepoType, namespace: str, name: str) -> Response:
        """Whether an object has arrived."""
        repository = find_repository(self.actor, kind, f"{namespace}/{name}")
        oid, size = _object(json_object(request))
        _require_arrived(self.actor, repository, oid, size)
        return Response({}, content_type=_CONTENT_TYPE)


class Locks(LfsView):
    """git-lfs asks before every push; a 404 tells it that there are none, and it goes on without a word."""

    def get(self, request: Request, kind: RepoType, namespace: str, name: str, rest: str = "") -> Response:
        find_repository(self.actor, kind, f"{namespace}/{name}")
        raise NotFound("This hub keeps no file locks: everyone pushes to a branch of their own.")

    post = get


@csrf_exempt
def transfer(request: HttpRequest, signed: str) -> HttpResponseBase:
    """PUT or GET one object or a part of it, complete or verify it. The URL itself is the permission.

    It lasts no longer than the rights of whoever asked for it: a revoked token's links end with it. Pages of other
    origins may use it too (huggingface.js in a browser): whoever has the URL needs nothing else.
    """
    response = HttpResponse(status=204) if request.method == "OPTIONS" else _transfer(request, signed)
    response["Access-Control-Allow-Origin"] = "*"
    response["Access-Control-Expose-Headers"] = "ETag, Content-Range, Accept-Ranges"
    if request.method == "OPTIONS":
        response["Access-Control-Allow-Methods"] = "GET, HEAD, PUT, POST"
        response["Access-Control-Allow-Headers"] = "*"
        response["Access-Control-Max-Age"] = "86400"
    return response


def _transfer(request: HttpRequest, signed: str) -> HttpResponseBase:
    try:
        claims = signing.loads(signed, salt=_SALT, max_age=URL_SECONDS)
    except signing.BadSignature as error:
        raise Forbidden("This link is forged or has ended: ask the batch API for a new one.") from error
    repository = Repository.objects.select_related("namespace").filter(pk=claims["repository"]).first()
    actor = actor_of_claims(claims["user"], claims["token"])
    if repository is None or actor is None or not can_read(actor, repository):
        raise NotFound("The repository of this link is gone, or the token which asked for it has ended.")
    operation = claims["operation"]
    if request.method in ("GET", "HEAD") and operation == "download" and can_read_files(actor, repository):
        return serve(request, content_of_blob(get_blob(claims["oid"])), "application/octet-stream", {})
    if (request.method, operation) in (("PUT", "upload"), ("PUT", "part"), ("POST", "complete"), ("POST", "verify")):
        if not can_upload(actor, repository):
            raise Forbidden("You may not send files to this repository any more.")
        return _taken(request, actor, repository, claims)
    return JsonResponse({"error": f"This link is not for {request.method}, but to {operation} an object."}, status=405)


def _taken(request: HttpRequest, actor: Actor, repository: Repository, claims: dict[str, Any]) -> HttpResponse:
    """What an upload sends: the object or a part of it, or the wish to complete or verify it."""
    if claims["operation"] == "verify":
        _require_arrived(actor, repository, claims["oid"], claims["size"])
    elif claims["operation"] == "part":
        stream, _ = body_stream(request)
        return HttpResponse(headers={"ETag": f'"{lfs_parts.take_part(repository, claims, stream)}"'})
    elif claims["operation"] == "complete":
        if not _has_arrived(actor, repository, claims["oid"]):  # else the answer was lost, and it is asked again
            stream, announced = body_stream(request)
            if (announced or 0) > MAX_JSON_BYTES:
                raise TooLarge(f"The body is larger than {MAX_JSON_BYTES:,} bytes.")
            data = parse_json(stream.read(MAX_JSON_BYTES) or b"{}", "The body is not valid JSON.")
            if not isinstance(data, dict):
                raise BadRequest("The body must be a JSON object.")
            lfs_parts.complete(repository, claims, data, lambda blob: _show(actor, repository, blob))
    else:
        stream, announced = body_stream(request)
        if announced is not None and announced != claims["size"]:
            raise BadRequest(f"The body has {announced:,} bytes, not the {claims['size']:,} which were announced.")
        if not _has_arrived(actor, repository, claims["oid"]):  # the room which the batch found may be gone
            require_room(repository, claims["size"])
        _show(actor, repository, take_in(stream, claims["oid"], claims["size"]))
    return HttpResponse(headers={"ETag": f'"{claims["oid"]}"'})


def _show(actor: Actor, repository: Repository, blob: Blob) -> None:
    """Whoever sent a content may name it: in commits, or (who may not write here) in pull requests of their own."""
    if can_write(actor, repository):
        grant_blob(repository, blob)
    elif actor.user is not None:
        offer_blob(repository, actor.user.pk, blob)


def _has_arrived(actor: Actor, repository: Repository, oid: str) -> bool:
    if RepositoryBlob.objects.filter(repository=repository, blob=oid).exists():
        return True
    return actor.user is not None and oid in offered(repository, actor.user, [oid])


def _require_arrived(actor: Actor, repository: Repository, oid: str, size: int) -> None:
    if not _has_arrived(actor, repository, oid):
        raise NotFound("The object has not arrived: upload it again.")
    there = get_blob(oid).size_bytes
    if there != size:
        raise BadRequest(f"The object has {there:,} bytes, not {size:,}.")


def _in_parts(transfers: Any, wanted: list[tuple[str, int]]) -> bool:
    """Whether the client knows uploads in parts and has something which is worth them."""
    knows = isinstance(transfers, list) and "multipart" in transfers
    return knows and any(lfs_parts.worth_parts(size) for _, size in wanted)


def _object(item: Any) -> tuple[str, int]:
    oid, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(oid, str) or len(oid) != 64 or set(oid) - set("0123456789abcdef"):
        raise BadRequest("An object's 'oid' is a SHA-256 in 64 lower-case hex digits.")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**50:
        raise BadRequest("An object's 'size' is its number of bytes.")
    return oid, size
