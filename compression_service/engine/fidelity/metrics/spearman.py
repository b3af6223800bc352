"""Spearman's rank correlation (1904) of scores: of pairs of texts by the cosine of their embeddings, or of one number.

Embeddings are pooled over tokens as Reimers and Gurevych 2019 do (mean; `pooling: cls` takes the first token). Feeds
are of batch 1 without padding, so the plain mean is the masked one.
"""

from __future__ import annotations

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; equal values share the mean of theirs."""
    _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts + 1) / 2)[position.reshape(-1)])


def spearman(pairs: np.ndarray) -> float:
    """Of rows (guess, score); NaN where one side is constant."""
    a, b = (ranks(column) - (len(pairs) - 1) / 2 for column in pairs.T)
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size else float("nan")


def _embedding_output(first: dict[str, np.ndarray], wanted: str | None) -> str | None:
    floats = [name for name, array in first.items() if array.dtype.kind == "f" and array.ndim in (2, 3)]
    if wanted is not None:
        return wanted if wanted in floats else None
    named = [name for name in floats if "sentence" in name.lower() or name.lower() in ("embedding", "embeddings")]
    tokens = [name for name in floats if first[name].ndim == 3]
    return next(iter(named or tokens or floats), None)


def _pooled(array: np.ndarray, pooling: str) -> np.ndarray:
    values = array.astype(np.float64)
    if values.ndim == 3:
        values = values[:, 0] if pooling == "cls" else values.mean(axis=1)
    return values.reshape(-1)


def _items(outputs: Outputs, _reference: Outputs, truth: Truth) -> Items | None:
    count = min(len(outputs) // truth.feeds_per_value, len(truth.values))
    if count < 3 or truth.steps != 1:
        return None
    scores = np.asarray(truth.values[:count], np.float64)
    wanted = truth.options.get("output")
    if truth.group == 2:
        name = _embedding_output(outputs[0], wanted)
        if name is None:
            return None
        pooled = [_pooled(one[name], truth.options.get("pooling", "mean")) for one in outputs[: 2 * count]]
        guesses = [_cosine(a, b) for a, b in zip(pooled[::2], pooled[1::2], strict=True)]
    else:
        name = next((n for n, a in outputs[0].items() if a.size == 1 and wanted in (None, n)), None)
        if name is None:
            return None
        guesses = [float(one[name].item()) for one in outputs[:count]]
    return Items(np.stack([np.asarray(guesses), scores], axis=1), name)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / size if size else 0.0


METRIC = Metric("spearman", ("scores", "classes"), _items, spearman, "Spearman 1904")
