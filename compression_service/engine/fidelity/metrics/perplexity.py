"""Perplexity of a language model: e to the mean surprise of each token after those before it (Jelinek et al. 1977)."""

from __future__ import annotations

import math

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth


def surprise(logits: np.ndarray, ids: np.ndarray) -> tuple[float, int]:
    """(sum of −ln p, count) of the tokens ids[1:] under logits [T, V]."""
    count = min(len(ids), len(logits)) - 1
    rows = logits[:count].astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    chosen = rows[np.arange(count), ids[1 : count + 1]]
    return float((np.log(np.exp(rows).sum(axis=1)) - chosen).sum()), count


def _items(outputs: Outputs, _reference: Outputs, truth: Truth) -> Items | None:
    count = min(len(outputs), len(truth.values))
    tokens = [np.asarray(truth.values[i], np.int64).reshape(-1) for i in range(count)]
    highest = max((int(ids.max()) for ids in tokens if ids.size), default=-1)
    wanted = truth.options.get("output")
    name = next(
        (
            n
            for n, a in outputs[0].items()
            if a.dtype.kind == "f" and a.ndim == 3 and a.shape[0] == 1 and a.shape[2] > highest and wanted in (None, n)
        ),
        None,
    )
    if name is None or truth.feeds_per_value != 1 or highest < 0:
        return None
    figures = [
        surprise(outputs[i][name][0], ids)
        for i, ids in enumerate(tokens)
        if min(len(ids), outputs[i][name].shape[1]) > 1
    ]
    return Items(np.asarray(figures), name) if figures else None


def _total(figures: np.ndarray) -> float:
    bits, count = figures.sum(axis=0)
    mean = bits / count
    return math.exp(mean) if mean < 700 else float("inf")


METRIC = Metric(
    "perplexity", ("tokens",), _items, _total, "Jelinek et al. 1977",
    higher_is_better=False, relative=True, unit="", perfect=None,
)  # fmt: skip
