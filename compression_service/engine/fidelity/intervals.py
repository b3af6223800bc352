"""95 % intervals: Wilson 1927 for shares, Efron's percentile bootstrap (1979) for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

NORMAL_95 = 1.959963984540054
RESAMPLES = 500
SEED = 0


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share."""
    share, z2 = hits / count, NORMAL_95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    # The ends are exact by definition; floating point misses them by a last digit.
    return (0.0 if hits == 0 else centre - half), (1.0 if hits == count else centre + half)


def bootstrap(items: np.ndarray, total: Callable[[np.ndarray], float]) -> tuple[float, float] | None:
    """The 95 % interval of `total` over rows drawn with replacement; the seed is fixed. None where it says nothing."""
    rng = np.random.default_rng(SEED)
    values = [total(items[rng.integers(0, len(items), len(items))]) for _ in range(RESAMPLES)]
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < RESAMPLES / 2:
        return None
    low, high = np.percentile(finite, [2.5, 97.5])
    return float(low), float(high)
