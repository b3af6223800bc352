"""Accuracy: the share of rows whose class is right."""

from __future__ import annotations

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth


def is_class_scores(output: np.ndarray) -> bool:
    """[1, C] or [1, C, 1, 1] with at least two classes."""
    return output.ndim >= 2 and output.shape[0] == 1 and output.shape[1] == output.size and output.size >= 2


def guesses(outputs: Outputs, labels: np.ndarray, wanted: str | None = None) -> tuple[str, np.ndarray] | None:
    """(output, class of each input) of the first output with class scores or classes, or of the one that is wanted."""
    for name, first in outputs[0].items():
        if wanted is not None and name != wanted:
            continue
        if first.dtype.kind == "f" and is_class_scores(first) and labels.max() < first.size:
            return name, np.asarray([one[name].argmax() for one in outputs])
        if first.dtype.kind in "iu" and first.size == 1:
            return name, np.asarray([one[name].item() for one in outputs])
        if first.dtype.kind == "f" and first.size == 1 and _is_share(outputs, name) and labels.max() <= 1:
            return name, np.asarray([int(one[name].item() > 0.5) for one in outputs])
    return None


def _is_share(outputs: Outputs, name: str) -> bool:
    return all(0 <= one[name].item() <= 1 for one in outputs)


def classes(outputs: Outputs, truth: Truth) -> tuple[str, np.ndarray, np.ndarray] | None:
    """(output, guesses, labels) of the rows which both have."""
    count = min(len(outputs) // truth.feeds_per_value, len(truth.values))
    if count == 0 or truth.feeds_per_value != 1:
        return None
    labels = np.asarray(truth.values[:count], np.int64)
    found = guesses(outputs[:count], labels, truth.options.get("output"))
    return None if found is None else (found[0], found[1], labels)


def _items(outputs: Outputs, _reference: Outputs, truth: Truth) -> Items | None:
    found = classes(outputs, truth)
    return None if found is None else Items((found[1] == found[2]).astype(np.float64), found[0])


METRIC = Metric(
    "accuracy", ("classes",), _items, lambda hits: float(hits.mean()), "share of right classes", counts_hits=True
)
