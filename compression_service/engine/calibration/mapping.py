"""From dataset rows to model inputs: which columns feed which input, and which one is the label.

The card's block may say it: {"inputs": {"x": ["c0", "c1", …] or "column"}, "label": "column", "scale": 0.0625}
(`scale` multiplies the numbers). Otherwise the columns are matched by their kind, number or length.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine.calibration import images, media, texts
from compression_service.engine.calibration.rows import LISTS, Table
from compression_service.engine.calibration.settings import is_number

LABEL_NAMES = ("label", "labels", "target", "class", "y")
TEXT_NAMES = ("text", "sentence", "sentence1", "content", "question", "query", "document", "review")
PAIRS = (
    ("sentence1", "sentence2"), ("sentence_1", "sentence_2"), ("text1", "text2"), ("text_a", "text_b"),
    ("premise", "hypothesis"), ("question1", "question2"), ("column0", "column1"),
)  # fmt: skip
SCORE_NAMES = ("score", "similarity", "similarity_score", "relatedness_score", "column2")
TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")

Feed = dict[str, np.ndarray]
Spec = dict[str, Any]


class MappingError(ValueError):
    """The dataset's columns do not fit the model's inputs; the message is the rest of a sentence."""


@dataclass
class Mapping:
    """How rows become feeds: numeric columns per input, a text column through a tokenizer, images.

    `pair`: the second column of texts, in feeds of their own after those of the first, or `joint`ly with them.
    """

    numeric: dict[str, list[str]]
    text: str | None
    label: str | None
    scale: float
    words: str
    pair: str | None = None
    joint: bool = False
    pictures: dict[str, tuple[str, images.ImagePlan]] = field(default_factory=dict)
    tokens: int | None = None

    @property
    def group(self) -> int:
        """Feeds that one row becomes."""
        return 2 if self.pair is not None and not self.joint else 1


def find(
    table: Table,
    specs: list[Spec],
    config: dict[str, Any],
    tokenizer: Path | None,
    processor: dict[str, Any] | None = None,
    joint: bool = False,
) -> Mapping:
    """The mapping for a component's inputs (graph.value_spec dicts). Raises MappingError with the reason.

    `processor`: preprocessor_config.json; `joint`: the model takes two texts in one input.
    """
    label = _label_column(table, config)
    scale = _scale(config)
    stated = config.get("inputs") or config.get("columns")
    stated = stated if isinstance(stated, dict) else {}
    preprocessing = config.get("preprocessing")
    preprocessing = preprocessing if isinstance(preprocessing, dict) else {}
    found = Mapping({}, None, label, scale, "", joint=joint, tokens=preprocessing.get("tokens"))
    words: list[str] = []
    if any(spec["name"] == "input_ids" for spec in specs):
        words.append(_texts(found, table, stated.get("input_ids"), config, tokenizer))
    left = [spec for spec in specs if not (found.text and spec["name"] in TOKEN_INPUTS)]
    pictures = _picture_columns(table, label)
    taken = [spec for spec in left if images.takes_images(spec)]
    for spec in taken if pictures else []:
        column = stated.get(spec["name"], pictures[0])
        if column not in pictures:
            continue  # numbers, as the card says
        try:
            how = images.plan(spec, _with_scale(preprocessing, config), processor or {})
        except images.PreprocessingError as error:
            raise MappingError(str(error)) from error
        found.pictures[spec["name"]] = (column, how)
        words.append(f"{how.words} (column {column})")
    left = [spec for spec in left if spec["name"] not in found.pictures]
    if left:
        words.append(_numbers(found, table, left, {k: v for k, v in stated.items() if _names(left, specs, k)}))
    found.words = "; ".join(dict.fromkeys(words))
    return found


def _names(left: list[Spec], specs: list[Spec], name: str) -> bool:
    return name in {spec["name"] for spec in left} or name not in {spec["name"] for spec in specs}


def _with_scale(preprocessing: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    return {"scale": config["scale"], **preprocessing} if "scale" in config else preprocessing


def _texts(found: Mapping, table: Table, wanted: Any, config: dict[str, Any], tokenizer: Path | None) -> str:
    """Choose the columns of texts; returns them in words."""
    if tokenizer is None:
        raise MappingError("the model takes token ids and has no tokenizer.json")
    if isinstance(wanted, list) and len(wanted) == 2:
        column, found.pair = map(str, wanted)
    elif wanted is not None:
        column = str(wanted[0] if isinstance(wanted, list) and wanted else wanted)
    else:
        pair = _pair(table, config, found.joint)
        column, found.pair = pair or (_text_column(table, found.label), None)
    for name in (column, found.pair):
        if name is not None and name not in table.columns:
            raise MappingError(f"the dataset has no text column {name!r}")
    found.text = column
    if found.pair is None:
        return f"text of column {column}"
    if not isinstance(config.get("label"), str):
        found.label = next((name for name in (*SCORE_NAMES, *LABEL_NAMES) if name in table.columns), found.label)
    return f"pairs of texts of columns {column} and {found.pair}" + (", together" if found.joint else "")


def _pair(table: Table, config: dict[str, Any], joint: bool) -> tuple[str, str] | None:
    """Two columns of texts which are compared: known names, with a score beside them unless they go jointly."""
    for first, second in PAIRS:
        if first in table.columns and second in table.columns and _is_text(table, first) and _is_text(table, second):
            scored = any(name in table.columns for name in (*SCORE_NAMES, config.get("label")))
            return (first, second) if scored or joint else None
    return None


def _is_text(table: Table, column: str) -> bool:
    return all(isinstance(value, str) for value in table.columns[column][:50])


def _picture_columns(table: Table, label: str | None) -> list[str]:
    """Columns of images; what is named image comes first, masks last."""
    found = [
        name
        for name, values in table.columns.items()
        if name != label and media.kind_of(values, table.folder, table.files) == "image"
    ]
    return sorted(found, key=lambda name: ("mask" in name.lower(), "image" not in name.lower()))


def _numbers(found: Mapping, table: Table, specs: list[Spec], stated: dict[str, Any]) -> str:
    names = {spec["name"] for spec in specs}
    if stated:
        numeric = {str(k): [str(c) for c in v] if isinstance(v, list) else [str(v)] for k, v in stated.items()}
        missing = [c for columns in numeric.values() for c in columns if c not in table.columns]
        unknown = sorted(set(numeric) - names)
        if missing or unknown:
            raise MappingError(f"the card names {', '.join([*missing, *unknown])}, which is not there")
        found.numeric = numeric
        return "columns as the card says"
    if len(specs) != 1:
        raise MappingError("the model has several inputs and the card does not say which columns feed them")
    columns = _numeric_columns(table, specs[0], found.label)
    found.numeric = {specs[0]["name"]: columns}
    return _in_words(columns)


def feeds(
    table: Table,
    mapping: Mapping,
    specs: list[Spec],
    rows: list[int],
    tokenizer: Path | None,
    broken: list[int] | None = None,
) -> list[Feed]:
    """`mapping.group` feeds of batch 1 for each row number. Rows whose images cannot be read are left out and added to
    `broken`; without such a list they are an error."""
    if mapping.pictures:
        rows = _readable(table, mapping, rows, broken)
    made: list[Feed] = [{} for _ in range(len(rows) * mapping.group)]
    left = specs
    if mapping.text is not None:
        assert tokenizer is not None
        tokens = [spec for spec in specs if spec["name"] in TOKEN_INPUTS]
        left = [spec for spec in specs if spec["name"] not in TOKEN_INPUTS]
        try:
            encoded = texts.feeds(_text_rows(table, mapping, rows), tokens, tokenizer, mapping.tokens)
        except texts.TokenizerError as error:
            raise MappingError(str(error)) from error
        for feed, one in zip(made, encoded, strict=True):
            feed.update(one)
    for spec in left:
        name = spec["name"]
        if name in mapping.pictures:
            column, how = mapping.pictures[name]
            for index, row in enumerate(rows):
                array = images.array(media.content(table.columns[column][row], table.folder, table.files), how)
                for feed in made[index * mapping.group : (index + 1) * mapping.group]:
                    feed[name] = array
            continue
        if name not in mapping.numeric:
            raise MappingError(f"no column feeds the input {name}")
        columns = mapping.numeric[name]
        shape = [1 if not isinstance(dim, int) and i == 0 else dim for i, dim in enumerate(spec["shape"] or [None])]
        for index, row in enumerate(rows):
            array = _array(table, columns, row, shape, spec, mapping.scale)
            for feed in made[index * mapping.group : (index + 1) * mapping.group]:
                feed[name] = array
    return made


def _text_rows(table: Table, mapping: Mapping, rows: list[int]) -> list[Any]:
    first = [str(table.columns[mapping.text or ""][row] or "") for row in rows]
    if mapping.pair is None:
        return first
    second = [str(table.columns[mapping.pair][row] or "") for row in rows]
    if mapping.joint:
        return list(zip(first, second, strict=True))
    return [text for both in zip(first, second, strict=True) for text in both]


def _readable(table: Table, mapping: Mapping, rows: list[int], broken: list[int] | None) -> list[int]:
    kept = []
    for row in rows:
        try:
            for column, how in mapping.pictures.values():
                images.decoded(media.content(table.columns[column][row], table.folder, table.files), how.channels[:1])
        except media.MediaError as error:
            if broken is None:
                raise MappingError(f"row {row} cannot be read: {error}") from error
            broken.append(row)
            continue
        kept.append(row)
    return kept


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
    if not is_number(wanted) or abs(wanted) < 1e-9:
        raise MappingError(f"the card's scale {str(wanted)[:40]!r} is no number which inputs could be multiplied by")
    return float(wanted)


def _array(table: Table, columns: list[str], row: int, shape: list[Any], spec: Spec, scale: float) -> np.ndarray:
    values: Any = [table.columns[column][row] for column in columns]
    if len(columns) == 1 and isinstance(values[0], LISTS):
        values = _channels_first(values[0], shape) if isinstance(values[0], np.ndarray) else values[0]
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


def _channels_first(cell: np.ndarray, shape: list[Any]) -> np.ndarray:
    """An array [H, W, C] for an input [N, C, H, W]: filled in as it lies, its pixels would be mixed up."""
    if cell.ndim != 3 or len(shape) != 4 or shape[1] not in (1, 3) or cell.shape[0] == shape[1]:
        return cell
    return cell.transpose(2, 0, 1) if cell.shape[2] == shape[1] else cell


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
        if name != label and values and isinstance(values[0], LISTS) and fits(_flat_length(values[0]))
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
        raise MappingError("its rows are files which are neither images nor sounds that are read here")
    raise MappingError(
        f"the input {spec['name']} takes {fixed} numbers and the rows have {len(numeric)} numeric columns"
    )


def _flat_length(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.size
    return sum(_flat_length(item) for item in value) if isinstance(value, LISTS) else 1


def _in_words(columns: list[str]) -> str:
    return f"column {columns[0]}" if len(columns) == 1 else f"{len(columns)} numeric columns"
