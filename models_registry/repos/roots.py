"""What garbage collection starts from: every ref of a repository, and the commits which other rooms' rows name.

Rooms register their pins at start-up: pull requests their base and merge commits, models the commits from which
variants were made, jobs the commits on which they work under a lease.
"""

from collections.abc import Callable, Iterable

from models_registry.repos.models import Ref, Repository

Pins = Callable[[Repository], Iterable[str]]
_pins: list[Pins] = []
_contents: list[Pins] = []


def register_pins(pins: Pins) -> None:
    """`pins(repository)` gives the ids of commits of the repository which must stay, whatever the refs say."""
    _pins.append(pins)


def register_contents(contents: Pins) -> None:
    """`contents(repository)` gives the SHA-256 of contents which rows outside of git name."""
    _contents.append(contents)


def contents_beside_git(repository: Repository) -> set[str]:
    """The contents which are named, but by no git object: a bucket's files."""
    return {sha256 for contents in _contents for sha256 in contents(repository)}


def roots_of(repository: Repository) -> set[str]:
    """The ids of commits and tags from which everything that must stay can be reached."""
    rows = Ref.objects.filter(repository=repository).values_list("oid", "tag_oid")
    found = {oid for row in rows for oid in row}
    for pins in _pins:
        found.update(pins(repository))
    return found - {""}
