"""Addresses of pages, quoted so that a path which holds `#`, `?` or `%` leads where it should."""

from urllib.parse import quote

from models_registry.repos.models import Repository

_SAFE = "/@=,~+:"


def repository_link(repository: Repository) -> str:
    return "/" + quote(repository.path)


def at(repository: Repository, page: str, revision: str, path: str = "") -> str:
    """The link to a page (`tree`, `blob`, `resolve`, `commits`, `commit`) of a repository at a revision."""
    tail = quote(revision, safe=_SAFE) + (f"/{quote(path, safe=_SAFE)}" if path else "")
    return f"{repository_link(repository)}/{page}/{tail}"


def trail(repository: Repository, revision: str, path: str) -> list[tuple[str, str]]:
    """(name, link) of each folder on the way to a path, and of its end."""
    parts = path.split("/") if path else []
    return [(part, at(repository, "tree", revision, "/".join(parts[: n + 1]))) for n, part in enumerate(parts)]
