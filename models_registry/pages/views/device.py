"""The page on which a person lets a device in: they type the code which the device shows."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods, require_POST

from models_registry.accounts import logins
from models_registry.accounts.models import DeviceGrant
from models_registry.accounts.throttles import address_of
from models_registry.errors import HubError
from models_registry.hfapi.oauth import Device
from models_registry.pages.places import actor_of
from models_registry.pages.views.account import signed_in


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def device(request: HttpRequest) -> HttpResponse:
    """A device POSTs here to begin; its person opens the same address in a browser."""
    if request.method == "POST":
        return Device.as_view()(request)
    return _ask(request)


@never_cache
@signed_in
def _ask(request: HttpRequest) -> HttpResponse:
    typed = request.GET.get("user_code", "").strip()[:40]
    if not typed:
        return _page(request)
    try:
        grant = logins.find_grant(actor_of(request), typed, address_of(request))
    except HubError as error:
        return _page(request, problem=error.message, status=error.status, headers=error.headers)
    return _page(request, grant=grant)


@never_cache
@csrf_protect
@signed_in
@require_POST
def answer(request: HttpRequest) -> HttpResponse:
    """Approve or deny the device which shows this code."""
    typed, approve = request.POST.get("user_code", "")[:40], request.POST.get("answer") == "approve"
    role = request.POST.get("role", "write")
    try:
        logins.answer_grant(actor_of(request), typed, address_of(request), approve=approve, role=role)
    except HubError as error:
        return _page(request, problem=error.message, status=error.status, headers=error.headers)
    return _page(request, done="approved" if approve else "denied")


def _page(
    request: HttpRequest,
    *,
    grant: DeviceGrant | None = None,
    problem: str = "",
    done: str = "",
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    context = {
        "grant": grant,
        "code": logins.shown(grant.user_code) if grant else "",
        "client": logins.CLIENTS.get(grant.client_id, "") if grant else "",
        "problem": problem,
        "done": done,
    }
    answered = render(request, "pages/device.html", context, status=status)
    for name, value in (headers or {}).items():
        answered[name] = value
    return answered
