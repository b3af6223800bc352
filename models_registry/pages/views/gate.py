"""What somebody sees in front of a gate, and asking to be let in."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_POST

from models_registry.accounts.policies import can_read_files
from models_registry.cards.markdown import render_card
from models_registry.hfapi.errors import wants_page
from models_registry.pages.links import at, repository_link
from models_registry.pages.places import actor_of
from models_registry.repos.gating import ask_access, questions_of, request_of
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH
from models_registry.repos.services import find_repository

_MAX_PROMPT = 20_000


@require_POST
def ask(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    """Ask for access: the form of the repository's page, or a client's form with a token, which gets JSON."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    made = ask_access(actor_of(request), repository, {key: str(value) for key, value in request.POST.items()})
    if not wants_page(request):
        return JsonResponse({"status": made.status})
    if made.status == made.Status.ACCEPTED:
        messages.success(request, "You have access now.")
    else:
        messages.success(request, "You asked for access: the repository's owners will answer.")
    return redirect(repository_link(repository))


def gate_of(request: HttpRequest, repository: Repository) -> dict[str, Any] | None:
    """What the gate's box shows to those outside; None for everyone else. The card may give its words."""
    actor = actor_of(request)
    if not repository.gated or can_read_files(actor, repository):
        return None
    card = repository.card
    return {
        "request": request_of(actor, repository),
        "heading": _words(card.get("extra_gated_heading"))
        or f"You need access to read the files of this {repository.type}",
        "prompt": _prompt(repository, _words(card.get("extra_gated_prompt"))),
        "description": _words(card.get("extra_gated_description")),
        "button": _words(card.get("extra_gated_button_content")) or "Ask for access",
        "questions": questions_of(repository),
        "opens_at_once": repository.gated == "auto",
    }


def _words(value: Any) -> str:
    return value[:_MAX_PROMPT].strip() if isinstance(value, str) else ""


def _prompt(repository: Repository, text: str) -> SafeString:
    if not text:
        return SafeString("")
    html = render_card(
        text,
        link_base=at(repository, "blob", DEFAULT_BRANCH) + "/",
        image_base=at(repository, "resolve", DEFAULT_BRANCH) + "/",
    )
    return mark_safe(html)  # noqa: S308  cleaned by cards.markdown
