"""Filters of listings which other rooms add at start-up (`fits=` of the compression)."""

from collections.abc import Callable
from dataclasses import dataclass

from django.db.models import Q

from models_registry.repos.models import RepoType


@dataclass(frozen=True)
class Narrowing:
    """A filter on repositories: the condition on a row, and the ids of those that meet it (at most so many)."""

    condition: Q
    ids: Callable[[int], list[int]]


@dataclass(frozen=True)
class Extension:
    """`key` is the parameter's name, in the API and on the page. `narrow` raises BadRequest for what it cannot read.

    `prefix`: a tag which begins with it is meant for this filter: clients with fixed parameters can send that.
    """

    key: str
    prefix: str
    label: str
    placeholder: str
    narrow: Callable[[str], Narrowing]
    suggestions: tuple[tuple[str, str], ...] = ()  # (words, value) of the page's facet


_extensions: dict[RepoType, list[Extension]] = {}


def register_filter(kind: RepoType, extension: Extension) -> None:
    _extensions.setdefault(kind, []).append(extension)


def extensions_of(kind: RepoType) -> list[Extension]:
    return list(_extensions.get(kind, []))
