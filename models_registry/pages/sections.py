"""What stands on a repository's page, and the notes beside it in listings. Other apps fill both at start-up."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.http import HttpRequest
from django.utils.safestring import SafeString

from models_registry.repos.models import Repository, RepoType

# None: nothing to show for this repository, not even the title.
Render = Callable[[HttpRequest, Repository], SafeString | None]
# For the rows of a listing: a few words by primary key. It is called once a page, so one query is enough.
Note = Callable[[Sequence[Repository]], dict[int, str]]


@dataclass(frozen=True)
class Section:
    """`name` is the section's anchor; sections stand in the order of `order`, the card stands after all of them."""

    kind: RepoType
    order: int
    name: str
    title: str
    render: Render


@dataclass(frozen=True)
class Shown:
    """A section of one page. Without a title it is a strip which needs none (e.g. progress)."""

    name: str
    title: str
    html: SafeString


_tabs: list[tuple[str, str]] = []
_sections: list[Section] = []
_notes: dict[RepoType, list[Note]] = {}


def register_section(kind: RepoType, order: int, name: str, title: str, render: Render) -> None:
    _sections.append(Section(kind, order, name, title, render))
    _sections.sort(key=lambda section: section.order)


def register_tab(page: str, title: str) -> None:
    """A tab which leads to `<repository>/<page>`, after the site's own."""
    _tabs.append((page, title))


def tabs() -> list[tuple[str, str]]:
    return list(_tabs)


def register_note(kind: RepoType, note: Note) -> None:
    _notes.setdefault(kind, []).append(note)


def sections_of(request: HttpRequest, repository: Repository) -> list[Shown]:
    """The sections which have something to show, rendered."""
    found = []
    for section in _sections:
        if section.kind is repository.kind and (html := section.render(request, repository)) is not None:
            found.append(Shown(section.name, section.title, html))
    return found


def notes_of(repositories: Sequence[Repository]) -> dict[int, str]:
    """The notes for the rows of a listing, all of one kind."""
    found: dict[int, str] = {}
    if repositories:
        for note in _notes.get(repositories[0].kind, []):
            for pk, text in note(repositories).items():
                found[pk] = f"{found[pk]} · {text}" if pk in found else text
    return found
