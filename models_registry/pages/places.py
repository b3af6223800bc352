"""Where a page is: a repository at a revision, at a path. And what every page of a repository shows above it."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_discuss, can_manage
from models_registry.community.likes.services import likes
from models_registry.hfapi.base import endpoint
from models_registry.pages.links import at, repository_link
from models_registry.pages.sections import tabs
from models_registry.repos.models import Ref, Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS, split_revision
from models_registry.repos.services import find_repository

_GROUPS = ((HEADS, "Branches"), (TAGS, "Tags"), ("refs/variants/", "Variants"), ("refs/convert/", "Conversions"))
_MAX_REFS = 60


@dataclass(frozen=True)
class Place:
    """A repository at a revision: `revision` as it was asked for, `commit` what it names, `path` below it."""

    repository: Repository
    revision: str
    commit: str
    path: str


def actor_of(request: HttpRequest) -> Actor:
    return request.actor  # type: ignore[attr-defined,no-any-return]


def find_place(request: HttpRequest, kind: RepoType, namespace: str, name: str, rest: str) -> Place:
    """Raises RepoNotFound, RevisionNotFound."""
    repository = find_repository(actor_of(request), kind, f"{namespace}/{name}")
    rest = rest.strip("/")
    commit, path = split_revision(actor_of(request), repository, rest)
    revision = rest[: len(rest) - len(path)].rstrip("/") if path else rest
    return Place(repository, revision, commit, path)


def frame(request: HttpRequest, repository: Repository, page: str, revision: str = DEFAULT_BRANCH) -> dict[str, Any]:
    """What the frame around every page of a repository needs; `page` is the tab which is open."""
    own = repository_link(repository)
    return {
        "repository": repository,
        "own": own,
        "is_model": repository.kind is RepoType.MODEL,
        "listing": f"/{repository.kind.plural}",
        "page": page,
        "revision": revision,
        "endpoint": endpoint(request),
        "liked": likes(actor_of(request), repository),
        "may_like": can_discuss(actor_of(request), repository),
        "tabs": [
            ("overview", "Model" if repository.kind is RepoType.MODEL else "Overview", own),
            ("files", "Files", at(repository, "tree", revision)),
            ("history", "History", at(repository, "commits", revision)),
            *((key, title, f"{own}/{key}") for key, title in tabs()),
            *([("settings", "Settings", f"{own}/settings")] if can_manage(actor_of(request), repository) else []),
        ],
    }


def refs_of(repository: Repository, page: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """The revisions to choose from: (title of the group, [(name, link)])."""
    # Pull requests are chosen on their own pages.
    refs = Ref.objects.filter(repository=repository).exclude(name__startswith="refs/pr/").order_by("name")
    rows = list(refs.values_list("name", flat=True)[:_MAX_REFS])
    groups = []
    for prefix, title in _GROUPS:
        names = [row for row in rows if row.startswith(prefix)]
        short = prefix in (HEADS, TAGS)
        links = [
            (name.removeprefix(prefix), at(repository, page, name.removeprefix(prefix) if short else name))
            for name in names
        ]
        if links:
            groups.append((title, links))
    return groups
