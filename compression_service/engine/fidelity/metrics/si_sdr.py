"""Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, SDR – half-baked or well done?).

Over whole sequences: the frames of a stateful model are put one after the other, or added where they overlap.
"""

from __future__ import annotations

import math

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth

HIGHEST_DB = 150.0  # what double precision can tell apart


def si_sdr(estimate: np.ndarray, right: np.ndarray) -> float:
    """dB of the part of `estimate` which is `right`, both [samples] and without their mean."""
    a, b = (signal - signal.mean() for signal in (estimate.astype(np.float64), right.astype(np.float64)))
    size = float(np.dot(b, b))
    if size == 0.0:
        return float("nan")
    target = np.dot(a, b) / size * b
    noise = float(((a - target) ** 2).sum())
    power = float((target**2).sum())
    if noise == 0.0 or power == 0.0:
        return HIGHEST_DB if power else -HIGHEST_DB
    return min(HIGHEST_DB, max(-HIGHEST_DB, 10 * math.log10(power / noise)))


def joined(frames: list[np.ndarray], hop: int | None) -> np.ndarray:
    """One signal of consecutive frames; added where `hop` is shorter than a frame."""
    flat = [frame.astype(np.float64).reshape(-1) for frame in frames]
    size = flat[0].size
    if hop is None or hop >= size or any(frame.size != size for frame in flat):
        return np.concatenate(flat)
    signal = np.zeros(hop * (len(flat) - 1) + size)
    for index, frame in enumerate(flat):
        signal[index * hop : index * hop + size] += frame
    return signal


def _items(outputs: Outputs, reference: Outputs, truth: Truth) -> Items | None:
    wanted = truth.options.get("output")
    names = [n for n, a in outputs[0].items() if a.dtype.kind == "f" and a.size > 1 and wanted in (None, n)]
    size = truth.feeds_per_value
    if not names or truth.group != 1:
        return None
    name, figures = names[0], []
    for index in range(len(outputs) // size):
        span = slice(index * size, (index + 1) * size)
        made = joined([one[name] for one in outputs[span]], truth.hop)
        if truth.kind == "source":
            right = joined([one[name] for one in reference[span]], truth.hop)
        elif index < len(truth.values):
            right = np.asarray(truth.values[index], np.float64).reshape(-1)
        else:
            break
        length = min(made.size, right.size)
        value = si_sdr(made[:length], right[:length]) if length else float("nan")
        if math.isfinite(value):  # silence has no ratio
            figures.append(value)
    return Items(np.asarray(figures), name) if figures else None


METRIC = Metric(
    "si_sdr", ("signals", "source"), _items, lambda decibels: float(decibels.mean()), "Le Roux et al. 2019",
    allowed_loss=0.5, unit="dB", perfect=None,
)  # fmt: skip
