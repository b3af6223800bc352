"""Mark and sweep in one repository: git objects to which nothing leads, and rights to contents which nothing names.

The mark holds no lock. The sweep is one transaction under the lock of the repository's row, where every ref is moved:
it looks at the roots once more, keeps what they lead to by now, and takes the rest at once, so that an object which is
there always has all it leads to.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from models_registry.repos import git_objects as git
from models_registry.repos.closure import reachable
from models_registry.repos.history import forget_graph
from models_registry.repos.models import Abandoned, GitObject, Repository, RepositoryBlob
from models_registry.repos.roots import contents_beside_git, roots_of
from models_registry.storage.models import Blob

logger = logging.getLogger(__name__)


@dataclass
class Swept:
    """What a repository can do without, or (after `sweep`) what was taken. `contents`: SHA-256 of rights which end."""

    objects: int = 0
    object_bytes: int = 0
    contents: set[str] = field(default_factory=set)


@dataclass
class _Mark:
    """`dead` are ids of objects; `new_tips` commits which the refs left since the last look; `found`: came back."""

    roots: set[str]
    dead: set[str]
    new_tips: set[str]
    found: set[str]


def plan(repository: Repository, left_before: datetime, unused_since: datetime) -> Swept:
    """What `sweep` would take now. Changes nothing."""
    dead = _mark(repository, left_before).dead
    swept = Swept()
    for part in _parts(dead):
        rows = GitObject.objects.filter(repository=repository, oid__in=part)
        for size, sha256 in rows.values_list("size_bytes", "sha256"):
            swept.objects += 1
            swept.object_bytes += size if not sha256 else 0
    stale = RepositoryBlob.objects.filter(repository=repository, used_at__lt=unused_since)
    pointers = GitObject.objects.filter(repository=repository).exclude(sha256="").values_list("oid", "sha256")
    named = contents_beside_git(repository)
    named |= {sha256 for oid, sha256 in pointers.iterator() if oid not in dead}
    swept.contents = {sha256 for sha256 in stale.values_list("blob_id", flat=True).iterator() if sha256 not in named}
    return swept


def sweep(repository: Repository, now: datetime, left_before: datetime, unused_since: datetime) -> Swept:
    """Take what nothing leads to.

    Args:
        left_before: commits which were seen without a ref before this moment may go.
        unused_since: contents which nobody sent or asked for since may go, if no object names them.
    """
    mark = _mark(repository, left_before)
    with transaction.atomic():
        if not Repository.objects.select_for_update().filter(pk=repository.pk).exists():
            return Swept()
        roots = roots_of(repository)
        if new := roots - mark.roots:
            # A ref may have come to lead to something which was given up: it, and all below, stays.
            back = reachable(repository, new)
            mark.dead -= back
            mark.new_tips -= back
            mark.found |= back
        swept = _take_objects(repository, mark.dead)
        for part in _parts(mark.found):
            Abandoned.objects.filter(repository=repository, oid__in=part).delete()
        _forget_gone_tips(repository, left_before)
        fresh = [Abandoned(repository=repository, oid=oid, seen_at=now) for oid in sorted(mark.new_tips)]
        Abandoned.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=git.BATCH)
        swept.contents = _take_rights(repository, unused_since, now)
    if swept.objects:
        git.forget(repository)
        forget_graph(repository)
        logger.info("swept %d objects and %d contents of %s", swept.objects, len(swept.contents), repository.path)
    return swept


def _mark(repository: Repository, left_before: datetime) -> _Mark:
    roots = roots_of(repository)
    rows = GitObject.objects.filter(repository=repository)
    oids = set(rows.values_list("oid", flat=True).iterator())
    live = reachable(repository, roots)
    known = dict(Abandoned.objects.filter(repository=repository).values_list("oid", "seen_at"))
    found = live & set(known)
    if not (unreached := oids - live):
        return _Mark(roots, set(), set(), found)
    waiting = reachable(repository, {oid for oid, seen_at in known.items() if seen_at >= left_before})
    # What no known tip covers was left since the last look: its grace begins now.
    uncovered = unreached - waiting - reachable(repository, set(known))
    new_tips = _tips(repository, uncovered)
    return _Mark(roots, unreached - waiting - reachable(repository, new_tips), new_tips, found)


def _tips(repository: Repository, oids: set[str]) -> set[str]:
    """The commits and tags among these to which none of the others leads directly."""
    found: set[str] = set()
    below: set[str] = set()
    for part in _parts(oids):
        rows = GitObject.objects.filter(repository=repository, oid__in=part, kind__in=(git.COMMIT, git.TAG))
        for oid, kind, data in rows.values_list("oid", "kind", "data"):
            found.add(oid)
            if kind == git.COMMIT:
                below.update(git.parse_commit(oid, bytes(data)).parents)
    return found - below


def _take_objects(repository: Repository, dead: set[str]) -> Swept:
    swept = Swept()
    for part in _parts(dead):
        rows = GitObject.objects.filter(repository=repository, oid__in=part)
        for size, sha256 in rows.values_list("size_bytes", "sha256"):
            swept.object_bytes += size if not sha256 else 0
        swept.objects += rows.delete()[0]
    return swept


def _forget_gone_tips(repository: Repository, left_before: datetime) -> None:
    there = GitObject.objects.filter(repository=repository, oid=OuterRef("oid"))
    Abandoned.objects.filter(~Exists(there), repository=repository, seen_at__lt=left_before).delete()


def _take_rights(repository: Repository, unused_since: datetime, now: datetime) -> set[str]:
    pointers = GitObject.objects.filter(repository=repository, sha256=OuterRef("blob_id"))
    rows = RepositoryBlob.objects.filter(~Exists(pointers), repository=repository, used_at__lt=unused_since)
    named = contents_beside_git(repository)
    taken = {sha256: size for sha256, size in rows.values_list("blob_id", "blob__size_bytes") if sha256 not in named}
    for part in _parts(taken):
        RepositoryBlob.objects.filter(repository=repository, blob_id__in=part).delete()
        # Its bytes stay for a grace of their own: a backup of the database from yesterday may name them.
        Blob.objects.filter(pk__in=part).update(used_at=now)
    if taken:
        smaller = F("used_storage_bytes") - sum(taken.values())
        Repository.objects.filter(pk=repository.pk).update(used_storage_bytes=smaller)
    return set(taken)


def _parts(oids: Iterable[str]) -> Iterable[list[str]]:
    wanted = sorted(oids)
    return (wanted[start : start + git.BATCH] for start in range(0, len(wanted), git.BATCH))
