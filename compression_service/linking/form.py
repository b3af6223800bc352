"""The fields of the page on which data is chosen, and the card's `fithub:` block: from one to the other. Pure.

A field's text is what the card would hold: `224`, `[0.5, 0.5, 0.5]`, `{threshold: 0.6}`; names are taken as they are.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from compression_service.engine.calibration.settings import (
    CHANNELS,
    CHECKS,
    FEATURES,
    LAYOUTS,
    RESAMPLING,
)
from models_registry.cards.metadata import CardError, load_yaml

INPUT = "input:"
LONGEST = 20_000  # characters of a field


@dataclass(frozen=True)
class Field:
    """One word of the block: `key` leads to it (`preprocessing.size`)."""

    key: str
    title: str
    hint: str = ""
    choices: tuple[str, ...] = ()


GROUPS: tuple[tuple[str, tuple[Field, ...]], ...] = (
    ("Images", (
        Field("preprocessing.size", "Size", "224, or [height, width]; one number is the shorter edge"),
        Field("preprocessing.crop", "Crop", "224, or [height, width]"),
        Field("preprocessing.resample", "Resampling", "", RESAMPLING),
        Field("preprocessing.channels", "Channels", "", CHANNELS),
        Field("preprocessing.layout", "Layout", "", LAYOUTS),
        Field("preprocessing.scale", "Pixels times", "0.00392 brings 0…255 to 0…1"),
        Field("preprocessing.mean", "Mean", "[0.485, 0.456, 0.406]"),
        Field("preprocessing.std", "Deviation", "[0.229, 0.224, 0.225]"),
    )),
    ("Sounds", (
        Field("preprocessing.rate", "Rate in Hz", "16000"),
        Field("preprocessing.frame", "Samples of a step", "512"),
        Field("preprocessing.context", "Samples before a step", "64"),
        Field("preprocessing.hop", "A step every", "128 samples"),
        Field("preprocessing.features", "Features", "one of " + ", ".join(FEATURES) + "; or {input: magnitude}"),
        Field("preprocessing.normalize", "Normalized", "", ("true", "false")),
    )),
    ("Texts", (Field("preprocessing.tokens", "Tokens at most", "128"),)),
    ("Numbers", (Field("scale", "Numbers times", "0.0625"),)),
)  # fmt: skip
PARTS = ("calibration", "evaluation")
_KEYS = (
    "dataset",
    "dataset_revision",
    "dataset_config",
    "inputs",
    "columns",
    "label",
    "labels",
    "scale",
    "metric",
    "preprocessing",
    *PARTS,
)
_OWN = {field.key for _, fields in GROUPS for field in fields}


class FormError(ValueError):
    """A field which the card could not hold; the message is a sentence."""


def block_of(fields: Mapping[str, str], kept: dict[str, Any], dataset: str, commit: str) -> dict[str, Any]:
    """The block which the fields say, with what `kept` (the card's) says of other things. Raises FormError."""
    given = {key: text.strip() for key, text in fields.items() if text.strip()}
    long = next((key for key, text in given.items() if len(text) > LONGEST or "\0" in text), None)
    if long is not None:
        raise FormError(f"The field {long[:80]} is longer than {LONGEST:,} characters, or holds a NUL character.")
    block: dict[str, Any] = {"dataset": dataset, "dataset_revision": commit}
    if "dataset_config" in given:
        block["dataset_config"] = given["dataset_config"]
    inputs = {key.removeprefix(INPUT): _columns(text) for key, text in given.items() if key.startswith(INPUT)}
    if inputs:
        block["inputs"] = inputs
    if "label" in given:
        block["label"] = given["label"]
    if "labels" in given:
        block["labels"] = _names(given["labels"])
    if "metric" in given:
        options = _value(given["options"], "metric") if "options" in given else {}
        if not isinstance(options, dict):
            raise FormError("The metric's options are written {name: value}, e.g. {threshold: 0.6}.")
        block["metric"] = {"name": given["metric"], **options} if options else given["metric"]
    for key in sorted(_OWN & set(given)):
        _put(block, key, _value(given[key], key))
    for part in PARTS:
        for key in ("split", "rows"):
            if f"{part}.{key}" in given:
                text = given[f"{part}.{key}"]
                _put(block, f"{part}.{key}", text if key == "split" else _value(text, f"{part}.{key}"))
    problem = next(_problems(block), None)
    if problem is not None:
        raise FormError(problem)
    return {**block, **{key: value for key, value in kept.items() if key not in _KEYS}}


def without_choice(kept: dict[str, Any]) -> dict[str, Any] | None:
    """The block without a word of data; None where nothing is left of it."""
    return {key: value for key, value in kept.items() if key not in _KEYS} or None


def fields_of(block: dict[str, Any]) -> dict[str, str]:
    """The fields which say what a block says."""
    found: dict[str, str] = {}
    for key in ("dataset", "dataset_revision", "dataset_config", "label"):
        if isinstance(block.get(key), str):
            found[key] = block[key]
    if isinstance(block.get("labels"), list):
        found["labels"] = "\n".join(map(str, block["labels"]))
    inputs = block.get("inputs") or block.get("columns")
    for name, columns in inputs.items() if isinstance(inputs, dict) else ():
        found[INPUT + name] = columns if isinstance(columns, str) else _written(columns)
    metric = block.get("metric")
    if isinstance(metric, dict):
        options = {key: value for key, value in metric.items() if key != "name"}
        found |= {"metric": str(metric.get("name", ""))} | ({"options": _written(options)} if options else {})
    elif isinstance(metric, str):
        found["metric"] = metric
    for key in (*_OWN, *(f"{part}.{word}" for part in PARTS for word in ("split", "rows"))):
        value: Any = block
        for step in key.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            found[key] = value if isinstance(value, str) else _written(value)
    return found


def _problems(block: dict[str, Any]) -> Iterator[str]:
    for key, value in block.items():
        for path, rule in CHECKS[key](value):
            yield f"{'.'.join(map(str, (key, *path)))} {rule}."


def _put(block: dict[str, Any], key: str, value: Any) -> None:
    first, _, last = key.partition(".")
    if last:
        block.setdefault(first, {})[last] = value
    else:
        block[first] = value


def _columns(text: str) -> Any:
    """The name of a column, or several: [a, b]."""
    return _value(text, "columns") if text.startswith("[") else text


def _names(text: str) -> list[Any]:
    """A name a line, or all with commas between."""
    lines = text.splitlines() if "\n" in text else text.split(",")
    return [line.strip() for line in lines if line.strip()]


def _value(text: str, key: str) -> Any:
    try:
        return load_yaml(text, what=f"The field {key}")
    except CardError as error:
        raise FormError(str(error)) from error


def _written(value: Any) -> str:
    """JSON is YAML on one line."""
    return json.dumps(value, ensure_ascii=False)
