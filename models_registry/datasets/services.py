"""Acts on the first rows of data files."""

from collections.abc import Iterable
from typing import Any

from models_registry.datasets.models import FileRows


def known_oids(oids: Iterable[str]) -> set[str]:
    return set(FileRows.objects.filter(oid__in=list(oids)).values_list("oid", flat=True))


def rows_of(oids: Iterable[str]) -> dict[str, FileRows]:
    """What has been read, by oid."""
    return FileRows.objects.in_bulk(list(oids))


def record_rows(oid: str, read: dict[str, Any]) -> None:
    """Keep what the reader found (or why it found nothing)."""
    fields = ("format", "columns", "rows", "num_rows", "truncated", "error")
    FileRows.objects.update_or_create(oid=oid, defaults={key: read[key] for key in fields if key in read})
