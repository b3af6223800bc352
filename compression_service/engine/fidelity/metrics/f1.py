"""Macro F1: the mean over classes of the harmonic mean of precision and recall (van Rijsbergen 1979).

Classes which are neither in the labels nor guessed do not count, as in scikit-learn's `f1_score(average="macro")`.
"""

from __future__ import annotations

import numpy as np

from compression_service.engine.fidelity.metrics.accuracy import classes
from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth


def macro_f1(pairs: np.ndarray) -> float:
    """Of rows (guess, label)."""
    _, numbers = np.unique(pairs, return_inverse=True)
    guessed, labels = numbers.reshape(pairs.shape).T
    size = int(numbers.max()) + 1
    right = np.bincount(labels[guessed == labels], minlength=size)
    return float(np.mean(2 * right / (np.bincount(guessed, minlength=size) + np.bincount(labels, minlength=size))))


def _items(outputs: Outputs, _reference: Outputs, truth: Truth) -> Items | None:
    found = classes(outputs, truth)
    return None if found is None else Items(np.stack([found[1], found[2]], axis=1).astype(np.int64), found[0])


METRIC = Metric("f1", ("classes",), _items, macro_f1, "van Rijsbergen 1979, mean over classes")
