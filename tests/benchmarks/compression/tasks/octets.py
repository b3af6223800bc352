"""magika: which kind of content a file has, from its first and last kilobyte."""

import hashlib
from pathlib import Path

import numpy as np

from tests.benchmarks.compression.tasks.base import SINGLE, Feed, Rows, existing

PADDING, PART, WINDOW = 256, 1024, 4096
CALIBRATION, HELD_BACK, EVALUATION, OF_ONE_FOLDER = 160, 64, 320, 24


def magika(_model: str, assets: Path) -> Rows:
    """Its own sample files judge, with half of the other assets; the other half calibrates (by a hash of the path)."""
    samples = sorted(path for path in existing(assets / "datasets" / "magika-files").rglob("*") if path.is_file())
    given, tests = [], [content(path.read_bytes()) for path in samples]
    taken: dict[Path, int] = {}
    for path in sorted(assets.rglob("*"), key=lambda one: _hash(one, assets)):
        if not path.is_file() or path in samples or not path.stat().st_size:
            continue
        taken[path.parent] = taken.get(path.parent, 0) + 1
        if taken[path.parent] <= OF_ONE_FOLDER:
            (given if _hash(path, assets) % 2 else tests).append(content(path.read_bytes()))
    given = given[: CALIBRATION + HELD_BACK]
    cut = min(CALIBRATION, len(given) * 3 // 4)
    return Rows(
        {"model.onnx": existing(assets / "models" / "magika-standard-v3_3" / "model.onnx")},
        {SINGLE: given[:cut]}, {SINGLE: given[cut:]}, {SINGLE: tests[:EVALUATION]}, "cosine", "bytes",
    )  # fmt: skip


def _hash(path: Path, assets: Path) -> int:
    return int.from_bytes(hashlib.sha256(path.relative_to(assets).as_posix().encode()).digest()[:4], "big")


def content(data: bytes) -> Feed:
    """1024 bytes of each end, less the white space around them, filled up with 256."""
    first, last = data[:WINDOW].lstrip()[:PART], data[-WINDOW:].rstrip()[-PART:]
    row = np.full(2 * PART, PADDING, np.int32)
    row[: len(first)] = np.frombuffer(first, np.uint8)
    if last:
        row[2 * PART - len(last) :] = np.frombuffer(last, np.uint8)
    return {"bytes": row[None]}
