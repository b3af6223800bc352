"""Which contents and xorbs something names. Every foreign key to a content counts, of whatever room."""

from collections.abc import Mapping, Set
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from models_registry.storage.models import Blob
from models_registry.xet.models import Xorb, XorbUse


def _rows_naming() -> list[tuple[type[Any], str]]:
    return [(link.related_model, link.field.name) for link in Blob._meta.related_objects]


def unnamed_blobs(unused_since: datetime) -> QuerySet[Blob]:
    """Contents which no row names, and which nobody sent or granted since."""
    named = Q()
    for model, name in _rows_naming():
        named |= Q(Exists(model.objects.filter(**{name: OuterRef("pk")})))
    return Blob.objects.filter(~named, used_at__lt=unused_since)


def named_only_by(gone: Mapping[str, Set[int]], unused_since: datetime) -> set[str]:
    """Contents which would be unnamed if these rights were gone: SHA-256 → the repositories whose right it is."""
    from models_registry.repos.models import RepositoryBlob

    found = set()
    for sha256, repositories in gone.items():
        blob = Blob.objects.filter(pk=sha256, used_at__lt=unused_since)
        others = (m.objects.filter(**{name: sha256}) for m, name in _rows_naming() if m is not RepositoryBlob)
        rights = RepositoryBlob.objects.filter(blob=sha256).exclude(repository__in=repositories)
        if blob.exists() and not rights.exists() and not any(rows.exists() for rows in others):
            found.add(sha256)
    return found


def unnamed_xorbs(unused_since: datetime) -> QuerySet[Xorb]:
    """Xorbs of which no file is made, and which nobody sent, named or was told of since."""
    return Xorb.objects.filter(~Exists(XorbUse.objects.filter(xorb=OuterRef("pk"))), used_at__lt=unused_since)
