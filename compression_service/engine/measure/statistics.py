"""Latency figures from raw samples, and only those percentiles for which there are enough of them."""

from __future__ import annotations

from typing import Any

import numpy as np

# Runs which a percentile needs at 99 % confidence (MLPerf's rule; measuring.md §1 rule 4).
RUNS_FOR = {"p90": 64, "p95": 130, "p99": 662}
SAMPLES_KEPT = 2000
LEAST_OF_A_PART, LEAST_PARTS = 10, 6


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


def p90_range(samples_ms: list[float], slices: list[int]) -> dict[str, float | None]:
    """{"p90_low", "p90_high"} in ms: between which the p90 moved from slice to slice.

    `slices` are numbers of samples. A neighbour on the machine, or its clock, moves the p90 of a tenth of a second much
    further than that of the whole: a machine which was quiet all the time has a narrow range. Null with too few runs.
    """
    values, parts, held = np.asarray(samples_ms, np.float64), list[float](), np.zeros(0)
    for part in np.split(values, np.cumsum(slices)[:-1]):
        held = np.concatenate([held, part])
        if len(held) >= LEAST_OF_A_PART:
            parts.append(float(np.percentile(held, 90)))
            held = np.zeros(0)
    if len(parts) < LEAST_PARTS:
        return {"p90_low": None, "p90_high": None}
    p90 = float(np.percentile(values, 90))
    return {"p90_low": min(p90, *parts), "p90_high": max(p90, *parts)}


def thinned(samples_ms: list[float]) -> list[float]:
    """At most SAMPLES_KEPT samples, evenly taken over the window in their order."""
    if len(samples_ms) <= SAMPLES_KEPT:
        return [round(sample, 6) for sample in samples_ms]
    places = np.linspace(0, len(samples_ms) - 1, SAMPLES_KEPT).astype(int)
    return [round(samples_ms[place], 6) for place in places]


def ratio(value: float | None, source: float | None) -> float | None:
    """value / source, None when one of them was not measured."""
    return value / source if value is not None and source else None
