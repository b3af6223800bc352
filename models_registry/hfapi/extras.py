"""Small answers which clients ask for on the side: fast, and always well formed (hub-protocol §3, Misc)."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.cards import metadata
from models_registry.hfapi.base import HubView


class AgentHarnesses(HubView):
    authentication_classes: list[Any] = []

    def get(self, request: Request) -> Response:
        """Which coding agents a client should name in its user agent: this hub asks for none."""
        return Response({"standardEnvVars": [], "harnesses": {}})


@csrf_exempt
def telemetry(request: HttpRequest, topic: str) -> HttpResponse:
    """Clients report what they use; this hub keeps nothing of it."""
    return HttpResponse(status=200)


class Tasks(HubView):
    authentication_classes: list[Any] = []

    def get(self, request: Request) -> Response:
        """The tasks by which models are tagged."""
        return Response({name: {"id": name, "label": name.replace("-", " ").capitalize()} for name in metadata.TASKS})
