"""What a card says, kept in the repository's columns so that listings never read git objects."""

import re
from typing import Any

from models_registry.accounts.actors import Actor
from models_registry.cards.editing import with_value
from models_registry.cards.facts import VERSION, facts_of, names_of
from models_registry.cards.metadata import Card, CardError, infer_library, infer_pipeline_tag, read_card
from models_registry.cards.tags import tags_of
from models_registry.cards.validation import Problem, validate
from models_registry.errors import BadRequest, Conflict, EntryNotFound
from models_registry.repos.changes import changes_between
from models_registry.repos.commits import AddFile, commit
from models_registry.repos.entries import entry_at, read_small
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH
from models_registry.search import index, tag_uses

CARD = "README.md"
MAX_CARD_BYTES = 5_000_000
_SUMMARY_CHARACTERS = 300
_SUMMARY_SEARCHED = 100_000
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
    try:
        entry = entry_at(repository, commit, CARD)
    except EntryNotFound:
        return Card()
    if entry.sha256 or entry.size_bytes > MAX_CARD_BYTES:
        return Card()
    text = read_small(repository, entry).decode("utf-8", "replace")
    try:
        return read_card(text)
    except CardError:
        return Card(body=text)


def change_card(actor: Actor, repository: Repository, key: str, value: Any, title: str, parent: str) -> str:
    """Commit to main a card whose metadata says `key: value` (None: no more), as a push would; returns the commit.

    `parent` is main's head as whoever asks saw it. Raises Forbidden, HeadMoved, BadRequest (a card which can not be
    changed here, or which a push would refuse), Conflict (it says so already).
    """
    text = _whole_card(repository, parent)
    try:
        changed = with_value(text, key, value)
    except CardError as error:
        raise BadRequest(str(error)) from error
    if changed == text:
        raise Conflict("The card says so already: nothing was changed.")
    refuse_bad_card(CARD, changed.encode(), repository.kind)
    return commit(actor, repository, DEFAULT_BRANCH, [AddFile(CARD, changed.encode())], title, parent=parent)


def _whole_card(repository: Repository, commit_oid: str) -> str:
    try:
        entry = entry_at(repository, commit_oid, CARD)
    except EntryNotFound:
        return ""
    try:
        if entry.sha256 or entry.size_bytes > MAX_CARD_BYTES:
            raise BadRequest("README.md is kept as a large file, which can not be changed here: push it anew.")
        return read_small(repository, entry).decode()
    except UnicodeDecodeError as error:
        raise BadRequest("README.md is not written in UTF-8: push it anew in UTF-8.") from error


def refresh(repository: Repository, commit: str, old_commit: str | None) -> None:
    """Take over what the card and the files of main's head say. Runs inside the commit's transaction.

    Costs what the commit changed. A commit which changes neither the card nor what the files say writes nothing but the
    sizes.
    """
    kept = Repository.objects.values("card", "tags", "file_facts", "main_size_bytes").get(pk=repository.pk)
    before = kept["file_facts"] if old_commit and kept["file_facts"].get("version") == VERSION else None
    changes = changes_between(repository, old_commit if before else None, commit)
    facts = facts_of(repository, commit, before, changes)
    size = sum(entry.size_bytes for entry in changes.added) - sum(entry.size_bytes for entry in changes.removed)
    size += kept["main_size_bytes"] if before else 0
    repository.card, repository.tags = kept["card"], kept["tags"]
    repository.file_facts, repository.main_size_bytes = facts, size
    has_new_card = any(entry.path == CARD for entry in (*changes.added, *changes.removed))
    if facts == before and not has_new_card:
        Repository.objects.filter(pk=repository.pk).update(main_size_bytes=size)
    else:
        _take_over(repository, card_at(repository, commit), facts)


def _take_over(repository: Repository, card: Card, facts: dict[str, Any]) -> None:
    is_model, names = repository.kind is RepoType.MODEL, names_of(facts)
    weights = facts.get("safetensors") or facts.get("gguf") or {}
    sdk = card.metadata.get("sdk")
    repository.card = card.metadata
    repository.summary = _summary(card.body[:_SUMMARY_SEARCHED])
    repository.library_name = (infer_library(card, names) or "" if is_model else "")[:100]
    repository.pipeline_tag = (infer_pipeline_tag(card, names, facts.get("config")) or "")[:100] if is_model else ""
    repository.num_parameters = weights.get("total") if is_model else None
    fields = ["card", "summary", "library_name", "pipeline_tag", "num_parameters", "file_facts", "main_size_bytes"]
    if repository.kind is RepoType.SPACE and isinstance(sdk, str):
        repository.sdk = sdk[:20]
        fields.append("sdk")
    repository.save(update_fields=fields)
    tags = tags_of(card, facts, repository.kind)
    tag_uses.replace(repository, tags.shown, tags.hidden)
    index.put(repository)


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
