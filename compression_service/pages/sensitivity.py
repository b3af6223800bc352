"""The chart of a pass's layers: geometry only, drawn by templates/fit_pages/sensitivity.svg. Pure: no Django here.

A row a layer, in the order of the graph. Across, on a logarithmic scale: the relative squared error of its output.
A full dot is the error as the layer was made, a hollow one what it would be at the strongest setting of the pass (the
lowest bits, the most removed).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MOST_ROWS = 40
_MOST_DECADES = 6  # below the worst layer; what is smaller stands at the left edge
_LEAST = 1e-12
_ROW_HEIGHT = 22.0
_SHARED = 0.7  # of the names: a beginning which so many share tells nothing
_CHARACTER = 5.9
_TICK_APART = 40
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Layer:
    """One layer of a variant: sizes in bytes, errors from 0 on; None is what was not taken."""

    name: str
    operator: str = ""
    shape: tuple[int, ...] = ()
    bits: int | None = None
    bytes_before: int | None = None
    bytes_after: int | None = None
    error: float | None = None
    sensitivity: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A layer in its place; `label` is its name, shortened to the column."""

    layer: Layer
    label: str
    y: float
    error_x: float | None
    sensitivity_x: float | None


@dataclass(frozen=True)
class SensitivityChart:
    """Everything that the drawing needs, in the units of its view box."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    ticks: list[tuple[float, str]]
    rows: list[Row]
    has_errors: bool
    has_sensitivities: bool

    @property
    def label_x(self) -> float:
        return self.left - 10

    @property
    def bits_x(self) -> float:
        return self.width - 2


def shown(layers: Sequence[Layer]) -> list[Layer]:
    """The layers with an error or a sensitivity; of many, the MOST_ROWS most sensitive in the order of the graph."""
    known = [layer for layer in layers if layer.error is not None or layer.sensitivity is not None]
    chosen = {id(layer) for layer in sorted(known, key=_weight, reverse=True)[:MOST_ROWS]}
    return [layer for layer in known if id(layer) in chosen]


def draw(layers: Sequence[Layer], width: float, label_width: float) -> SensitivityChart | None:
    """The chart of these layers, or None when there are fewer than two with a figure."""
    rows = shown(layers)
    if len(rows) < 2:
        return None
    left, right, top = label_width + 12, width - 58, 30.0
    bottom = top + _ROW_HEIGHT * len(rows)
    figures = [figure for row in rows for figure in (row.error, row.sensitivity) if figure and figure > _LEAST] or [1.0]
    low, high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
    low = max(min(low, high - 1), high - _MOST_DECADES)

    def across(value: float | None) -> float | None:
        if value is None:
            return None
        return left + (right - left) * (math.log10(max(10.0**low, value)) - low) / (high - low)

    step = max(1, math.ceil((high - low) / max(2, (right - left) // _TICK_APART)))
    ticks = [(left + (right - left) * (n - low) / (high - low), power_of_ten(n)) for n in range(low, high + 1, step)]
    labels = _labels(rows)
    placed = [
        Row(
            layer,
            shortened(label, int(label_width / _CHARACTER)),
            top + _ROW_HEIGHT * (n + 0.5),
            across(layer.error),
            across(layer.sensitivity),
        )
        for n, (layer, label) in enumerate(zip(rows, labels, strict=True))
    ]
    return SensitivityChart(
        width, bottom + 30, left, right, top, bottom, ticks, placed,
        any(row.error is not None for row in rows), any(row.sensitivity is not None for row in rows),
    )  # fmt: skip


def power_of_ten(exponent: int) -> str:
    """`10⁻⁴`; `1` for 0."""
    return "1" if exponent == 0 else "10" + str(exponent).translate(_SUPERSCRIPTS)


def shortened(name: str, most: int) -> str:
    """A name whose middle gives way: it begins with the block's number and ends with the layer's role."""
    if len(name) <= most:
        return name
    head = most * 2 // 5
    return f"{name[:head]}…{name[len(name) - (most - head - 1) :]}"


def _labels(layers: Sequence[Layer]) -> list[str]:
    """Names without what tells nothing: the operator at the end, and beginnings which most of them share."""
    parts = [[part for part in layer.name.split("/") if part] or [layer.name] for layer in layers]
    for layer, names in zip(layers, parts, strict=True):
        if len(names) > 1 and layer.operator and names[-1].startswith(layer.operator):
            names.pop()
    while True:
        common = Counter(names[0] for names in parts if len(names) > 1).most_common(1)
        first, count = common[0] if common else ("", 0)
        if count < _SHARED * len(parts) or not count:
            return ["/".join(names) for names in parts]
        for names in parts:
            if len(names) > 1 and names[0] == first:
                names.pop(0)


def _weight(layer: Layer) -> float:
    return layer.sensitivity if layer.sensitivity is not None else layer.error or 0.0
