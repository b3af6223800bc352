"""Create, change and delete repositories; branches and tags (hub-protocol §2.2, §2.7)."""

from typing import Any
from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.errors import BadRequest, Conflict
from models_registry.hfapi.base import HubView, json_object, repo_url, text_field
from models_registry.repos import services
from models_registry.repos.models import RepoType


class CreateRepo(HubView):
    def post(self, request: Request) -> Response:
        """Create a repository. 409, with its `url`, when it is there already."""
        data = json_object(request)
        kind, owner, name = _named(data, self.actor.name)
        try:
            repository = services.create_repository(self.actor, kind, name, owner, private=_private(data) or False)
        except Conflict as error:
            full_name = error.body.get("name", f"{owner}/{name}")
            found = services.find_repository(self.actor, kind, full_name)
            url = repo_url(request, found)
            raise Conflict(f"You already created this {kind.value} repo", {"url": url, "name": full_name}) from error
        return Response(
            {"url": repo_url(request, repository), "name": repository.full_name, "id": f"{repository.pk:024x}"}
        )


class DeleteRepo(HubView):
    def delete(self, request: Request) -> Response:
        """Delete a repository and its history."""
        kind, owner, name = _named(json_object(request), self.actor.name)
        services.delete_repository(self.actor, services.find_repository(self.actor, kind, f"{owner}/{name}"))
        return Response({})


class Settings(HubView):
    def put(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Change a repository's visibility."""
        repository = self.repository(types, namespace, name)
        data = json_object(request)
        private = _private(data)
        unknown = sorted(set(data) - {"private", "visibility"})
        if unknown:
            raise BadRequest(
                f"This hub does not know the settings {', '.join(unknown)}; it knows private and visibility."
            )
        if private is not None:
            services.set_visibility(self.actor, repository, private=private)
        else:
            services.require_write(self.actor, repository)
        return Response({"private": repository.private})


class AuthCheck(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, right: str = "read") -> Response:
        """200 when the caller may read (or, with `/write`, write) the repository."""
        repository = self.repository(types, namespace, name)
        if right == "write":
            services.require_write(self.actor, repository)
        return Response({})


class Branch(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, branch: str) -> Response:
        """Create a branch at `startingPoint`, or at main."""
        repository = self.repository(types, namespace, name)
        data = json_object(request)
        start = data.get("startingPoint")
        if start is not None and not isinstance(start, str):
            raise BadRequest("The field 'startingPoint' must be a text.")
        services.create_branch(self.actor, repository, branch, start, overwrite=bool(data.get("overwrite")))
        return Response({"url": f"{repo_url(request, repository)}/tree/{quote(branch, safe='')}"})

    def delete(self, request: Request, types: str, namespace: str, name: str, branch: str) -> Response:
        """Delete a branch."""
        services.delete_branch(self.actor, self.repository(types, namespace, name), branch)
        return Response({})


class Tag(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, revision: str) -> Response:
        """Tag a revision."""
        repository = self.repository(types, namespace, name)
        services.create_tag(self.actor, repository, text_field(json_object(request), "tag"), revision)
        return Response({})

    def delete(self, request: Request, types: str, namespace: str, name: str, revision: str) -> Response:
        """Delete a tag."""
        services.delete_tag(self.actor, self.repository(types, namespace, name), revision)
        return Response({})


def _named(data: dict[str, Any], own: str) -> tuple[RepoType, str, str]:
    """(type, namespace, name) of the bodies of create and delete."""
    raw = data.get("type") or "model"
    if raw not in RepoType.values:
        raise BadRequest(f"A repository's type is one of {', '.join(RepoType.values)}, not {str(raw)[:40]!r}.")
    name = text_field(data, "name")
    organization = data.get("organization")
    if organization is not None and not isinstance(organization, str):
        raise BadRequest("The field 'organization' must be a text.")
    if "/" in name:
        organization, name = name.split("/", 1)
    return RepoType(raw), organization or own, name


def _private(data: dict[str, Any]) -> bool | None:
    """Old clients send `private`, newer ones `visibility`."""
    visibility = data.get("visibility")
    if visibility is not None:
        if visibility not in ("public", "private"):
            raise BadRequest(f"visibility is public or private, not {str(visibility)[:40]!r}.")
        return bool(visibility == "private")
    private = data.get("private")
    if private is not None and not isinstance(private, bool):
        raise BadRequest("The field 'private' must be true or false.")
    return private
