"""A variant's passes as its page shows them. They come out of the sandbox, so that every value is looked at first."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from compression_service.pages import sensitivity
from compression_service.pages.sensitivity import Layer, SensitivityChart
from models_registry.pages.templatetags.figures import digits, ms

_NOTHING = "keep"  # the pass which stands for a step that a recipe can do without
_SIZES = {"wide": (760.0, 250.0), "narrow": (350.0, 122.0)}  # width of the chart, width of its names


@dataclass(frozen=True)
class Pass:
    """One pass on one component. `name` is "" where no pass of the step applied, and `changed` says why."""

    number: int
    name: str
    component: str
    source: str
    changed: str
    params: list[tuple[str, str]]
    seconds: float | None
    layers: list[Layer]
    charts: dict[str, SensitivityChart]

    @property
    def took(self) -> str:
        """`38.3 s`, `1.55 s`, `120 ms`; empty where nothing was timed."""
        if not self.seconds:
            return ""
        return f"{digits(self.seconds)} s" if self.seconds >= 1 else ms(self.seconds * 1000)

    @property
    def charted(self) -> int:
        return len(sensitivity.shown(self.layers))

    @property
    def charted_of(self) -> int:
        return sum(layer.error is not None or layer.sensitivity is not None for layer in self.layers)

    @property
    def bytes_before(self) -> int | None:
        return _sum([layer.bytes_before for layer in self.layers])

    @property
    def bytes_after(self) -> int | None:
        return _sum([layer.bytes_after for layer in self.layers])

    @property
    def widths(self) -> str:
        """`12 in 4 bits, 3 in 8 bits`."""
        counted = Counter(layer.bits for layer in self.layers if layer.bits is not None)
        return ", ".join(f"{count:,} in {bits} bits" for bits, count in sorted(counted.items()))


def passes_of(entries: Any) -> list[Pass]:
    """The passes of a variant's row, in the order in which they ran; what was left as it is by wish is left out."""
    found: list[Pass] = []
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("pass") == _NOTHING:
            continue
        layers = [layer for item in _list(entry.get("layers")) if (layer := _layer(item)) is not None]
        params = entry.get("params")
        found.append(
            Pass(
                number=len(found) + 1,
                name=_text(entry.get("pass")),
                component=_text(entry.get("component")),
                source=_text(entry.get("source")),
                changed=_text(entry.get("changed")),
                params=[(str(key).replace("_", " "), _value(value)) for key, value in params.items()]
                if isinstance(params, dict)
                else [],
                seconds=_figure(entry.get("seconds")),
                layers=layers,
                charts=_charts(layers),
            )
        )
    return found


def _charts(layers: Sequence[Layer]) -> dict[str, SensitivityChart]:
    drawn = {size: sensitivity.draw(layers, *measures) for size, measures in _SIZES.items()}
    return {size: chart for size, chart in drawn.items() if chart is not None}


def _layer(item: Any) -> Layer | None:
    if not isinstance(item, dict) or not _text(item.get("layer")):
        return None
    return Layer(
        name=_text(item["layer"]),
        operator=_text(item.get("operator")),
        shape=tuple(size for size in (_whole(n) for n in _list(item.get("shape"))) if size is not None),
        bits=_whole(item.get("bits")),
        bytes_before=_whole(item.get("bytes_before")),
        bytes_after=_whole(item.get("bytes_after")),
        error=_figure(item.get("error")),
        sensitivity=_figure(item.get("sensitivity")),
        note=_text(item.get("note")),
    )


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:299] + "…"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 else None


def _figure(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        return None
    return float(value)


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
