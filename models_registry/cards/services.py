"""What a card says, kept in the repository's columns so that listings never read git objects."""

import re

from models_registry.cards.metadata import Card, CardError, hub_tags, infer_library, infer_pipeline_tag, read_card
from models_registry.cards.validation import Problem, validate
from models_registry.errors import BadRequest
from models_registry.repos.entries import Entry, list_entries, read_small
from models_registry.repos.models import Repository, RepositoryTag, RepoType

CARD = "README.md"
MAX_CARD_BYTES = 5_000_000
_SUMMARY_CHARACTERS = 300
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


def check_card(text: str, kind: RepoType | str = RepoType.MODEL) -> list[Problem]:
    """What is wrong in a README.md, each with its line; [] when it may be pushed. For every way of pushing."""
    return validate(text, RepoType(kind).value)[0]


def refuse_bad_card(path: str, content: bytes, kind: RepoType | str) -> None:
    """To be asked for every file that a push brings: BadRequest (400) when it is a card whose metadata is wrong.

    Only the README.md at the repository's root is a card; everything else passes.
    """
    if path != CARD or len(content) > MAX_CARD_BYTES:
        return
    problems = check_card(content.decode("utf-8", "replace"), kind)
    if problems:
        said = " ".join(f"Line {problem.line}: {problem.message.rstrip('.')}." for problem in problems)
        raise BadRequest(f"README.md was refused, nothing was pushed. {said}")


def card_at(repository: Repository, commit: str) -> Card:
    """The card of a commit; an empty one when it is missing or can not be read."""
    entry = next(
        (entry for entry in list_entries(repository, commit) if entry.path == CARD and not entry.is_folder), None
    )
    if entry is None or entry.sha256 or entry.size_bytes > MAX_CARD_BYTES:
        return Card()
    text = read_small(repository, entry).decode("utf-8", "replace")
    try:
        return read_card(text)
    except CardError:
        return Card(body=text)


def refresh(repository: Repository, commit: str, entries: list[Entry]) -> None:
    """Take over what the card and the file names of main's head say. Runs inside the commit's transaction."""
    card = card_at(repository, commit)
    paths = [entry.path for entry in entries if not entry.is_folder]
    tags = hub_tags(card, paths)
    is_model = repository.kind is RepoType.MODEL
    repository.card = card.metadata
    repository.summary = _summary(card.body)
    repository.library_name = (infer_library(card, paths) or "" if is_model else "")[:100]
    repository.pipeline_tag = (infer_pipeline_tag(card, paths) or "")[:100] if is_model else ""
    repository.save(update_fields=["card", "summary", "library_name", "pipeline_tag"])
    RepositoryTag.objects.filter(repository=repository).delete()
    RepositoryTag.objects.bulk_create(
        [RepositoryTag(repository=repository, tag=tag[:200]) for tag in dict.fromkeys(tags)]
    )


def _summary(body: str) -> str:
    """The first paragraph which is text, for listings."""
    for paragraph in body.split("\n\n"):
        text = " ".join(
            line for line in paragraph.splitlines() if not line.lstrip().startswith(("#", "<", "!", "|", "```", "[!"))
        )
        text = " ".join(_LINK.sub(r"\1", text).replace("**", "").replace("`", "").split())
        if text:
            return text if len(text) <= _SUMMARY_CHARACTERS else text[: _SUMMARY_CHARACTERS - 1] + "…"
    return ""
