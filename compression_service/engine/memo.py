"""What the recipes of one source need alike, computed once: the outputs of the source, and the steps they begin with.

A folder which the caller gives, and throws away when the family is made (memoisation; Michie 1968). Recipes begin with
the same steps: fusion, the same static ranges, the same neurons removed. Without a folder everything is computed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine.versions import versions

Feed = dict[str, np.ndarray]
LEAST_FREE_BYTES = 2 * 1024**3  # below this the disk is for those who store models
_HASHED_AT_ONCE = 1024**2


@dataclass(frozen=True)
class Memo:
    """Entries are folders named by what they depend on; each stands whole or not at all."""

    folder: Path | None = None

    def find(self, key: str) -> Path | None:
        """The folder of an entry, None where nothing is kept."""
        path = self.folder / key if self.folder is not None else None
        return path if path is not None and path.is_dir() else None

    def keep(self, key: str, write: Callable[[Path], None]) -> None:
        """`write` fills the entry's folder. A disk which has no room costs the entry and not the variant."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < LEAST_FREE_BYTES:
                return
            with tempfile.TemporaryDirectory(dir=self.folder, prefix="part-", ignore_cleanup_errors=True) as part:
                made = Path(part) / "entry"
                made.mkdir()
                write(made)
                if self.find(key) is None:
                    made.rename(self.folder / key)
        except OSError:
            traceback.print_exc(file=sys.stderr)


def key(*parts: Any) -> str:
    """What an entry depends on, as a name: JSON values, the versions of the tools and the engine's own code."""
    return hashlib.sha256(json.dumps([parts, versions(), _code()], sort_keys=True).encode()).hexdigest()[:40]


@lru_cache(maxsize=1)
def _code() -> str:
    hasher = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def of_file(path: Path) -> str:
    """sha256 of a model's file and of the weights which lie beside it under its name."""
    hasher = hashlib.sha256()
    for one in (path, *sorted(path.parent.glob(f"{path.name}[_.]*"))):
        with one.open("rb") as file:
            while data := file.read(_HASHED_AT_ONCE):
                hasher.update(data)
    return hasher.hexdigest()


def of_bytes(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def of_feeds(feeds: Iterable[Feed]) -> str:
    """sha256 over every array: the same rows, the same digest."""
    hasher = hashlib.sha256()
    for feed in feeds:
        for name, array in sorted(feed.items()):
            hasher.update(f"{name}/{array.dtype}/{array.shape}".encode())
            hasher.update(content(array))
    return hasher.hexdigest()


def content(array: np.ndarray) -> bytes:
    """What a digest takes in of an array: its bytes, of strings their words."""
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
