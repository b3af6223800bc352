"""git-lfs: the batch API and its `basic` transfers, for old clients, file objects and git (hub-protocol §2.6.3b)."""

from typing import Any
from urllib.parse import quote

from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.policies import can_read, can_read_files, can_upload, can_write
from models_registry.accounts.tokens import actor_of_claims, claims_of
from models_registry.community.discussions import pulls
from models_registry.community.discussions.offers import offer_blob, offered
from models_registry.errors import BadRequest, Forbidden, NotFound
from models_registry.hfapi.base import HubView, body_stream, endpoint, json_object
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository, RepositoryBlob, RepoType
from models_registry.repos.services import find_repository, grant_blob
from models_registry.storage.delivery import content_of_blob, serve
from models_registry.storage.services import get_blob, take_in

URL_SECONDS = 24 * 3600
_SALT = "lfs-url"
_CONTENT_TYPE = "application/vnd.git-lfs+json"


class Batch(HubView):
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
        oids = [oid for oid, _ in wanted]
        here = set(
            RepositoryBlob.objects.filter(repository=repository, blob__in=oids).values_list("blob_id", flat=True)
        )
        if is_offer and self.actor.user is not None:
            here |= offered(repository, self.actor.user, oids)
        answers = [self._answer(repository, operation, oid, size, oid in here) for oid, size in wanted]
        return Response({"transfer": "basic", "objects": answers, "hash_algo": "sha256"}, content_type=_CONTENT_TYPE)

    def _answer(self, repository: Repository, operation: str, oid: str, size: int, is_here: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {"oid": oid, "size": size, "authenticated": True}
        if operation == "download" and not is_here:
            return answer | {"error": {"code": 404, "message": "This repository holds no such object."}}
        if operation == "upload" and is_here:
            return answer
        claims = {"repository": repository.pk, "oid": oid, "size": size, "operation": operation}
        claims |= claims_of(self.actor)
        href = f"{endpoint(self.request)}/lfs/{signing.dumps(claims, salt=_SALT, compress=True)}"
        action: dict[str, Any] = {"href": href, "expires_in": URL_SECONDS}
        answer["actions"] = {operation: action}
        if operation == "upload":
            verify = f"{endpoint(self.request)}/{quote(repository.path)}.git/info/lfs/verify"
            answer["actions"]["verify"] = {"href": verify}
        return answer


class Verify(HubView):
    def post(self, request: Request, kind: RepoType, namespace: str, name: str) -> Response:
        """Whether an object has arrived."""
        repository = find_repository(self.actor, kind, f"{namespace}/{name}")
        oid, size = _object(json_object(request))
        mine = RepositoryBlob.objects.filter(repository=repository, blob=oid).exists()
        if not mine and self.actor.user is not None:
            mine = oid in offered(repository, self.actor.user, [oid])
        if not mine:
            raise NotFound("The object has not arrived: upload it again.")
        if get_blob(oid).size_bytes != size:
            raise BadRequest(f"The object has {get_blob(oid).size_bytes:,} bytes, not {size:,}.")
        return Response({}, content_type=_CONTENT_TYPE)


@csrf_exempt
def transfer(request: HttpRequest, signed: str) -> HttpResponseBase:
    """PUT or GET one object. The URL itself is the permission: clients send no token with it.

    It lasts no longer than the rights of whoever asked for it: a revoked token's links end with it.
    """
    try:
        claims = signing.loads(signed, salt=_SALT, max_age=URL_SECONDS)
    except signing.BadSignature as error:
        raise Forbidden("This link is forged or has ended: ask the batch API for a new one.") from error
    repository = Repository.objects.select_related("namespace").filter(pk=claims["repository"]).first()
    actor = actor_of_claims(claims["user"], claims["token"])
    if repository is None or actor is None or not can_read(actor, repository):
        raise NotFound("The repository of this link is gone, or the token which asked for it has ended.")
    if request.method in ("GET", "HEAD") and claims["operation"] == "download" and can_read_files(actor, repository):
        return serve(request, content_of_blob(get_blob(claims["oid"])), "application/octet-stream", {})
    if request.method == "PUT" and claims["operation"] == "upload":
        if not can_upload(actor, repository):
            raise Forbidden("You may not send files to this repository any more.")
        stream, announced = body_stream(request)
        if announced is not None and announced != claims["size"]:
            raise BadRequest(f"The body has {announced:,} bytes, not the {claims['size']:,} which were announced.")
        blob = take_in(stream, claims["oid"], claims["size"])
        if can_write(actor, repository):
            grant_blob(repository, blob)
        elif actor.user is not None:
            offer_blob(repository, actor.user.pk, blob)
        return HttpResponse(status=200, headers={"ETag": f'"{claims["oid"]}"'})
    return JsonResponse({"error": "This link is for PUT of an upload or GET of a download."}, status=405)


def _object(item: Any) -> tuple[str, int]:
    oid, size = (item.get("oid"), item.get("size")) if isinstance(item, dict) else (None, None)
    if not isinstance(oid, str) or len(oid) != 64 or set(oid) - set("0123456789abcdef"):
        raise BadRequest("An object's 'oid' is a SHA-256 in 64 lower-case hex digits.")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**50:
        raise BadRequest("An object's 'size' is its number of bytes.")
    return oid, size
