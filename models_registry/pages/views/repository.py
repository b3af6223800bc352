"""A repository's page: its sections, its card, its files, how to pull it."""

from typing import Any

from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_safe

from models_registry.accounts.policies import can_write
from models_registry.cards.markdown import render_card
from models_registry.cards.services import CARD, card_at
from models_registry.pages.links import at
from models_registry.pages.places import actor_of, frame
from models_registry.pages.sections import sections_of
from models_registry.pages.views.gate import gate_of
from models_registry.repos.entries import list_entries
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, branch_head
from models_registry.repos.services import find_repository

_SHORT_LIST = 12
_CARD_SECONDS = 24 * 3600


@require_safe
def repository(request: HttpRequest, kind: RepoType, namespace: str, name: str) -> HttpResponse:
    found = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    head = branch_head(found)
    context = frame(request, found, "overview") | tags_of(found)
    context["sections"] = sections_of(request, found)
    context["gate"] = gate_of(request, found)
    context["can_write"] = can_write(actor_of(request), found)
    if head:
        entries = sorted(list_entries(found, head), key=lambda entry: (not entry.is_folder, entry.path))
        context["card"] = card_html(found, head)
        context["files"] = [
            (entry, at(found, "tree" if entry.is_folder else "blob", DEFAULT_BRANCH, entry.path))
            for entry in entries[:_SHORT_LIST]
        ]
        context["more_files"] = max(0, len(entries) - _SHORT_LIST)
        context["is_bare"] = {entry.path for entry in entries} <= {".gitattributes"}
        context["has_card"] = any(entry.path == CARD for entry in entries)
    return render(request, "pages/repository.html", context)


def card_html(repository: Repository, commit: str) -> SafeString:
    """The card of a commit as safe HTML. A commit never changes, so neither does its card."""
    key = f"card-html:{repository.pk}:{commit}:{repository.full_name}"
    html = cache.get(key)
    if html is None:
        html = render_card(
            card_at(repository, commit).body,
            link_base=at(repository, "blob", DEFAULT_BRANCH) + "/",
            image_base=at(repository, "resolve", DEFAULT_BRANCH) + "/",
        )
        cache.set(key, html, _CARD_SECONDS)
    return mark_safe(html)  # noqa: S308  cleaned by cards.markdown


def tags_of(repository: Repository) -> dict[str, Any]:
    """The repository's tags as its header shows them: each leads to the listing which it filters."""
    listing = f"/{repository.kind.plural}"
    tags, facts = [], []
    for tag in repository.tags:
        group, colon, value = tag.partition(":")
        if tag.count(":") > 1 and group == "base_model":
            continue  # said already without the relation
        if colon and group in ("license", "dataset", "base_model", "arxiv"):
            facts.append((group.replace("_", " "), value, tag))
        elif tag not in (repository.pipeline_tag, repository.library_name):
            tags.append(tag)
    return {"tags": tags, "facts": facts, "tag_listing": listing}
