"""What is in buckets: one file, some files, folders as they are seen, and totals."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, QuerySet, Sum

from models_registry.buckets.models import BucketFile
from models_registry.errors import EntryNotFound
from models_registry.repos.models import Repository

_BATCH = 500


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


def list_level(bucket: Repository, prefix: str) -> list[BucketFile | Folder]:
    """What is seen at one level: files, and folders for what lies deeper.

    The prefix counts letter by letter: `logs` gives what is in the folder `logs`, and also `logs.json` and the folder
    `logs_old`.
    """
    folders: dict[str, Folder] = {}
    shown: list[int] = []
    rows = BucketFile.objects.filter(repository=bucket, path__startswith=prefix)
    columns = rows.values_list("pk", "path", "uploaded_at", "blob__size_bytes")
    for pk, path, uploaded_at, size in columns.iterator():
        if not path.startswith(prefix):
            continue
        at = len(prefix) + (path[len(prefix) :].startswith("/") and not prefix.endswith("/") and bool(prefix))
        name, slash, _ = path[at:].partition("/")
        if not slash:
            shown.append(pk)
            continue
        there = folders.get(path[:at] + name)
        newest = max(there.uploaded_at, uploaded_at) if there else uploaded_at
        folders[path[:at] + name] = Folder(path[:at] + name, newest, size + (there.size_bytes if there else 0))
    files: list[BucketFile | Folder] = []
    for start in range(0, len(shown), _BATCH):
        files += _files(bucket).filter(pk__in=shown[start : start + _BATCH])
    return sorted([*files, *folders.values()], key=lambda entry: entry.path)


def _files(bucket: Repository) -> QuerySet[BucketFile]:
    return BucketFile.objects.filter(repository=bucket).select_related("blob")
