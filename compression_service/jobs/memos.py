"""Where the recipes of one source keep what they share (engine/memo.py), while its family is being made.

Children of the same source write and read there and nobody else, so a hostile model can spoil its own variants only.
"""

import shutil
from pathlib import Path

from django.conf import settings

from compression_service.variants.models import SourceModel, Variant


def folder_for(source: SourceModel) -> Path:
    """The folder, made if need be. It is this machine's: another worker computes for itself."""
    folder = _root() / str(source.pk)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def drop(source: SourceModel) -> None:
    """The family is made: forget what its recipes shared."""
    shutil.rmtree(_root() / str(source.pk), ignore_errors=True)


def drop_left_over() -> None:
    """What families left whose making was cut off, or ended on another machine."""
    for folder in _root().iterdir() if _root().exists() else []:
        making = Variant.objects.filter(status=Variant.Status.MAKING)
        if not folder.name.isdecimal() or not making.filter(source=int(folder.name)).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    return settings.FITHUB_DATA / "memos"
