"""Rows out of `.npz` files: arrays of one length are columns, a row of each is a cell. Pickles are never loaded.

`x_train`, `y_train`, `x_test`, `y_test` (as Keras writes its datasets) are two splits of the columns x and y.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ENDING = ".npz"
LARGEST_BYTES = 2 * 1024**3  # unpacked, of one file
_SPLIT = re.compile(
    r"^(.*?)[_.\- ]?(train(?:ing)?|val|valid|validation|dev|test|testing|eval|evaluation)$", re.IGNORECASE
)


def read(
    path: Path, split_of: Callable[[str], str], usual: str, most: int, seed: int
) -> dict[str, dict[str, list[Any]]]:
    """Split → columns, at most `most` rows of each, drawn with the seed. `usual`: the split of arrays whose names say
    none. A ValueError says why the file can not be read."""
    try:
        _check_size(path)
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        MemoryError,
    ) as error:
        raise ValueError(f"{path.name} cannot be read ({str(error)[:160]})") from error
    splits: dict[str, dict[str, np.ndarray]] = {}
    for name, array in found.items():
        said = _SPLIT.match(name)
        split = split_of(said[2]) if said else usual
        if array.ndim and len(array):
            splits.setdefault(split, {})[(said[1] if said else name) or name] = array
    return {split: _rows(path, arrays, most, seed) for split, arrays in splits.items()}


def _check_size(path: Path) -> None:
    with zipfile.ZipFile(path) as packed:
        size = sum(one.file_size for one in packed.infolist())
    if size > LARGEST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, more than the {LARGEST_BYTES:,} which are read")


def _rows(path: Path, arrays: dict[str, np.ndarray], most: int, seed: int) -> dict[str, list[Any]]:
    counts = {len(array) for array in arrays.values()}
    if len(counts) > 1:
        lengths = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise ValueError(f"the arrays of {path.name} are not of one length ({lengths[:160]})")
    count = counts.pop()
    kept = np.sort(np.random.default_rng(seed).permutation(count)[:most])
    return {name: array[kept].tolist() if array.ndim == 1 else list(array[kept]) for name, array in arrays.items()}
