"""Latency figures from raw samples, and only those percentiles for which there are enough of them."""

from __future__ import annotations

from typing import Any

import numpy as np

# Runs which a percentile needs at 99 % confidence (MLPerf's rule; measuring.md §1 rule 4).
RUNS_FOR = {"p90": 64, "p95": 130, "p99": 662}
SAMPLES_KEPT = 2000


def latency(samples_ms: list[float]) -> dict[str, Any]:
    """{"min", "p50", "p90", "p95", "p99", "mean", "stdev", "count"} in ms; null where the runs are too few."""
    values = np.asarray(samples_ms, np.float64)
    found: dict[str, Any] = {"min": float(values.min()), "p50": float(np.median(values))}
    for name, runs in RUNS_FOR.items():
        found[name] = float(np.percentile(values, int(name[1:]))) if len(values) >= runs else None
    found["mean"] = float(values.mean())
    found["stdev"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    found["count"] = len(values)
    return found


def thinned(samples_ms: list[float]) -> list[float]:
    """At most SAMPLES_KEPT samples, evenly taken over the window in their order."""
    if len(samples_ms) <= SAMPLES_KEPT:
        return [round(sample, 6) for sample in samples_ms]
    places = np.linspace(0, len(samples_ms) - 1, SAMPLES_KEPT).astype(int)
    return [round(samples_ms[place], 6) for place in places]


def ratio(value: float | None, source: float | None) -> float | None:
    """value / source, None when one of them was not measured."""
    return value / source if value is not None and source else None
