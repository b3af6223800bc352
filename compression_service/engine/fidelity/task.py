"""The task's metric of a variant beside its source's, and whether too much is lost."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compression_service.engine.fidelity.agreement import FLAGGED_LOSS, ROUNDING, Agreement
from compression_service.engine.fidelity.intervals import bootstrap, wilson
from compression_service.engine.fidelity.metrics import METRICS
from compression_service.engine.fidelity.metrics.base import Metric, Outputs
from compression_service.engine.fidelity.truth import Truth

# Without a word of the card: what rows of a kind are mostly judged by.
USUAL = {
    "classes": "accuracy", "scores": "spearman", "texts": "edit_distance", "masks": "iou", "boxes": "iou",
    "signals": "si_sdr", "tokens": "perplexity",
}  # fmt: skip


def task_metric(source: Outputs, variant: Outputs, truth: Truth | None) -> dict[str, Any] | None:
    """{"name", "value", "source_value", "low", "high", "count", "output", "unit", "better", "reference"}, or None where
    the outputs are not of the metric's kind.

    `value` is the variant's, with its 95 % interval; "reference" says what is right: "labels", or "source" where the
    source's own outputs are (then `source_value` is the metric of a perfect copy, null where that has no bound).
    """
    name = (truth.metric or USUAL.get(truth.kind)) if truth is not None else None
    metric = METRICS.get(name or "")
    if truth is None or metric is None or truth.kind not in metric.kinds or not source or not variant:
        return None
    count = min(len(source), len(variant))
    source, variant = source[:count], variant[:count]
    made = metric.items(variant, source, truth)
    if made is None:
        return None
    value = metric.total(made.figures)
    if truth.kind == "source":
        source_value = metric.perfect
    else:
        own = metric.items(source, source, truth)
        source_value = metric.total(own.figures) if own is not None else None
        if source_value is None or not math.isfinite(source_value):
            return None
    if not math.isfinite(value) and not metric.relative:
        return None
    low, high = _interval(metric, made.figures)
    return {
        "name": metric.name, "value": value, "source_value": source_value, "low": low, "high": high,
        "count": len(made.figures), "output": made.output, "unit": metric.unit,
        "better": "higher" if metric.higher_is_better else "lower",
        "reference": "source" if truth.kind == "source" else "labels",
    }  # fmt: skip


def pipeline_metric(
    source: dict[str, Outputs], variant: dict[str, Outputs], truth: Truth | None
) -> dict[str, Any] | None:
    """task_metric of the last component whose outputs are of the metric's kind: a pipeline answers at its end."""
    found = (task_metric(source[name], variant[name], truth) for name in reversed(list(source)))
    return next((metric for metric in found if metric is not None), None)


def _interval(metric: Metric, figures: np.ndarray) -> tuple[float | None, float | None]:
    if metric.counts_hits:
        return wilson(int(figures.sum()), len(figures))
    return (bootstrap(figures, metric.total) if len(figures) > 1 else None) or (None, None)


def accuracy(source: Outputs, variant: Outputs, labels: np.ndarray) -> dict[str, Any] | None:
    """task_metric of integer classes."""
    return task_metric(source, variant, Truth("classes", labels, "accuracy"))


def flagged(agreement: Agreement, metric: dict[str, Any] | None) -> bool:
    """True when too much is lost: of the task's metric where there is one (one point, or what metrics/ says of its own
    scale and direction), else more than one point of the fidelity."""
    known = METRICS.get(metric["name"]) if metric is not None else None
    if metric is not None and known is not None and metric.get("source_value") is not None:
        return bool(not known.lost(metric["source_value"], metric["value"]) <= known.allowed_loss + ROUNDING)
    return 1.0 - agreement.fidelity > FLAGGED_LOSS + ROUNDING
