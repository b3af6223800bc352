"""Counting pulls of variants: one when its first model file is fetched, for every client fetches that one."""

from dataclasses import dataclass
from typing import Any

from django.db.models import F

from compression_service.ledger.models import PullCount
from compression_service.selection.memory import Kept
from compression_service.variants.models import Variant
from models_registry.repos.models import Repository


@dataclass(frozen=True)
class _Pulled:
    """What a commit is: a variant whose first model file lies at `path`, or (an empty name) something else."""

    name: str = ""
    path: str = ""
    moved_bytes: int = 0
    source_bytes: int = 0


_commits: Kept[_Pulled] = Kept(2000)  # what a commit is never changes


def on_file_downloaded(sender: object, *, repository: Repository, commit: str, path: str, **_: Any) -> None:
    key = (repository.pk, commit)
    pulled = _commits.get(key)
    if pulled is None:
        pulled = _pulled(repository, commit)
        _commits.put(key, pulled)
    if not pulled.name or path != pulled.path:
        return
    rows = PullCount.objects.filter(repository=repository, variant=pulled.name)
    changes = {
        "pulls": F("pulls") + 1,
        "moved_bytes": F("moved_bytes") + pulled.moved_bytes,
        "source_bytes": F("source_bytes") + pulled.source_bytes,
    }
    if not rows.update(**changes):
        PullCount.objects.get_or_create(repository=repository, variant=pulled.name)
        rows.update(**changes)


def forget() -> None:
    """Drop what this process remembers (tests: ids begin anew)."""
    _commits.clear()


def _pulled(repository: Repository, commit: str) -> _Pulled:
    rows = Variant.objects.filter(source__repository=repository, commit=commit).exclude(commit="")
    variant = rows.only("name", "source", "components", "size_bytes").first()
    if variant is None or not variant.components:
        return _Pulled()
    source = Variant.objects.filter(source=variant.source_id, name="onnx").values_list("size_bytes", flat=True).first()
    size = variant.size_bytes or 0
    return _Pulled(variant.name, variant.components[0]["path"], size, size if source is None else source)
