"""How "beats the best tools" is counted (compression.md): points, matching, hypervolume. Pure.

A point is (size ÷ source, memory ÷ source, p90 ÷ source, loss), loss = min(1, (1 − fidelity) ÷ 0.1).
"""

from dataclasses import dataclass

import numpy as np

AXES = ("size", "memory", "p90", "loss")
LOSS_SCALE = 0.1
SHARES = (0.03, 0.03, 0.05)  # of the tool's own figure: the spread of size, memory and p90
LOSS_SPREAD = 0.002
DRAWS = 400_000
SEED = 0
REFERENCE = 1.0  # on each axis: the source itself, and the greatest loss that still counts


@dataclass(frozen=True)
class Point:
    """One variant in ratios to its source; all axes are better when smaller."""

    tool: str
    recipe: str
    size: float
    memory: float
    p90: float
    loss: float

    @property
    def place(self) -> tuple[float, float, float, float]:
        return (self.size, self.memory, self.p90, self.loss)

    @property
    def counts(self) -> bool:
        """Whether it lies inside the unit box."""
        return all(value < REFERENCE for value in self.place)


def loss(fidelity: float) -> float:
    """0 for the source's own outputs, 1 at a fidelity of 0.9 or less."""
    return min(1.0, max(0.0, 1.0 - fidelity) / LOSS_SCALE)


def excess(ours: Point, theirs: Point) -> tuple[float, float, float, float]:
    """By how many spreads ours is worse on each axis; at most 1 everywhere means matched."""
    ratios = [(a / b - 1) / share for a, b, share in zip(ours.place, theirs.place, SHARES, strict=False)]
    return (ratios[0], ratios[1], ratios[2], (ours.loss - theirs.loss) / LOSS_SPREAD)


def matched(theirs: Point, ours: list[Point]) -> bool:
    """Whether one of ours is no worse on all four axes by more than the spread."""
    return any(max(excess(one, theirs)) <= 1 + 1e-9 for one in ours)


def nearest(theirs: Point, ours: list[Point]) -> tuple[Point, str, float] | None:
    """(the point of ours which misses by least, its worst axis, the spreads on it); None without points."""
    best = min(ours, key=lambda one: max(excess(one, theirs)), default=None)
    if best is None:
        return None
    found = excess(best, theirs)
    axis = int(np.argmax(found))
    return best, AXES[axis], found[axis]


def front(points: list[Point]) -> list[Point]:
    """The points that no other one of them is at least as good as on all axes."""
    kept: list[Point] = []
    for one in sorted(points, key=lambda point: (sum(point.place), point.tool, point.recipe)):
        if not any(all(a <= b for a, b in zip(other.place, one.place, strict=True)) for other in kept):
            kept.append(one)
    return kept


def hypervolume(points: list[Point], draws: int = DRAWS, seed: int = SEED) -> float:
    """The share of the unit box which some point dominates, by Monte Carlo with a fixed seed.

    Points with any coordinate of 1 or more do not count.
    """
    counted = front([point for point in points if point.counts])
    if not counted:
        return 0.0
    drawn = np.random.default_rng(seed).random((draws, len(AXES)))
    dominated = np.zeros(draws, bool)
    for point in counted:
        dominated |= (drawn >= np.asarray(point.place)).all(axis=1)
    return float(dominated.mean())


def geometric_mean(ratios: list[float]) -> float:
    """NaN without ratios, 0 when one of them is."""
    if not ratios:
        return float("nan")
    return float(np.exp(np.mean(np.log(ratios)))) if min(ratios) > 0 else 0.0
