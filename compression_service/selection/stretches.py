"""What a limit on processor time makes of a latency: a device's stretch, as its profile measured it. Pure.

A quota or a neighbour on the core makes nothing slower by a factor: an inference which is shorter than what is granted
at once runs at full speed, and a longer one waits for the rest of the period. So a latency is turned into processor
time on the device where it was taken, and back into a latency where it is wanted, by each one's own curve.
"""

from bisect import bisect_left
from math import exp, isfinite, log
from typing import Any

Stretch = tuple[tuple[float, float], ...]  # (ms of processor time, p90 of the ms which it takes), both rising
MOST_POINTS = 100
LONGEST_MS = 1e7


def known(found: Any) -> Stretch:
    """A profile's "stretch"; () where there is none, or where it can not be true: as on a device without limits."""
    try:
        points = [(float(own), float(wall)) for own, wall in found]
    except (TypeError, ValueError):
        return ()
    are_times = all(isfinite(one) and 0 < one < LONGEST_MS for pair in points for one in pair)
    if not 2 <= len(points) <= MOST_POINTS or not are_times:
        return ()
    kept = [points[0]]
    for own, wall in points[1:]:
        if own <= kept[-1][0]:
            return ()
        kept.append((own, max(wall, kept[-1][1])))
    return tuple(kept) if all(wall >= 0.99 * own for own, wall in kept) else ()


def wall_ms(stretch: Stretch, own_ms: float) -> float:
    """The p90 of inferences which need this much processor time."""
    return _along(stretch, own_ms, 0, 1)


def own_ms(stretch: Stretch, wall_ms: float) -> float:
    """The processor time of inferences with this p90."""
    return _along(stretch, wall_ms, 1, 0)


def share(stretch: Stretch) -> float:
    """Of the time in which endless work runs; 1 without a limit."""
    return min(1.0, stretch[-1][0] / stretch[-1][1]) if stretch else 1.0


def _along(stretch: Stretch, value: float, given: int, wanted: int) -> float:
    """Between two points by a power law; beyond the ends by the ratio which the end has."""
    if not stretch or value <= 0:
        return value
    at = bisect_left(stretch, value, key=lambda point: point[given])
    if at in (0, len(stretch)):
        end = stretch[0 if at == 0 else -1]
        return value * end[wanted] / end[given]
    low, high = stretch[at - 1], stretch[at]
    if high[given] == low[given]:
        return high[wanted]
    share = log(value / low[given]) / log(high[given] / low[given])
    return exp(log(low[wanted]) + share * log(high[wanted] / low[wanted]))
