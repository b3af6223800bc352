"""How many bytes a repository, each of its refs, and an owner keep; what is shared is told apart.

Shared is counted only with repositories which the asking person may read: else it would tell them that a stranger's
private repository holds the same file.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Namespace
from models_registry.accounts.policies import can_administer, files_readable_by, readable_by
from models_registry.errors import Forbidden
from models_registry.repos.closure import objects_of
from models_registry.repos.history import graph_of
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob
from models_registry.repos.quotas import Quota, quota_of
from models_registry.repos.services import require_write
from models_registry.storage.models import Blob
from models_registry.xet.models import XetFile, XorbUse
from models_registry.xet.services import indexes_of

MAX_REFS = 200
_BATCH = 400
Runs = list[tuple[int, int]]  # of a xorb's chunks: from the first up to the second (not included)


@dataclass(frozen=True)
class RefUsage:
    """Contents which the commits of a ref name; `own_bytes` of them no other ref does."""

    name: str
    files: int
    size_bytes: int
    own_bytes: int


@dataclass
class Usage:
    """`size_bytes`: of the contents held, as files. `stored_bytes`: what they take in the store, compressed and once.

    Of those, `shared_bytes` other repositories hold as well.
    """

    files: int = 0
    size_bytes: int = 0
    stored_bytes: int = 0
    shared_bytes: int = 0
    refs: list[RefUsage] = field(default_factory=list)

    @property
    def own_bytes(self) -> int:
        return self.stored_bytes - self.shared_bytes


@dataclass(frozen=True)
class OwnerUsage:
    public: Quota
    private: Quota
    repositories: list[Repository]


def usage_of(actor: Actor, repository: Repository) -> Usage:
    """Raises Unauthorized, Forbidden: for those who may write, as the list of stored files."""
    require_write(actor, repository)
    usage = Usage()
    others = Repository.objects.filter(files_readable_by(actor)).exclude(pk=repository.pk)
    held = list(RepositoryBlob.objects.filter(repository=repository).values_list("blob_id", flat=True))
    sizes: dict[str, int] = {}
    xet: list[str] = []
    for part in _parts(held):
        shared = Exists(RepositoryBlob.objects.filter(blob=OuterRef("pk"), repository__in=others.values("pk")))
        rows = Blob.objects.filter(pk__in=part).annotate(shared=shared)
        for sha256, size, is_whole, hash_, is_shared in rows.values_list(
            "pk", "size_bytes", "is_whole", "xet_hash", "shared"
        ):
            sizes[sha256] = size
            if is_whole:
                usage.stored_bytes += size
                usage.shared_bytes += size if is_shared else 0
            elif hash_:
                xet.append(hash_)
    usage.files, usage.size_bytes = len(sizes), sum(sizes.values())
    _add_chunks(usage, xet, others.values("pk"))
    usage.refs = _refs(repository, sizes)
    return usage


def usage_of_owner(actor: Actor, namespace: Namespace) -> OwnerUsage:
    """Raises Forbidden: for the person themselves and an organisation's admins."""
    if not can_administer(actor, namespace):
        raise Forbidden(f"What {namespace.name} keeps is told to those who administer it.")
    rows = Repository.objects.filter(readable_by(actor), namespace=namespace).order_by("-used_storage_bytes", "-pk")
    return OwnerUsage(quota_of(namespace, private=False), quota_of(namespace, private=True), list(rows[:MAX_REFS]))


def _add_chunks(usage: Usage, hashes: list[str], others: QuerySet[Any, Any]) -> None:
    """What the chunks of Xet files take: each once, and shared when a file of another repository is made of it too."""
    own = _runs(_terms(hashes))
    for part in _parts(own):
        holders = RepositoryBlob.objects.filter(blob=OuterRef("file__sha256"), repository__in=others)
        uses = XorbUse.objects.filter(Exists(holders), xorb__in=part).values_list("file_id", flat=True)
        also = _runs(_terms(set(uses)))
        for xorb, index in indexes_of(part).items():
            usage.stored_bytes += sum(index.packed_between(*run) for run in own[xorb])
            both = _in_both(own[xorb], also.get(xorb, []))
            usage.shared_bytes += sum(index.packed_between(*run) for run in both)


def _runs(files: Iterable[list[tuple[str, int, int, int]]]) -> dict[str, Runs]:
    """By xorb: the chunks of which these files are made, each once, as runs in order which do not touch."""
    found: dict[str, Runs] = defaultdict(list)
    for terms in files:
        for xorb, _, start, end in terms:
            found[xorb].append((start, end))
    return {xorb: _merged(runs) for xorb, runs in found.items()}


def _merged(runs: Runs) -> Runs:
    merged: Runs = []
    for start, end in sorted(runs):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _in_both(one: Runs, other: Runs) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in one:
        while at < len(other) and other[at][1] <= start:
            at += 1
        here = at
        while here < len(other) and other[here][0] < end:
            yield max(start, other[here][0]), min(end, other[here][1])
            here += 1


def _terms(hashes: Iterable[str]) -> Iterator[list[tuple[str, int, int, int]]]:
    for part in _parts(hashes):
        yield from XetFile.objects.filter(hash__in=part).values_list("terms", flat=True)


def _refs(repository: Repository, sizes: dict[str, int]) -> list[RefUsage]:
    pointers = GitObject.objects.filter(repository=repository).exclude(sha256="")
    sha256_of = dict(pointers.values_list("oid", "sha256"))
    graph = graph_of(repository)
    named: dict[str, set[str]] = {}
    for name, head in Ref.objects.filter(repository=repository).order_by("name").values_list("name", "oid")[:MAX_REFS]:
        objects = objects_of(repository, graph, graph.reachable([head]))
        named[name] = {sha256_of[oid] for oid, is_tree in objects if not is_tree and oid in sha256_of}
    users: dict[str, int] = defaultdict(int)
    for contents in named.values():
        for sha256 in contents:
            users[sha256] += 1
    return [
        RefUsage(
            name,
            len(contents),
            sum(sizes.get(sha256, 0) for sha256 in contents),
            sum(sizes.get(sha256, 0) for sha256 in contents if users[sha256] == 1),
        )
        for name, contents in named.items()
    ]


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(names)
    return (wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH))
