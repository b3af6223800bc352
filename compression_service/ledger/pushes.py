"""Counting what clients named as files, and what they had to send for it."""

from typing import Any

from django.db.models import F

from compression_service.ledger.models import PushCount
from models_registry.repos.models import Repository


def on_xorb_received(sender: object, *, repository: Repository, size_bytes: int, **_: Any) -> None:
    _add(repository, "sent_bytes", size_bytes)


def on_files_registered(sender: object, *, repository: Repository, size_bytes: int, **_: Any) -> None:
    _add(repository, "named_bytes", size_bytes)


def _add(repository: Repository, column: str, size_bytes: int) -> None:
    rows = PushCount.objects.filter(repository=repository)
    changes = {column: F(column) + size_bytes}
    if not rows.update(**changes):
        PushCount.objects.get_or_create(repository=repository)
        rows.update(**changes)
