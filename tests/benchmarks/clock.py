"""Timing side by side: medians of interleaved rounds, one line a figure, the yardstick in the same run."""

import statistics
import time
from collections.abc import Callable


def seconds_of(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def compare(rounds: int, ours: Callable[[], object], yardstick: Callable[[], object]) -> tuple[float, float]:
    """Medians in seconds of both, taken in turns; the yardstick runs first and last."""
    mine, theirs = [], [seconds_of(yardstick)]
    for _ in range(rounds):
        mine.append(seconds_of(ours))
        theirs.append(seconds_of(yardstick))
    return statistics.median(mine), statistics.median(theirs)


def line(database: str, what: str, ours_s: float, yardstick: str, theirs_s: float, per_s: float = 1) -> None:
    """`per_s`: how many of the thing one round does."""
    each_ms = ours_s / per_s * 1e3
    print(
        f"{database:<10} {what:<44} {each_ms:>10.2f} ms {per_s / ours_s:>12,.1f}/s   "
        f"{ours_s / theirs_s:>7.2f} x {yardstick}",
        flush=True,
    )
