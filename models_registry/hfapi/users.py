"""People and organisations: overviews, members, followers, own repositories (hub-protocol §3)."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

from django.db.models import Count, Q, QuerySet, Sum
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts import members
from models_registry.accounts.models import Membership, Namespace, Role, User
from models_registry.accounts.policies import can_see_roles, readable_by
from models_registry.accounts.services import find_organization, find_user
from models_registry.community.collections.models import Upvote
from models_registry.community.discussions.models import Discussion
from models_registry.community.likes.models import Like
from models_registry.errors import BadRequest, Forbidden, Unauthorized
from models_registry.hfapi.base import HubView, endpoint, json_object, moment, number, text_field
from models_registry.hfapi.identity import AVATAR
from models_registry.repos.models import Repository, RepoType


class UserOverview(HubView):
    def get(self, request: Request, user: str) -> Response:
        """What a user's profile says, and how much is theirs."""
        person = find_user(user)
        own = person.namespace
        followers, following = members.follow_counts(own)
        return Response(
            _person(person)
            | _repositories(self, own)
            | {
                "numLikes": Like.objects.filter(user=person).filter(_seen(self)).count(),
                "numUpvotes": Upvote.objects.filter(user=person, collection__private=False).count(),
                "numDiscussions": Discussion.objects.filter(author=person).filter(_seen(self)).count(),
                "details": own.details or None,
                "numFollowers": followers,
                "numFollowing": following,
                "isFollowing": members.follows(self.actor, own),
                "createdAt": moment(own.created_at),
                "orgs": [_organization(row.namespace) for row in members.organizations_of(person)],
            }
        )


class OrganizationOverview(HubView):
    def get(self, request: Request, organization: str) -> Response:
        """What an organisation's profile says, and how much is theirs."""
        found = find_organization(organization)
        followers, _ = members.follow_counts(found)
        return Response(
            _organization(found)
            | _repositories(self, found)
            | {
                "details": found.details or None,
                "isVerified": False,
                "isFollowing": members.follows(self.actor, found),
                "numUsers": members.members_of(found).count(),
                "numFollowers": followers,
                "createdAt": moment(found.created_at),
            }
        )


class UserFollowers(HubView):
    def get(self, request: Request, user: str) -> Response:
        """Who follows a user, newest first; paged."""
        return _page(request, members.followers_of(find_user(user).namespace), lambda row: _person(row.user))


class UserFollowing(HubView):
    def get(self, request: Request, user: str) -> Response:
        """Which users a user follows, newest first; paged."""
        rows = members.followed_by(find_user(user)).filter(namespace__user__is_active=True)
        return _page(request, rows, lambda row: _person(row.namespace.user, row.namespace))


class OrganizationFollowers(HubView):
    def get(self, request: Request, organization: str) -> Response:
        """Who follows an organisation, newest first; paged."""
        return _page(request, members.followers_of(find_organization(organization)), lambda row: _person(row.user))


class OrganizationMembers(HubView):
    def get(self, request: Request, organization: str) -> Response:
        """Who is in an organisation; to its members, also with which `role`. Paged."""
        found = find_organization(organization)
        tells_roles = can_see_roles(self.actor, found)

        def describe(row: Membership) -> dict[str, Any]:
            return _person(row.user) | ({"role": row.role} if tells_roles else {})

        return _page(request, members.members_of(found), describe, newest_first=False)


class OrganizationMember(HubView):
    def put(self, request: Request, organization: str, user: str) -> Response:
        """Add a user with a `role` (read, contributor, write, admin), or change it."""
        data = json_object(request)
        row = members.set_member(self.actor, find_organization(organization), user, text_field(data, "role", Role.READ))
        return Response(_person(row.user) | {"role": row.role})

    def delete(self, request: Request, organization: str, user: str) -> Response:
        """Take a user out; members may take themselves out."""
        members.remove_member(self.actor, find_organization(organization), user)
        return Response({})


class UserFollow(HubView):
    def post(self, request: Request, user: str) -> Response:
        """Follow a user."""
        members.set_follow(self.actor, find_user(user).namespace, follows=True)
        return Response({})

    def delete(self, request: Request, user: str) -> Response:
        """Unfollow a user."""
        members.set_follow(self.actor, find_user(user).namespace, follows=False)
        return Response({})


class OrganizationFollow(HubView):
    def post(self, request: Request, organization: str) -> Response:
        """Follow an organisation."""
        members.set_follow(self.actor, find_organization(organization), follows=True)
        return Response({})

    def delete(self, request: Request, organization: str) -> Response:
        """Unfollow an organisation."""
        members.set_follow(self.actor, find_organization(organization), follows=False)
        return Response({})


class OwnRepositories(HubView):
    def get(self, request: Request, organization: str = "") -> Response:
        """The caller's repositories, or an organisation's to its members, with what they store. Paged."""
        if self.actor.user is None:
            raise Unauthorized("Sign in or send a token to list your repositories.")
        owner = find_organization(organization) if organization else find_user(self.actor.user.username).namespace
        if not can_see_roles(self.actor, owner):
            raise Forbidden(f"Only members of {owner.name} may list its repositories with what they store.")
        rows = Repository.objects.filter(readable_by(self.actor), namespace=owner).order_by("-pk")
        total = rows.aggregate(total=Sum("used_storage_bytes"))["total"] or 0

        def describe(row: Repository) -> dict[str, Any]:
            share = 100 * row.used_storage_bytes / total if total else 0
            return {
                "id": row.full_name,
                "type": row.type,
                "updatedAt": moment(row.last_modified),
                "visibility": "private" if row.private else "public",
                "storage": row.used_storage_bytes,
                "storagePercent": round(share, 2),
            }

        return _page(request, rows, describe)


def _page(
    request: Request, rows: QuerySet[Any], describe: Callable[[Any], dict[str, Any]], *, newest_first: bool = True
) -> Response:
    """A page of rows in the order of their keys; the cursor is the last key, so no page costs more than another."""
    limit = number(request, "limit", 100, 500) or 1
    after = request.query_params.get("cursor")
    if after is not None:
        if not after.isdecimal() or len(after) > 18:
            raise BadRequest("cursor is not one of this list's.")
        rows = rows.filter(pk__lt=int(after)) if newest_first else rows.filter(pk__gt=int(after))
    found = list(rows[: limit + 1])
    response = Response([describe(row) for row in found[:limit]])
    if len(found) > limit:
        query = [(k, v) for k, values in request.query_params.lists() for v in values if k != "cursor"]
        url = f"{endpoint(request)}{quote(request.path)}?{urlencode([*query, ('cursor', found[limit - 1].pk)])}"
        response["Link"] = f'<{url}>; rel="next"'
    return response


def _person(user: User, own: Namespace | None = None) -> dict[str, Any]:
    own = own or getattr(user, "namespace", None)
    return {
        "_id": f"{user.pk:024x}",
        "type": "user",
        "user": user.username,
        "fullname": (own.full_name if own else "") or user.username,
        "avatarUrl": AVATAR,
        "isPro": False,
    }


def _organization(namespace: Namespace) -> dict[str, Any]:
    return {
        "_id": f"{namespace.pk:024x}",
        "type": "org",
        "name": namespace.name,
        "fullname": namespace.full_name or namespace.name,
        "avatarUrl": AVATAR,
        "isEnterprise": False,
    }


def _repositories(view: HubView, owner: Namespace) -> dict[str, int]:
    """How many repositories of each type the caller may see there."""
    kinds = {f"num{kind.plural.capitalize()}": Count("pk", filter=Q(type=kind)) for kind in RepoType}
    return Repository.objects.filter(readable_by(view.actor), namespace=owner).aggregate(**kinds)


def _seen(view: HubView) -> Q:
    """What belongs to repositories which the caller may see: others do not exist, not even as a number."""
    return readable_by(view.actor, "repository__")
