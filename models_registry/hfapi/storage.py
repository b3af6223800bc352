"""How much a repository and an owner keep (this hub's own addition to the protocol)."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.hfapi.base import HubView
from models_registry.repos.models import RepoType
from models_registry.repos.quotas import Quota
from models_registry.repos.services import find_namespace, find_repository
from models_registry.upkeep.usage import usage_of, usage_of_owner


class RepositoryStorage(HubView):
    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """Bytes of a repository and of each of its refs; what other repositories hold too is told apart."""
        kind = next(kind for kind in RepoType if kind.plural == types)
        usage = usage_of(self.actor, find_repository(self.actor, kind, f"{namespace}/{name}"))
        return Response(
            {
                "files": usage.files,
                "size": usage.size_bytes,
                "stored": usage.stored_bytes,
                "own": usage.own_bytes,
                "shared": usage.shared_bytes,
                "refs": [
                    {"ref": ref.name, "files": ref.files, "size": ref.size_bytes, "own": ref.own_bytes}
                    for ref in usage.refs
                ],
            }
        )


class OwnerStorage(HubView):
    def get(self, request: Request, namespace: str) -> Response:
        """Bytes and limits of a user or an organisation, public and private apart, and its largest repositories."""
        usage = usage_of_owner(self.actor, find_namespace(namespace))
        return Response(
            {
                "public": _quota(usage.public),
                "private": _quota(usage.private),
                "repositories": [
                    {"id": row.full_name, "type": row.type, "private": row.private, "size": row.used_storage_bytes}
                    for row in usage.repositories
                ],
            }
        )


def _quota(quota: Quota) -> dict[str, Any]:
    return {"used": quota.used_bytes, "limit": quota.limit_bytes}
