"""OAuth's device login, as `hf auth login` uses it (hub-protocol §3, RFC 8628). Its page is pages/views/device.py."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from models_registry.accounts import logins
from models_registry.accounts.throttles import address_of
from models_registry.errors import HubError, OAuthError
from models_registry.hfapi.base import HubView, endpoint, json_object

_DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
_NO_STORE = {"Cache-Control": "no-store"}


class OAuthView(HubView):
    """Answers with OAuth's own errors: `{"error": code, "error_description": sentence}`."""

    authentication_classes: list[Any] = []
    max_body_bytes = 64 * 1024

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, OAuthError):
            body = {"error": exc.reason, "error_description": exc.message}
            return Response(body, exc.status, headers=_NO_STORE)
        answer = super().handle_exception(exc)
        if isinstance(exc, HubError):
            answer.data["error_description"] = exc.message
        return answer


class Device(OAuthView):
    def post(self, request: Request) -> Response:
        """Begin a login on a device: it shows `user_code` and asks for its tokens with `device_code`."""
        grant, device_code = logins.begin_device_login(
            _field(_fields(request), "client_id"), address_of(request._request)
        )
        page, code = f"{endpoint(request)}/oauth/device", logins.shown(grant.user_code)
        answer = {
            "device_code": device_code,
            "user_code": code,
            "verification_uri": page,
            "verification_uri_complete": f"{page}?user_code={code}",
            "interval": grant.interval_s,
            "expires_in": logins.DEVICE_SECONDS,
        }
        return Response(answer, headers=_NO_STORE)


class Token(OAuthView):
    def post(self, request: Request) -> Response:
        """Tokens for an approved device code, or for a refresh token."""
        fields, address = _fields(request), address_of(request._request)
        grant_type, client_id = _field(fields, "grant_type"), _field(fields, "client_id", "")
        if grant_type == _DEVICE_CODE:
            issued = logins.exchange_device_code(client_id, _field(fields, "device_code"), address)
        elif grant_type == "refresh_token":
            issued = logins.refresh(client_id, _field(fields, "refresh_token"), address)
        else:
            raise OAuthError("unsupported_grant_type", "This hub takes device codes and refresh tokens.")
        answer = {
            "access_token": issued.access_token,
            "refresh_token": issued.refresh_token,
            "token_type": "bearer",
            "expires_in": issued.expires_in_s,
        }
        return Response(answer, headers=_NO_STORE)


def _fields(request: Request) -> dict[str, Any]:
    """The body as a form, which OAuth asks for, or as JSON, which some clients send."""
    if request.content_type and "json" in request.content_type:
        return json_object(request)
    return dict(request._request.POST.items())


def _field(fields: dict[str, Any], name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise OAuthError("invalid_request", f"The field {name!r} is missing.")
    return value
