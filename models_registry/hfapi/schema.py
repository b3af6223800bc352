"""How the OpenAPI document is made. The hub protocol's bodies are loose objects; our own have shapes."""

import re
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes


class HubSchema(AutoSchema):
    """Names operations by method and path; a view's `answers` (a serializer) is the shape of its answer."""

    def get_operation_id(self) -> str:
        return f"{self.method.lower()}_{re.sub(r'[^a-z0-9]+', '_', self.path.lower()).strip('_')}"

    def get_request_serializer(self) -> Any:
        return OpenApiTypes.OBJECT if self.method in ("POST", "PUT", "PATCH") else None

    def get_response_serializers(self) -> Any:
        return getattr(self.view, "answers", OpenApiTypes.OBJECT)


def only_the_api(endpoints: list[Any], **_: Any) -> list[Any]:
    """LFS's own routes are git-lfs's to describe."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith("/api/") and endpoint[0] != "/api/schema"]
