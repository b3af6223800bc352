"""Who am I (hub-protocol §2.1)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.actors import Actor
from models_registry.accounts.members import organizations_of
from models_registry.accounts.models import AccessToken, Membership, Namespace, TokenScope
from models_registry.errors import Unauthorized
from models_registry.hfapi.base import HubView, moment

AVATAR = "/static/avatar.svg"


class WhoAmI(HubView):
    def get(self, request: Request) -> Response:
        """Who the token belongs to, the organisations they are in, and what the token may."""
        user = self.actor.user
        if user is None:
            raise Unauthorized("Invalid username or password.")
        own = Namespace.objects.filter(user=user).first()
        return Response(
            {
                "type": "user",
                "id": f"{user.pk:024x}",
                "name": user.username,
                "fullname": (own.full_name if own else "") or user.get_full_name() or user.username,
                "email": user.email or None,
                "emailVerified": bool(user.email),
                "isPro": False,
                "canPay": False,
                "periodEnd": None,
                "avatarUrl": AVATAR,
                "orgs": [_organization(row) for row in organizations_of(user)],
                "auth": _credentials(self.actor),
            }
        )


def _organization(row: Membership) -> dict[str, Any]:
    return {
        "type": "org",
        "id": f"{row.namespace_id:024x}",
        "name": row.namespace.name,
        "fullname": row.namespace.full_name,
        "email": None,
        "canPay": False,
        "periodEnd": None,
        "avatarUrl": AVATAR,
        "roleInOrg": row.role,
        "isEnterprise": False,
    }


def _credentials(actor: Actor) -> dict[str, Any]:
    """A browser's session is told as a token which may all that its user may: clients read `role`."""
    token = actor.token
    described: dict[str, Any] = {
        "displayName": token.name if token else "session",
        "role": token.role if token else "write",
        "createdAt": moment(token.created_at if token else actor.user.date_joined),  # type: ignore[union-attr]
    }
    if token is not None and token.expires_at is not None:
        described["expiresAt"] = moment(token.expires_at)
    if token is not None and token.is_fine_grained:
        described["fineGrained"] = {
            "canReadGatedRepos": token.can_read_gated,
            "global": token.global_rights,
            "scoped": _scopes(token),
        }
    return {"type": "access_token", "accessToken": described}


def _scopes(token: AccessToken) -> list[dict[str, Any]]:
    rows = TokenScope.objects.filter(token=token).select_related("namespace", "repository").order_by("pk")
    return [{"entity": _entity(row), "permissions": row.rights} for row in rows]


def _entity(row: TokenScope) -> dict[str, Any]:
    if row.namespace is not None:
        kind = "org" if row.namespace.is_organization else "user"
        ident = row.namespace_id if row.namespace.is_organization else row.namespace.user_id
        return {"_id": f"{ident:024x}", "type": kind, "name": row.namespace.name}
    assert row.repository is not None, "a scope is a namespace or a repository"
    return {"_id": f"{row.repository_id:024x}", "type": row.repository.type, "name": row.repository.full_name}
