"""Who asked to be let into a gated repository, and what its owners answer (hub-protocol §3 Gated access)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.errors import BadRequest
from models_registry.hfapi.base import HubView, json_object, moment, number, page_of, text_field
from models_registry.repos import gating
from models_registry.repos.models import AccessRequest


class AccessRequests(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, status: str) -> Response:
        """The requests of one status, newest first; paged."""
        repository = self.repository(types, namespace, name)
        limit, offset = number(request, "limit", 100, 1000) or 1, number(request, "cursor", 0, 10**9)
        rows = list(gating.access_requests(self.actor, repository, status)[offset : offset + limit + 1])
        return page_of(request, [_shape(row) for row in rows[:limit]], offset + len(rows), offset, limit)


class HandleAccess(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Accept, reject or set back the request of a `user`, or the one with a `requestId`."""
        repository = self.repository(types, namespace, name)
        data = json_object(request)
        reason = data.get("rejectionReason") or ""
        if not isinstance(reason, str):
            raise BadRequest("The field 'rejectionReason' must be a text.")
        row = gating.decide_access(
            self.actor, repository, text_field(data, "status"), reason=reason.strip(), **_who(data)
        )
        return Response(_shape(row))


class GrantAccess(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Let a `user` in who need not have asked."""
        repository = self.repository(types, namespace, name)
        return Response(_shape(gating.grant_access(self.actor, repository, text_field(json_object(request), "user"))))


def _who(data: dict[str, Any]) -> dict[str, Any]:
    if ("user" in data) == ("requestId" in data):
        raise BadRequest("Name the request by 'user' or by 'requestId', by one of them.")
    if "user" in data:
        return {"username": text_field(data, "user")}
    ident = text_field(data, "requestId")
    if len(ident) != 24 or set(ident) - set("0123456789abcdef"):
        raise BadRequest("A 'requestId' has 24 hex digits.")
    return {"request_id": min(int(ident, 16), 2**63 - 1)}


def _shape(row: AccessRequest) -> dict[str, Any]:
    """As the protocol has it. Who was let in without asking did not share their address: it is null (0.20 reads it)."""
    user: dict[str, str | None] = {
        "user": row.user.username,
        "fullname": row.user.get_full_name() or row.user.username,
        "email": None if row.granted else row.user.email or None,
    }
    shape = {
        "requestId": f"{row.pk:024x}",
        "user": user,
        "status": row.status,
        "timestamp": moment(row.requested_at),
    }
    if row.fields:
        shape["fields"] = row.fields
    if row.rejection_reason:
        shape["rejectionReason"] = row.rejection_reason
    return shape
