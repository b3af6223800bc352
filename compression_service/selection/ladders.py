"""What reference networks of rising size take on a device: a profile's "ladder". Pure.

A ratio of peak speeds says what happens to large layers. Small ones are calls and waiting for other threads, and those
do not become faster with the cores; and a processor which is mostly idle, or pushed aside, does its work more slowly
than at its best. Networks which really ran show all of that: a model is taken for the network which needs as long as it
does, and needs here what that network needs here.
"""

from bisect import bisect_left
from math import exp, isfinite, log
from typing import Any, NamedTuple

MOST_RUNGS = 30
LONGEST_MS = 1e7


class Rung(NamedTuple):
    """A network's time of the processor while it runs, in ms; `slow` is the p90."""

    side: float
    typical_ms: float
    mean_ms: float
    slow_ms: float


Ladder = tuple[Rung, ...]


def known(found: Any) -> Ladder:
    """A profile's "ladder" by rising sides; () where there is none, or where it can not be true."""
    try:
        rungs = [Rung(*map(float, one)) for one in found]
    except (TypeError, ValueError):
        return ()
    if not 2 <= len(rungs) <= MOST_RUNGS:
        return ()
    if not all(isfinite(value) and 0 < value < LONGEST_MS for rung in rungs for value in rung):
        return ()
    kept = [rungs[0]]
    for rung in rungs[1:]:
        if rung.side <= kept[-1].side:
            return ()
        # A larger network which was quicker was measured in a better moment.
        kept.append(Rung(rung.side, *(max(pair) for pair in zip(rung[1:], kept[-1][1:], strict=True))))
    return tuple(kept) if kept[0].typical_ms < kept[-1].typical_ms else ()


def side_of(ladder: Ladder, typical_ms: float) -> float:
    """The side of the network which takes as long."""
    return _along([(rung.typical_ms, rung.side) for rung in ladder], typical_ms, 1 / 3)


def typical_ms(ladder: Ladder, mean_ms: float) -> float:
    """Of the network which takes that long on the average."""
    return at(ladder, _along([(rung.mean_ms, rung.side) for rung in ladder], mean_ms, 1 / 3)).typical_ms


def at(ladder: Ladder, side: float) -> Rung:
    """What a network of any side takes; beyond the ends its time grows with the cube of the side."""
    return Rung(side, *(_along([(rung.side, rung[column]) for rung in ladder], side, 3) for column in (1, 2, 3)))


def _along(points: list[tuple[float, float]], value: float, power: float) -> float:
    """Between two points by a power law, beyond the ends by the given power."""
    place = bisect_left(points, value, key=lambda point: point[0])
    if place in (0, len(points)):
        end = points[0 if place == 0 else -1]
        return end[1] * (value / end[0]) ** power
    low, high = points[place - 1], points[place]
    if high[0] == low[0]:
        return high[1]
    share = log(value / low[0]) / log(high[0] / low[0])
    return exp(log(low[1]) + share * log(high[1] / low[1]))
