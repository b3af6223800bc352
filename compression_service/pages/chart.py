"""The Pareto chart: geometry only, drawn by templates/fit_pages/chart.svg. Pure: no Django here.

Across: p90 latency, memory or size. Up: fidelity on a scale of nines (0.9, 0.99, 0.999 …), each line a tenth of the
loss below it, because the variants worth a choice differ in their second nine.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

NINES = 5  # a loss under 10⁻⁵ is drawn as none
_LABEL_HEIGHT = 15.0
_CHARACTER = 6.7
_RADIUS = 6.0
_LOG_FROM = 3.0  # a wider range than this factor gets a logarithmic scale


@dataclass(frozen=True)
class Mark:
    """A variant to draw. `x` is above 0, `fidelity` from 0 to 1; `words` are its figures for the tooltip."""

    name: str
    x: float
    fidelity: float
    words: str = ""
    beaten: bool = False
    noisy: bool = False


@dataclass
class Dot:
    """A mark in its place; the label is anchored at (label_x, label_y), a leader leads to it when it stands apart."""

    mark: Mark
    x: float
    y: float
    label_x: float = 0.0
    label_y: float = 0.0
    anchor: str = "start"
    leader: tuple[float, float] | None = None


@dataclass
class Chart:
    """Everything that the drawing needs, in the units of its view box."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_title: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    dots: list[Dot]
    front: str  # the points of a polyline; empty when there is nothing to connect
    front_names: list[str] = field(default_factory=list)

    @property
    def tick_x(self) -> float:
        """Where the words of the y axis end."""
        return self.left - 8


def draw(
    marks: Sequence[Mark], x_title: str, text: Callable[[float], str], width: float, height: float
) -> Chart | None:
    """The chart of these marks, or None when there are fewer than two. `text` writes a value of the x axis."""
    marks = [mark for mark in marks if mark.x > 0 and math.isfinite(mark.x) and math.isfinite(mark.fidelity)]
    if len(marks) < 2:
        return None
    left, right, top, bottom = 52.0, width - 18.0, 22.0, height - 46.0
    across, x_ticks = _x_scale([mark.x for mark in marks], left + 14, right - 14, max(2, int((right - left) // 95)))
    lowest = max(2.0, math.ceil(max(_depth(mark.fidelity) for mark in marks) - 0.15))

    def down(fidelity: float) -> float:
        return top + 12 + (bottom - top - 24) * min(_depth(fidelity), lowest) / lowest

    y_ticks = [(down(value), label) for depth, value, label in _nines() if depth <= lowest]
    dots = [Dot(mark, across(mark.x), down(mark.fidelity)) for mark in marks]
    front = front_of(marks)
    chart = Chart(
        width, height, left, right, top, bottom, x_title,
        [(across(value), text(value)) for value in x_ticks], y_ticks, dots,
        _steps([dot for name in front for dot in dots if dot.mark.name == name], right),
        front,
    )  # fmt: skip
    _place_labels(chart)
    return chart


def front_of(marks: Sequence[Mark]) -> list[str]:
    """Names of the marks which no other one beats in both directions of the chart, from left to right."""
    best, names = -1.0, []
    for mark in sorted(marks, key=lambda mark: (mark.x, -mark.fidelity, mark.name)):
        if mark.fidelity > best:
            best = mark.fidelity
            names.append(mark.name)
    return names


def _depth(fidelity: float) -> float:
    """How many lines below the top: 0 for no loss, 1 at 0.9999, 4 at 0.9."""
    loss = max(1 - fidelity, 10.0**-NINES)
    return math.log10(loss) + NINES


def _nines() -> list[tuple[float, float, str]]:
    rows: list[tuple[float, float, str]] = [(0.0, 1.0, "1")]
    for depth in range(1, NINES + 1):
        value = 1 - 10.0 ** (depth - NINES)
        rows.append((float(depth), value, f"{value:.{max(1, NINES - depth)}f}" if value else "0"))
    return rows


def _x_scale(
    values: Sequence[float], start: float, end: float, most_ticks: int
) -> tuple[Callable[[float], float], list[float]]:
    """A function from a value to its place, and the values which get a tick."""
    low, high = min(values), max(values)
    if high / low >= _LOG_FROM:
        a, b = math.log10(low), math.log10(high)
        candidates = [m * 10.0**k for k in range(math.floor(a), math.ceil(b) + 1) for m in (1, 2, 5)]
        ticks = [value for value in candidates if low * 0.999 <= value <= high * 1.001]
        if len(ticks) > most_ticks:
            ticks = ticks[:: math.ceil(len(ticks) / most_ticks)]
        return (lambda value: start + (end - start) * (math.log10(value) - a) / (b - a)), ticks or [low, high]
    span = (high - low) or low * 0.2
    low, high = max(0.0, low - span * 0.06), high + span * 0.06
    raw = (high - low) / most_ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
    first = math.ceil(low / step)
    ticks = [step * n for n in range(first, math.floor(high / step) + 1)]
    return (lambda value: start + (end - start) * (value - low) / (high - low)), ticks


def _steps(dots: Sequence[Dot], right: float) -> str:
    """The front as stairs: up to its x, the best fidelity is that of the dot to the left."""
    if not dots:
        return ""
    points = [(dots[0].x, dots[0].y)]
    for dot in dots[1:]:
        points += [(dot.x, points[-1][1]), (dot.x, dot.y)]
    points.append((right, points[-1][1]))
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _place_labels(chart: Chart) -> None:
    """Each label where it covers no dot and no other label; the front's labels choose first."""
    boxes = [(dot.x - _RADIUS, dot.y - _RADIUS, dot.x + _RADIUS, dot.y + _RADIUS) for dot in chart.dots]
    corners = [tuple(map(float, corner.split(","))) for corner in chart.front.split()]
    for (x1, y1), (x2, y2) in pairwise(corners):
        boxes.append((min(x1, x2) - 1.5, min(y1, y2) - 1.5, max(x1, x2) + 1.5, max(y1, y2) + 1.5))
    for dot in sorted(chart.dots, key=lambda dot: (dot.mark.name not in chart.front_names, dot.y, dot.x)):
        width = len(dot.mark.name) * _CHARACTER
        best: tuple[float, tuple[float, float, float, float]] | None = None
        for away, box in _places(dot, width):
            outside = max(0.0, chart.left + 2 - box[0]) + max(0.0, box[2] - chart.width + 2)
            outside += max(0.0, 4 - box[1]) + max(0.0, box[3] - chart.bottom + 2)
            cost = away + outside * 50 + sum(_overlap(box, other) for other in boxes) * 2
            if best is None or cost < best[0]:
                best = (cost, box)
        assert best is not None
        box = best[1]
        boxes.append(box)
        _set_label(dot, box)


def _places(dot: Dot, width: float) -> list[tuple[float, tuple[float, float, float, float]]]:
    """(how unwelcome, box) of every place around a dot where its label may stand."""
    half = _LABEL_HEIGHT / 2
    found = []
    for ring in range(5):
        gap, lift = _RADIUS + 4, ring * (_LABEL_HEIGHT - 1)
        for sign in (1, -1) if ring else (1,):
            y = dot.y + sign * lift
            found.append((ring * 9.0, (dot.x + gap, y - half, dot.x + gap + width, y + half)))
            found.append((ring * 9.0 + 2, (dot.x - gap - width, y - half, dot.x - gap, y + half)))
            if ring:
                found.append((ring * 9.0 - 3, (dot.x - width / 2, y - half, dot.x + width / 2, y + half)))
    return found


def _set_label(dot: Dot, box: tuple[float, float, float, float]) -> None:
    middle = (box[1] + box[3]) / 2
    dot.label_y = middle + 4
    if box[0] > dot.x:
        dot.label_x, dot.anchor = box[0], "start"
    elif box[2] < dot.x:
        dot.label_x, dot.anchor = box[2], "end"
    else:
        dot.label_x, dot.anchor = (box[0] + box[2]) / 2, "middle"
    if abs(middle - dot.y) > _LABEL_HEIGHT * 1.5:
        dot.leader = (dot.label_x, middle + (6 if middle < dot.y else -6) * (dot.anchor == "middle"))


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """How much two boxes cover each other, in square units."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across * down if across > 0 and down > 0 else 0.0
