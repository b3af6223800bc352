"""Which contents and xorbs something names. Every foreign key to a content counts, of whatever room."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from models_registry.storage.models import Blob
from models_registry.xet.models import Xorb, XorbUse


def _rows_naming() -> list[tuple[type[Any], str]]:
    return [(link.related_model, link.field.name) for link in Blob._meta.related_objects]


def unnamed_blobs(unused_since: datetime, without: QuerySet[Any] | None = None) -> QuerySet[Blob]:
    """Contents which no row names (or only the rows `without`), and which nobody sent, granted or let go since."""
    named = Q()
    for model, name in _rows_naming():
        rows = model.objects.filter(**{name: OuterRef("pk")})
        if without is not None and without.model is model:
            rows = rows.exclude(pk__in=without.values("pk"))
        named |= Q(Exists(rows))
    return Blob.objects.filter(~named, used_at__lt=unused_since)


def unnamed_xorbs(unused_since: datetime) -> QuerySet[Xorb]:
    """Xorbs of which no file is made, and which nobody sent, named or was told of since."""
    return Xorb.objects.filter(~Exists(XorbUse.objects.filter(xorb=OuterRef("pk"))), used_at__lt=unused_since)
