"""May I; branches and tags (hub-protocol §2.2, §2.7)."""

from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.errors import BadRequest, NotFound
from models_registry.hfapi.base import HubView, endpoint, json_object, repo_url, text_field
from models_registry.repos import services
from models_registry.repos.gating import require_files


class AuthCheck(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str, right: str = "read") -> Response:
        """200 when the caller may read (or, with `/write`, write) the repository."""
        repository = self.repository(types, namespace, name)
        if right == "write":
            services.require_write(self.actor, repository)
        elif right == "read":
            require_files(self.actor, repository, endpoint(request))
        else:
            raise NotFound(f"There is no right {right[:40]!r} to check: leave it out, or ask for write.")
        return Response({})


class Branch(HubView):
    def post(self, request: Request, types: str, namespace: str, name: str, branch: str) -> Response:
        """Create a branch at `startingPoint` (default: main), or an `emptyBranch`; `overwrite` moves one."""
        repository = self.repository(types, namespace, name)
        data = json_object(request)
        start = data.get("startingPoint")
        if start is not None and not isinstance(start, str):
            raise BadRequest("The field 'startingPoint' must be a text.")
        services.create_branch(
            self.actor,
            repository,
            branch,
            start,
            overwrite=bool(data.get("overwrite")),
            empty=bool(data.get("emptyBranch")),
        )
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
