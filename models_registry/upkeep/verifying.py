"""Verification: every content and xorb is read and hashed again from time to time.

What is damaged is told, with the commits which it touches, until somebody sends it again.
"""

import hashlib
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from django.db.models import F
from django.utils import timezone

from models_registry.repos.closure import objects_of
from models_registry.repos.history import graph_of
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob
from models_registry.storage.blobstore import blob_store, staging_folder
from models_registry.storage.models import Blob, Damage
from models_registry.storage.services import blob_key
from models_registry.xet.formats import XetFormatError, read_xorb
from models_registry.xet.models import XetFile, Xorb
from models_registry.xet.services import xorb_key

logger = logging.getLogger(__name__)
BLOCK_BYTES = 1024 * 1024
_AT_ONCE = 100


_GONE = "its bytes are gone"


@dataclass
class Verified:
    """`damaged` are keys of the store with what is wrong; `complete`: everything was looked at."""

    objects: int = 0
    size_bytes: int = 0
    damaged: dict[str, str] = field(default_factory=dict)
    complete: bool = True


@dataclass(frozen=True)
class Touched:
    """A commit which brought a damaged content to a repository, and one ref which leads to it."""

    repository: str
    ref: str
    commit: str
    sha256: str


def verify(seconds: float | None = None) -> Verified:
    """Read and hash what was longest not verified, for some seconds (None: everything once)."""
    began, done = timezone.now(), Verified()
    deadline = time.monotonic() + seconds if seconds is not None else None
    for model in (Blob, Xorb):
        rows = model.objects.filter(is_whole=True) if model is Blob else model.objects.all()
        while True:
            due = rows.exclude(verified_at__gte=began).order_by(F("verified_at").asc(nulls_first=True), "pk")
            part = list(due.values_list("pk", "size_bytes")[:_AT_ONCE])
            for name, size in part:
                if deadline is not None and time.monotonic() > deadline:
                    done.complete = False
                    return done
                key = blob_key(name) if model is Blob else xorb_key(name)
                problem = _problem(model, name, key, size)
                if problem == _GONE and model is Xorb and _only_announced(name):
                    problem = ""
                if not model.objects.filter(pk=name).update(verified_at=timezone.now()):
                    continue  # collected meanwhile
                done.objects += 1
                done.size_bytes += size
                if problem:
                    Damage.objects.update_or_create(key=key, defaults={"problem": problem})
                    done.damaged[key] = problem
                    logger.error("%s is damaged: %s", key, problem)
                else:
                    Damage.objects.filter(key=key).delete()
            if len(part) < _AT_ONCE:
                break
    return done


def _problem(model: type[Blob] | type[Xorb], name: str, key: str, size: int) -> str:
    """What is wrong with the stored bytes, "" when they are what their name says."""
    store = blob_store()
    try:
        length = store.size(key)
        if model is Blob:
            digest = hashlib.sha256()
            for block in store.read_range(key, 0, length):
                digest.update(block)
            found = digest.hexdigest()
            return "" if (length, found) == (size, name) else f"{length:,} bytes with the SHA-256 {found}"
        with tempfile.TemporaryFile(dir=staging_folder()) as file:
            for block in store.read_range(key, 0, length):
                file.write(block)
            read_xorb(cast(BinaryIO, file), name)
    except KeyError:
        return _GONE
    except (XetFormatError, OSError) as error:
        return str(error)
    return ""


def _only_announced(xorb: str) -> bool:
    """Its row came before its bytes, and whoever sent them died in between or is still at it: nothing builds on it."""
    row = Xorb.objects.filter(pk=xorb, senders=None, holders=None, uses=None)
    return row.exists() and not blob_store().exists(xorb_key(xorb))


def touched_by(key: str) -> Iterator[Touched]:
    """The commits which brought what is damaged, in every repository which holds it."""
    kind, _, name = key.partition("/")
    if kind == "blobs":
        sha256s = {name}
    else:
        sha256s = set(XetFile.objects.filter(uses__xorb=name).values_list("sha256", flat=True))
    held = RepositoryBlob.objects.filter(blob__in=sha256s).values("repository")
    for repository in Repository.objects.filter(pk__in=held).order_by("full_name"):
        pointers = GitObject.objects.filter(repository=repository, sha256__in=sha256s)
        wanted = dict(pointers.values_list("oid", "sha256"))
        graph, seen = graph_of(repository), set[str]()
        for ref, head in Ref.objects.filter(repository=repository).order_by("name").values_list("name", "oid"):
            commits = graph.reachable([head], seen)
            seen |= commits
            for commit in sorted(commits, key=lambda oid: graph[oid].time_s):
                for oid, is_tree in objects_of(repository, graph, [commit]):
                    if not is_tree and oid in wanted:
                        yield Touched(repository.path, ref, commit, wanted[oid])
