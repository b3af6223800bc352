"""The CAS's HTTP face (hub-protocol §5). It has tokens of its own; what it does not offer is a quick 404."""

import re
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.actors import Actor
from models_registry.community.discussions import pulls
from models_registry.errors import BadRequest, NotFound, TooLarge, Unauthorized
from models_registry.hfapi.base import HubView, body_stream, endpoint, flag
from models_registry.repos.downloads import count_download
from models_registry.repos.gating import require_files
from models_registry.repos.models import Repository
from models_registry.repos.revisions import resolve_revision
from models_registry.storage.delivery import serve, span_of
from models_registry.xet import reconstruction as reconstructions
from models_registry.xet import services
from models_registry.xet.dedupe import known_chunks

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


class XetToken(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, right: str, rest: str) -> Response:
        """A token for the CAS: to read, or to write, in this repository."""
        repository = self.repository(types, namespace, name)
        write, offers = right == "write", False
        create_pull = write and flag(request.query_params.get("create_pr", "false"))
        if write:
            offers = pulls.require_upload(self.actor, repository, rest, create_pull=create_pull)
        else:
            require_files(self.actor, repository, endpoint(request))
        # With create_pr clients write any revision, even "None": the commit says which branch is meant.
        if not create_pull:
            resolve_revision(self.actor, repository, rest)
        return token_answer(request, self.actor, repository, write=write and not offers, offers=offers)


def token_answer(
    request: Request, actor: Actor, repository: Repository, *, write: bool, offers: bool = False
) -> Response:
    """The token as both kinds of clients read it: hf_xet the body, Python the headers."""
    token, ends = services.make_token(actor, repository, write=write, offers=offers)
    cas = f"{endpoint(request)}/cas/{services.realm_of(actor)}"
    return Response(
        {"accessToken": token, "exp": ends, "casUrl": cas},
        headers={"X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(ends), "X-Xet-Cas-Url": cas},
    )


@csrf_exempt
@require_POST
def xorb(request: HttpRequest, hash_hex: str) -> JsonResponse:
    """Take a xorb: its raw body, at most 64 MiB."""
    grant = _grant(request)
    stream, announced = body_stream(request)
    _check_length(announced, services.MAX_XORB_BYTES)
    return JsonResponse({"was_inserted": services.take_xorb(grant, hash_hex, stream)})


@csrf_exempt
@require_POST
def shard(request: HttpRequest, *, events: bool = False) -> HttpResponseBase:
    """Take a shard: which files the uploaded xorbs make up. `events`: answer by lines of JSON (the second version)."""
    grant = _grant(request)
    stream, announced = body_stream(request)
    _check_length(announced, services.MAX_SHARD_BYTES)
    body = stream.read(services.MAX_SHARD_BYTES + 1)
    _check_length(len(body), services.MAX_SHARD_BYTES)
    if announced is not None and len(body) < announced:
        raise BadRequest(f"The body was cut off after {len(body):,} of {announced:,} bytes: send it again.")
    services.take_shard(grant, body)
    if events:
        return HttpResponse('{"type": "result", "result": 1}\n', content_type="application/x-ndjson")
    return JsonResponse({"result": 1})


@csrf_exempt
@require_safe
def chunk(request: HttpRequest, hash_hex: str) -> HttpResponse:
    """Which xorbs hold a chunk and what lies around it, as a shard whose hashes are keyed."""
    return HttpResponse(known_chunks(_grant(request), hash_hex), content_type="application/octet-stream")


@csrf_exempt
@require_safe
def reconstruction(request: HttpRequest, hash_hex: str, *, version: int = 1) -> JsonResponse:
    """Which chunks make up a file, or a range of it."""
    grant = _grant(request)
    header = request.headers.get("Range", "")
    match = _RANGE.fullmatch(header.strip())
    if header and not match:
        raise BadRequest(f"{header[:60]!r} is not one range such as bytes=0-99.")
    start = int(match[1]) if match else 0
    end = int(match[2]) + 1 if match and match[2] else None
    cas = f"{endpoint(request)}/cas/{services.realm_of(grant.actor)}"
    found = reconstructions.reconstruction(grant, hash_hex, start, end, cas)
    if start == 0:  # a download counts once, however many ranges it takes
        count_download(grant.repository)
    return JsonResponse(found if version == 1 else reconstructions.second_version(found))


@csrf_exempt
@require_safe
def signed_xorb(request: HttpRequest, signed: str) -> HttpResponseBase:
    """The bytes of some chunks. The address itself is the permission: clients send no token with it."""
    content = reconstructions.content_of_signed(signed, lambda size: span_of(request, size, ""))
    return serve(request, content, "application/octet-stream", {"Cache-Control": "private, immutable, max-age=3600"})


@csrf_exempt
def not_offered(request: HttpRequest, **_: Any) -> JsonResponse:
    """Direct uploads, telemetry, summaries of chunks: clients go on without them after a 404."""
    raise NotFound("This CAS does not offer that.")


def _grant(request: HttpRequest) -> services.Grant:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value:
        raise Unauthorized("Send the Xet token as a bearer token.")
    return services.read_token(value.strip())


def _check_length(length: int | None, most: int) -> None:
    if length is not None and length > most:
        raise TooLarge(f"The body has {length:,} bytes; at most {most:,} are taken.")
