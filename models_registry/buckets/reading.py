"""What is in buckets: one file, some files, folders as they are seen, and totals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, F, Max, QuerySet, Sum, Value
from django.db.models.functions import Collate, StrIndex, Substr

from models_registry.buckets.models import BucketFile
from models_registry.errors import EntryNotFound
from models_registry.repos.models import Repository

_BATCH = 500
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Totals:
    size_bytes: int = 0
    files: int = 0


@dataclass(frozen=True)
class Folder:
    """Files whose paths begin alike; `uploaded_at` of the newest."""

    path: str
    uploaded_at: datetime
    size_bytes: int = 0


def totals_of(buckets: Iterable[Repository]) -> dict[int, Totals]:
    """By primary key, in one query."""
    rows = BucketFile.objects.filter(repository__in=[bucket.pk for bucket in buckets]).values("repository")
    counted = rows.annotate(size=Sum("blob__size_bytes"), files=Count("pk"))
    return {row["repository"]: Totals(row["size"], row["files"]) for row in counted}


def file_at(bucket: Repository, path: str) -> BucketFile:
    found = _files(bucket).filter(path=path).first() if "\0" not in path else None
    if found is None:
        raise EntryNotFound(f"{path[:300]} does not exist in this bucket.")
    return found


def files_at(bucket: Repository, paths: Sequence[str]) -> list[BucketFile]:
    """Those which are there, in the order of `paths`."""
    found: dict[str, BucketFile] = {}
    wanted = [path for path in dict.fromkeys(paths) if "\0" not in path]
    for start in range(0, len(wanted), _BATCH):
        found |= {row.path: row for row in _files(bucket).filter(path__in=wanted[start : start + _BATCH])}
    return [found[path] for path in wanted if path in found]


def list_files(bucket: Repository, prefix: str, after: str, limit: int) -> list[BucketFile]:
    """Files whose paths begin with `prefix`, letter by letter, in order, behind the path `after`."""
    found: list[BucketFile] = []
    while len(found) < limit:
        rows = _files(bucket).filter(path__gt=after) if after else _files(bucket)
        part = list(rows.filter(path__startswith=prefix).order_by("path")[:limit])
        # SQLite's LIKE takes no notice of case.
        found += [row for row in part if row.path.startswith(prefix)]
        if len(part) < limit:
            break
        after = part[-1].path
    return found[:limit]


def list_level(bucket: Repository, prefix: str, after: str = "", limit: int | None = None) -> list[BucketFile | Folder]:
    """What is seen at one level behind the path `after`, in order: files, and folders for what lies deeper.

    The prefix counts letter by letter: `logs` gives what is in the folder `logs`, and also `logs.json` and the folder
    `logs_old`. The database groups by folder, so of a million files below them nothing is read here.
    """
    entries: list[BucketFile | Folder] = []
    for inside in (False, True) if prefix and not prefix.endswith("/") else (False,):
        start = f"{prefix}/" if inside else prefix
        last = start + _LAST * 1024  # no path is longer
        rows = _files(bucket).annotate(ordered=_in_order(F("path"))).filter(ordered__gte=start, ordered__lte=last)
        if not inside and prefix and not prefix.endswith("/"):
            rows = rows.exclude(ordered__gte=f"{prefix}/", ordered__lte=f"{prefix}/{_LAST * 1024}")
        rows = rows.annotate(slash=StrIndex(Substr("path", len(start) + 1), Value("/")))
        entries += rows.filter(slash=0, ordered__gt=after).order_by("ordered")[:limit]
        entries += _folders(rows.filter(slash__gt=0), len(start), after, limit)
    return sorted(entries, key=lambda entry: entry.path)[:limit]


def _folders(rows: QuerySet[BucketFile], skipped: int, after: str, limit: int | None) -> list[Folder]:
    name = Substr("path", 1, F("slash") + Value(skipped - 1))
    grouped = rows.annotate(name=_in_order(name)).filter(name__gt=after).order_by("name").values("name")
    found = grouped.annotate(newest=Max("uploaded_at"), size=Sum("blob__size_bytes"))
    return [Folder(row["name"], row["newest"], row["size"]) for row in found[:limit]]


def _in_order(text: Any) -> Any:
    """By code points, as Python and the cursors of listings: PostgreSQL's own order may be that of a language."""
    return Collate(text, "C" if connection.vendor == "postgresql" else "BINARY")


def _files(bucket: Repository) -> QuerySet[BucketFile]:
    return BucketFile.objects.filter(repository=bucket).select_related("blob")
