"""From dataset rows to model inputs: which columns feed which input, and which one is the label.

The card's block may say it: {"inputs": {"x": ["c0", "c1", …] or "column"}, "label": "column", "scale": 0.0625}
(`scale` multiplies the numbers). Otherwise the columns are matched by their number or length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine.calibration.rows import Table

LABEL_NAMES = ("label", "labels", "target", "class", "y")
TEXT_NAMES = ("text", "sentence", "sentence1", "content", "question", "query", "document", "review")
LONGEST_TEXT_TOKENS = 128

Feed = dict[str, np.ndarray]
Spec = dict[str, Any]


class MappingError(ValueError):
    """The dataset's columns do not fit the model's inputs; the message is the rest of a sentence."""


@dataclass
class Mapping:
    """How rows become feeds: numeric columns per input, or one text column through a tokenizer."""

    numeric: dict[str, list[str]]
    text: str | None
    label: str | None
    scale: float
    words: str


def find(table: Table, specs: list[Spec], config: dict[str, Any], tokenizer: Path | None) -> Mapping:
    """The mapping for a component's inputs (graph.value_spec dicts). Raises MappingError with the reason."""
    label = _label_column(table, config)
    scale = _scale(config)
    stated = config.get("inputs")
    names = {spec["name"] for spec in specs}
    if "input_ids" in names:
        if tokenizer is None:
            raise MappingError("the model takes token ids and has no tokenizer.json")
        wanted = stated.get("input_ids") if isinstance(stated, dict) else None
        column = wanted if isinstance(wanted, str) else _text_column(table, label)
        if column not in table.columns:
            raise MappingError(f"the dataset has no text column {column!r}")
        return Mapping({}, column, label, 1.0, f"text of column {column}")
    if isinstance(stated, dict) and stated:
        numeric = {str(k): [str(c) for c in v] if isinstance(v, list) else [str(v)] for k, v in stated.items()}
        missing = [c for columns in numeric.values() for c in columns if c not in table.columns]
        unknown = sorted(set(numeric) - names)
        if missing or unknown:
            raise MappingError(f"the card names {', '.join([*missing, *unknown])}, which is not there")
        return Mapping(numeric, None, label, scale, "columns as the card says")
    if len(specs) != 1:
        raise MappingError("the model has several inputs and the card does not say which columns feed them")
    columns = _numeric_columns(table, specs[0], label)
    return Mapping({specs[0]["name"]: columns}, None, label, scale, _in_words(columns))


def feeds(table: Table, mapping: Mapping, specs: list[Spec], rows: list[int], tokenizer: Path | None) -> list[Feed]:
    """One feed of batch 1 for each row number."""
    if mapping.text is not None:
        assert tokenizer is not None
        return _text_feeds([str(table.columns[mapping.text][row] or "") for row in rows], specs, tokenizer)
    made: list[Feed] = [{} for _ in rows]
    for spec in specs:
        if spec["name"] not in mapping.numeric:
            raise MappingError(f"no column feeds the input {spec['name']}")
        columns = mapping.numeric[spec["name"]]
        shape = [1 if not isinstance(dim, int) and i == 0 else dim for i, dim in enumerate(spec["shape"] or [None])]
        for feed, row in zip(made, rows, strict=True):
            feed[spec["name"]] = _array(table, columns, row, shape, spec, mapping.scale)
    return made


def labels(table: Table, mapping: Mapping, rows: list[int], label_ids: dict[str, int]) -> np.ndarray | None:
    """Integer labels of the rows, None when there are none that can be read as class numbers."""
    if mapping.label is None:
        return None
    found = [table.columns[mapping.label][row] for row in rows]
    try:
        numbers = [label_ids[v] if isinstance(v, str) and v in label_ids else float(v) for v in found]
    except (TypeError, ValueError):
        return None
    # A target of a regression is no class, and neither is -1, which stands for "not known".
    return np.asarray(numbers, np.int64) if all(0 <= n < 2**31 and n == int(n) for n in numbers) else None


def _scale(config: dict[str, Any]) -> float:
    wanted = config.get("scale", 1.0)
    if isinstance(wanted, bool) or not isinstance(wanted, (int, float)) or not 1e-9 <= abs(wanted) <= 1e9:
        raise MappingError(f"the card's scale {str(wanted)[:40]!r} is no number which inputs could be multiplied by")
    return float(wanted)


def _array(table: Table, columns: list[str], row: int, shape: list[Any], spec: Spec, scale: float) -> np.ndarray:
    values: Any = [table.columns[column][row] for column in columns]
    if len(columns) == 1 and isinstance(values[0], (list, tuple)):
        values = values[0]
    try:
        numbers = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise MappingError(f"column {columns[0]} holds values that are not numbers") from error
    if not np.isfinite(numbers).all():
        raise MappingError(f"row {row} has missing values")
    if scale != 1.0:
        numbers = numbers * scale
    wanted = [dim if isinstance(dim, int) else -1 for dim in shape]
    if wanted.count(-1) > 1:
        raise MappingError("the input has several free dimensions")
    try:
        return numbers.reshape(wanted).astype(spec["dtype"])
    except (TypeError, ValueError) as error:
        raise MappingError(f"{numbers.size} numbers of a row do not fill the input {spec['name']} {wanted}") from error


def _label_column(table: Table, config: dict[str, Any]) -> str | None:
    wanted = config.get("label")
    if isinstance(wanted, str) and wanted in table.columns:
        return wanted
    return next((name for name in table.columns if name.lower() in LABEL_NAMES), None)


def _text_column(table: Table, label: str | None) -> str:
    texts = [
        name
        for name, values in table.columns.items()
        if name != label and values and all(isinstance(value, str) for value in values[:50])
    ]
    if not texts:
        raise MappingError("the dataset has no text column")
    named = [name for wanted in TEXT_NAMES for name in texts if name.lower() == wanted]
    return (named or sorted(texts, key=lambda n: -sum(map(len, table.columns[n][:50]))))[0]


def _numeric_columns(table: Table, spec: Spec, label: str | None) -> list[str]:
    dims = (spec["shape"] or [])[1:]
    fixed = int(np.prod([dim for dim in dims if isinstance(dim, int)], dtype=np.int64)) if dims else 1
    free = any(not isinstance(dim, int) for dim in dims)

    def fits(count: int) -> bool:
        return count % fixed == 0 if free else count == fixed

    lists = [
        name
        for name, values in table.columns.items()
        if name != label and values and isinstance(values[0], (list, tuple)) and fits(_flat_length(values[0]))
    ]
    if lists:
        return lists[:1]
    numeric = [
        name
        for name, values in table.columns.items()
        if name != label
        and name.lower() not in ("id", "index", "row")
        and values
        and any(v is not None for v in values[:50])
        and all(v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in values[:50])
    ]
    if fits(len(numeric)) and numeric:
        return numeric
    if any(isinstance(values[0], (dict, bytes)) for values in table.columns.values() if values):
        raise MappingError("its rows are images or other files, which are not decoded yet")
    raise MappingError(
        f"the input {spec['name']} takes {fixed} numbers and the rows have {len(numeric)} numeric columns"
    )


def _flat_length(value: Any) -> int:
    return sum(_flat_length(item) for item in value) if isinstance(value, (list, tuple)) else 1


def _in_words(columns: list[str]) -> str:
    return f"column {columns[0]}" if len(columns) == 1 else f"{len(columns)} numeric columns"


def _text_feeds(texts: list[str], specs: list[Spec], tokenizer: Path) -> list[Feed]:
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_file(str(tokenizer))
    except Exception as error:  # the library has no kind of its own
        raise MappingError("the model's tokenizer.json cannot be read") from error
    loaded.no_padding()
    loaded.enable_truncation(LONGEST_TEXT_TOKENS)
    made = []
    for encoded in loaded.encode_batch(texts):
        known = {
            "input_ids": encoded.ids,
            "attention_mask": encoded.attention_mask,
            "token_type_ids": encoded.type_ids,
            "position_ids": list(range(len(encoded.ids))),
        }
        feed = {}
        for spec in specs:
            if spec["name"] not in known:
                raise MappingError(f"no column feeds the input {spec['name']}")
            feed[spec["name"]] = np.asarray([known[spec["name"]]], np.dtype(spec["dtype"]))
        made.append(feed)
    return made
