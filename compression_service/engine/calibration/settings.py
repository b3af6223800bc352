"""What a card's `fithub:` block may say of data, and how a wrong word of it is told.

`CHECKS` holds one check a key; the site asks them when a card is pushed, the engine again, for cards may be older than
a rule. A finding is (path below the key, rule), e.g. (("size",), "must be …").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from compression_service.engine.fidelity.metrics import METRICS

Finding = tuple[tuple[str | int, ...], str]
Check = Callable[[Any], Iterator[Finding]]

SPLITS = ("train", "validation", "test", "all")
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
CHANNELS = ("RGB", "BGR", "L")
LAYOUTS = ("NCHW", "NHWC")
FEATURES = ("waveform", "magnitude", "log_mel")
MOST_CLASSES = 100_000
LARGEST_SIDE = 8192
HIGHEST_RATE_HZ = 192_000
LONGEST_FRAME = 1 << 20
LONGEST_TOKENS = 8192
MOST_ROWS = 10_000


@dataclass
class Settings:
    """The block, checked: what is wrong is left out and named in `problems`."""

    inputs: dict[str, list[str]] = field(default_factory=dict)
    label: str | None = None
    labels: list[str] = field(default_factory=list)
    scale: float | None = None
    preprocessing: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(block: dict[str, Any]) -> Settings:
    """Never raises: a note for each word that could not be taken."""
    found = Settings()
    kept: dict[str, Any] = {}
    for key, check in CHECKS.items():
        if block.get(key) is None:
            continue
        wrong = next(check(block[key]), None)
        if wrong is None:
            kept[key] = block[key]
        else:
            name = ".".join(str(part) for part in ("fithub", key, *wrong[0]))
            found.problems.append(f"{name} in the card {wrong[1]}; {key} was left out")
    columns = kept.get("inputs") or kept.get("columns") or {}
    found.inputs = {name: [value] if isinstance(value, str) else list(value) for name, value in columns.items()}
    found.label, found.labels = kept.get("label"), list(kept.get("labels") or [])
    found.scale = float(kept["scale"]) if "scale" in kept else None
    found.preprocessing = kept.get("preprocessing") or {}
    found.calibration, found.evaluation = kept.get("calibration") or {}, kept.get("evaluation") or {}
    metric = kept.get("metric")
    if isinstance(metric, dict):
        found.metric = metric["name"]
        found.options = {key: value for key, value in metric.items() if key != "name"}
    else:
        found.metric = metric
    return found


def _text(value: Any) -> Iterator[Finding]:
    if not isinstance(value, str) or not value.strip():
        yield (), "must be a string"


def _columns(value: Any) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield (), "must be an object: input of the graph → column, or list of columns"
        return
    for name, columns in value.items():
        texts = columns if isinstance(columns, list) else [columns]
        if not texts or not all(isinstance(text, str) and text for text in texts):
            yield (name,), "must be the name of a column, or a list of names"


def _names(value: Any) -> Iterator[Finding]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CLASSES or not all(_is_name(one) for one in value):
        yield (), "must be an array with the name of each class, in the order of the model's outputs"


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e9


def _scale(value: Any) -> Iterator[Finding]:
    if not is_number(value) or abs(value) < 1e-9:
        yield (), "must be a number by which inputs can be multiplied"


def _one_of(allowed: tuple[str, ...]) -> Check:
    def check(value: Any) -> Iterator[Finding]:
        if value not in allowed:
            yield (), f"must be one of [{', '.join(allowed)}]"

    return check


def _whole(least: int, most: int) -> Check:
    def check(value: Any) -> Iterator[Finding]:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield (), f"must be a whole number from {least} to {most}"

    return check


def _side(value: Any) -> Iterator[Finding]:
    sides = value if isinstance(value, list) else [value]
    good = all(isinstance(s, int) and not isinstance(s, bool) and 1 <= s <= LARGEST_SIDE for s in sides)
    if not good or len(sides) not in (1, 2) or (isinstance(value, list) and len(sides) != 2):
        yield (), f"must be a number of pixels, or [height, width], each from 1 to {LARGEST_SIDE}"


def _per_channel(divides: bool) -> Check:
    def check(value: Any) -> Iterator[Finding]:
        numbers = value if isinstance(value, list) else [value]
        if len(numbers) not in (1, 3) or not all(is_number(n) and (n > 0 or not divides) for n in numbers):
            yield (), f"must be a number{' above 0' if divides else ''}, or one for each channel"

    return check


def _features(value: Any) -> Iterator[Finding]:
    for name, kind in value.items() if isinstance(value, dict) else [("", value)]:
        if kind not in FEATURES:
            yield (
                ((name,) if name else ()),
                f"must be one of [{', '.join(FEATURES)}], or an object of one for each input",
            )


def _flag(value: Any) -> Iterator[Finding]:
    if not isinstance(value, bool):
        yield (), "must be true or false"


PREPROCESSING: dict[str, Check] = {
    "size": _side,
    "crop": _side,
    "resample": _one_of(RESAMPLING),
    "scale": _scale,
    "mean": _per_channel(divides=False),
    "std": _per_channel(divides=True),
    "channels": _one_of(CHANNELS),
    "layout": _one_of(LAYOUTS),
    "rate": _whole(100, HIGHEST_RATE_HZ),
    "frame": _whole(1, LONGEST_FRAME),
    "context": _whole(0, LONGEST_FRAME),
    "hop": _whole(1, LONGEST_FRAME),
    "features": _features,
    "normalize": _flag,
    "tokens": _whole(1, LONGEST_TOKENS),
}
OPTIONS: dict[str, Check] = {
    "output": _text,
    "pooling": _one_of(("mean", "cls")),
    "blank": _whole(-1, MOST_CLASSES),
    "collapse": _flag,
    "threshold": lambda value: iter(() if is_number(value) else (((), "must be a number"),)),
    "boxes": _one_of(("xyxy", "cxcywh")),
}


def _object(known: dict[str, Check], needed: tuple[str, ...] = ()) -> Check:
    def check(value: Any) -> Iterator[Finding]:
        if not isinstance(value, dict):
            yield (), f"must be an object of [{', '.join(known)}]"
            return
        for key in needed:
            if key not in value:
                yield (key,), "is required"
        for key, item in value.items():
            if key not in known:
                yield (key,), f"is not known here; there are [{', '.join(known)}]"
            else:
                for path, rule in known[key](item):
                    yield (key, *path), rule

    return check


def _metric(value: Any) -> Iterator[Finding]:
    names = _one_of(tuple(METRICS))
    yield from _object({"name": names, **OPTIONS}, ("name",))(value) if isinstance(value, dict) else names(value)


_PART = _object({"split": _one_of(SPLITS), "rows": _whole(1, MOST_ROWS)})
CHECKS: dict[str, Check] = {
    "dataset": _text,
    "dataset_revision": _text,
    "dataset_config": _text,
    "inputs": _columns,
    "columns": _columns,
    "label": _text,
    "labels": _names,
    "scale": _scale,
    "preprocessing": _object(PREPROCESSING),
    "metric": _metric,
    "calibration": _PART,
    "evaluation": _PART,
}
