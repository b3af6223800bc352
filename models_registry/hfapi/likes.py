"""Likes (hub-protocol §3)."""

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts.models import User
from models_registry.accounts.services import find_user
from models_registry.community.likes import services
from models_registry.errors import NotFound, RepoNotFound
from models_registry.hfapi.base import HubView, moment, number, page_of
from models_registry.hfapi.identity import AVATAR
from models_registry.hfapi.info import RepoInfo


class Like(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Like a repository; once more changes nothing."""
        repository = self.repository(types, namespace, name)
        services.like(self.actor, repository)
        return Response({"liked": True, "likes": repository.likes})

    def delete(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Take a like back; where there is none, nothing changes."""
        repository = self.repository(types, namespace, name)
        services.unlike(self.actor, repository)
        return Response({"liked": False, "likes": repository.likes})


class LikeWithoutNamespace(RepoInfo):
    """`<types>/x/like`: to GET a repository called `like`, to the rest a like of a repository without an owner."""

    schema = None

    def post(self, request: Request, types: str, namespace: str) -> Response:
        raise RepoNotFound("Repository not found", status=401 if self.actor.is_anonymous else 404)

    delete = post

    def get(self, request: Request, types: str, namespace: str, name: str = "like", rest: str = "main") -> Response:
        return super().get(request, types, namespace, name, rest)


class Likers(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Who likes a repository, newest first; paged."""
        repository = self.repository(types, namespace, name)
        limit, offset = number(request, "limit", 500, 1000) or 1, number(request, "cursor", 0, 10**9)
        rows = list(services.likers_of(repository)[offset : offset + limit + 1])
        users = [
            {
                "user": row.user.username,
                "fullname": _full_name(row.user),
                "avatarUrl": AVATAR,
                "isPro": False,
                "type": "user",
            }
            for row in rows[:limit]
        ]
        return page_of(request, users, offset + len(rows), offset, limit)


class LikedRepos(HubView):
    def get(self, request: Request, username: str) -> Response:
        """What a user likes and the caller may see, newest first; paged."""
        if "\0" in username:
            raise NotFound("There is no such user.")
        user = find_user(username)
        limit, offset = number(request, "limit", 500, 1000) or 1, number(request, "cursor", 0, 10**9)
        rows = list(services.likes_of(self.actor, user)[offset : offset + limit + 1])
        items = [
            {
                "createdAt": moment(row.created_at),
                "repo": {"name": row.repository.full_name, "type": row.repository.type},
            }
            for row in rows[:limit]
        ]
        return page_of(request, items, offset + len(rows), offset, limit)


def _full_name(user: User) -> str:
    namespace = getattr(user, "namespace", None)
    return namespace.full_name if namespace and namespace.full_name else user.username
