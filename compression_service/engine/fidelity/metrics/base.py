"""The shape of a metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from compression_service.engine.fidelity.truth import Truth

Outputs = list[dict[str, np.ndarray]]  # one dict of output arrays for each input


@dataclass(frozen=True)
class Items:
    """What a metric counts: one row of figures for each row of the data, and the output it was read from."""

    figures: np.ndarray
    output: str


@dataclass(frozen=True)
class Metric:
    """`items(outputs, reference, truth)` → Items, None where the outputs are of another kind; `total` folds them.

    `reference` are the source's outputs, for what has no truth of its own. `allowed_loss`: what may be lost before a
    variant is flagged, in the metric's own unit, or as a share of the source's value where `relative`.
    """

    name: str
    kinds: tuple[str, ...]
    items: Callable[[Outputs, Outputs, Truth], Items | None]
    total: Callable[[np.ndarray], float]
    source: str
    higher_is_better: bool = True
    allowed_loss: float = 0.01
    relative: bool = False
    unit: str = "share"
    counts_hits: bool = False  # figures are 0 or 1: Wilson's interval fits
    perfect: float | None = 1.0  # the value of a model compared with itself; None where that has no bound

    def lost(self, source_value: float, value: float) -> float:
        """How much worse than the source: in the unit of `allowed_loss`, negative where it is better."""
        worse = source_value - value if self.higher_is_better else value - source_value
        return worse / abs(source_value) if self.relative and source_value else worse
