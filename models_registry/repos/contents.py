"""Which stored contents a repository's history names, and the acts of deleting them for good and granting them on."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_read_files
from models_registry.errors import BadRequest, Forbidden
from models_registry.repos import git_objects as git
from models_registry.repos.events import history_rewritten
from models_registry.repos.history import graph_of
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob
from models_registry.repos.quotas import require_room
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, TAGS
from models_registry.repos.rewriting import Rewriting
from models_registry.repos.services import grant_blob, require_write
from models_registry.storage.models import Blob

logger = logging.getLogger(__name__)
MAX_DELETED = 1000
_COMMITS_AT_ONCE = 200


@dataclass(frozen=True)
class StoredFile:
    """A content of this repository. `path`, `pointer` and `ref` are "" while no commit names it."""

    sha256: str
    size_bytes: int
    pushed_at: datetime
    path: str = ""
    pointer: str = ""
    ref: str = ""


def stored_files(actor: Actor, repository: Repository) -> list[StoredFile]:
    """Every content which this repository holds, newest first, each with one place where it stands.

    Raises Unauthorized, Forbidden: this is for those who may delete them.
    """
    require_write(actor, repository)
    places = _places(repository)
    rows = RepositoryBlob.objects.filter(repository=repository).order_by("-created_at", "-pk")
    return [
        StoredFile(sha256, size, at, *places.get(sha256, ("", "", "")))
        for sha256, size, at in rows.values_list("blob_id", "blob__size_bytes", "created_at")
    ]


def _places(repository: Repository) -> dict[str, tuple[str, str, str]]:
    """sha256 -> (path, oid of the pointer, ref) of the newest commit which brought it, looking at main first."""
    rows = GitObject.objects.filter(repository=repository).exclude(sha256="")
    pointers = dict(rows.values_list("oid", "sha256"))
    graph, seen, places = graph_of(repository), set[str](), dict[str, tuple[str, str, str]]()
    refs = list(Ref.objects.filter(repository=repository).values_list("name", "oid"))
    refs.sort(key=lambda row: (row[0] != HEADS + DEFAULT_BRANCH, not row[0].startswith(HEADS), row[0]))
    for name, head in refs:
        commits = graph.reachable([head], seen)
        seen |= commits
        newest_first = sorted(commits, key=lambda oid: -graph[oid].time_s)
        for oid, path in _new_files(repository, newest_first, pointers):
            short = name.removeprefix(HEADS).removeprefix(TAGS)
            places.setdefault(pointers[oid], (path, oid, short))
    return places


def _new_files(repository: Repository, commits: Sequence[str], wanted: dict[str, str]) -> Iterator[tuple[str, str]]:
    """(oid, path) of the wanted files which each commit brings beside its parents'."""
    graph, seen = graph_of(repository), set[str]()
    for start in range(0, len(commits), _COMMITS_AT_ONCE):
        level: list[tuple[str, str, tuple[str, ...]]] = []
        for oid in commits[start : start + _COMMITS_AT_ONCE]:
            node = graph[oid]
            level.append((node.tree, "", tuple(old.tree for one in node.parents if (old := graph.get(one)))))
        while level:
            level = [row for row in level if row[0] not in seen and row[0] not in row[2]]
            seen |= {tree for tree, _, _ in level}
            trees = git.read_trees(repository, {oid for tree, _, bases in level for oid in (tree, *bases)})
            deeper = []
            for tree, folder, bases in level:
                for item in trees[tree].values():
                    there = [found for base in bases if (found := trees[base].get(item.name))]
                    if any(found.oid == item.oid for found in there):
                        continue
                    if item.is_folder:
                        olds = tuple(found.oid for found in there if found.is_folder)
                        deeper.append((item.oid, f"{folder}{item.name}/", olds))
                    elif item.oid in wanted:
                        yield item.oid, folder + item.name
            level = deeper


def delete_contents(
    actor: Actor, repository: Repository, sha256s: Iterable[str], *, rewrite_history: bool = True
) -> int:
    """Take contents away for good. Returns how many were here.

    With `rewrite_history` every ref is written anew without the files which are pointers to them; otherwise the
    pointers stay, as the small texts which they are. All in one transaction.
    Raises Unauthorized, Forbidden, BadRequest.
    """
    require_write(actor, repository)
    wanted = set(sha256s)
    if len(wanted) > MAX_DELETED:
        raise BadRequest(f"At most {MAX_DELETED:,} files at once, not {len(wanted):,}.")
    with transaction.atomic():
        Repository.objects.select_for_update().get(pk=repository.pk)
        rows = GitObject.objects.filter(repository=repository, sha256__in=wanted).exclude(sha256="")
        pointers = dict(rows.values_list("oid", "sha256"))
        if rewrite_history and pointers:
            Rewriting(repository, set(pointers)).run(actor)
        for oid, sha256 in pointers.items():
            size = len(bytes(rows.values_list("data", flat=True).get(oid=oid)))
            GitObject.objects.filter(repository=repository, oid=oid, sha256=sha256).update(sha256="", size_bytes=size)
        held = RepositoryBlob.objects.filter(repository=repository, blob_id__in=wanted)
        freed = held.aggregate(total=Sum("blob__size_bytes"))["total"] or 0
        Blob.objects.filter(pk__in=list(held.values_list("blob_id", flat=True))).update(used_at=timezone.now())
        count, _ = held.delete()
        Repository.objects.filter(pk=repository.pk).update(used_storage_bytes=F("used_storage_bytes") - freed)
        history_rewritten.send(Repository, repository=repository)
    logger.info("deleted %d contents of %s (%d bytes) by %s", count, repository.path, freed, actor.name)
    return count


def grant_contents(actor: Actor, source: Repository, target: Repository, sha256s: Sequence[str]) -> dict[str, str]:
    """Let `target` name contents which `source` holds, without sending them again. Returns {sha256: what is wrong}.

    Raises Unauthorized, Forbidden: the actor may not write to the target, or not read the source's files.
    """
    require_write(actor, target)
    if not can_read_files(actor, source):
        raise Forbidden(f"You may not read the files of {source.full_name}.")
    held = RepositoryBlob.objects.filter(repository=source, blob_id__in=set(sha256s)).select_related("blob")
    blobs = {row.blob_id: row.blob for row in held}
    here = RepositoryBlob.objects.filter(repository=target, blob__in=blobs).values_list("blob_id", flat=True)
    require_room(target, sum(blob.size_bytes for sha256, blob in blobs.items() if sha256 not in set(here)))
    with transaction.atomic():
        for blob in blobs.values():
            grant_blob(target, blob)
    return {sha: f"{source.full_name} holds no such content." for sha in dict.fromkeys(sha256s) if sha not in blobs}
