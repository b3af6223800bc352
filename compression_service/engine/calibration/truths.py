"""Which column says what is right, and by which metric a model is judged with it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from compression_service.engine.calibration import images, mapping, media
from compression_service.engine.calibration.rows import LISTS, Table
from compression_service.engine.calibration.settings import Settings
from compression_service.engine.fidelity.metrics import METRICS
from compression_service.engine.fidelity.truth import Truth

_CAUSAL = re.compile(r"CausalLM|LMHead")
_WITHOUT_LABELS = ("iou", "edit_distance", "wer", "si_sdr")

Rows = tuple[Table, list[int]]


def truth_of(
    part: Rows,
    found: mapping.Mapping,
    settings: Settings,
    outputs: list[dict[str, Any]],
    config: dict[str, Any],
    feeds: list[dict[str, np.ndarray]],
) -> tuple[Truth | None, str]:
    """(truth of the evaluation rows, a note when the card asked for what is not there)."""
    table, numbers = part
    wanted = settings.metric or _usual(table, found, config)
    if wanted is None:
        return None, ""
    if wanted == "perplexity":
        if "input_ids" not in feeds[0]:
            return None, "Perplexity was not measured: the model takes no input_ids."
        return Truth("tokens", [feed["input_ids"].reshape(-1) for feed in feeds], wanted, options=settings.options), ""
    column = settings.label if settings.label in table.columns else found.label
    if column is None and wanted == "iou" and "mask" in table.columns:
        column = "mask"
    cells = [table.columns[column][row] for row in numbers] if column is not None else None
    truth, reason = None, f"the dataset has no column {settings.label!r}" if settings.label else "no column has labels"
    if cells is not None:
        kinds = METRICS[wanted].kinds
        truth, reason = _of_cells(cells, kinds, table, _numbers_of(settings, config, outputs, table, column))
    if truth is None:
        if wanted in _WITHOUT_LABELS and settings.metric:
            truth = Truth("source", [])
        else:
            return None, f"{wanted} was not measured: {reason}." if settings.metric else ""
    truth.metric, truth.group, truth.options = wanted, found.group, settings.options
    truth.vocabulary = settings.labels if truth.kind in ("texts", "source") else []
    return truth, ""


def _usual(table: Table, found: mapping.Mapping, config: dict[str, Any]) -> str | None:
    """The metric without a word of the card."""
    names = config.get("architectures")
    if found.text is not None and isinstance(names, list) and names and _CAUSAL.search(str(names[0])):
        return "perplexity"
    if found.pair is not None and not found.joint:
        return "spearman"
    if found.label is not None:
        return "accuracy"
    return "iou" if "mask" in table.columns and found.pictures else None


def _numbers_of(
    settings: Settings, config: dict[str, Any], outputs: list[dict[str, Any]], table: Table, column: str | None
) -> dict[str, int]:
    """Name of a class → its number: the card's, config.json's, else by the alphabet, where as many as outputs."""
    if settings.labels:
        return {name: number for number, name in enumerate(settings.labels)}
    stated = config.get("label2id")
    if isinstance(stated, dict) and stated:
        return {str(key): int(value) for key, value in stated.items() if isinstance(value, int)}
    cells = {str(cell) for cell in table.columns[column]} if column is not None else set()
    wide = {
        int(np.prod(s["shape"][1:])) for s in outputs if s["shape"] and all(isinstance(d, int) for d in s["shape"][1:])
    }
    return {name: number for number, name in enumerate(sorted(cells))} if len(cells) in wide else {}


def _of_cells(
    cells: list[Any], kinds: tuple[str, ...], table: Table, numbers: dict[str, int]
) -> tuple[Truth | None, str]:
    """The truth of the first of the kinds which the cells are of, else why not."""
    reason = "the labels are of another kind"
    for kind in kinds:
        try:
            if kind == "classes":
                return Truth(kind, class_numbers(cells, numbers)), ""
            if kind == "scores":
                scores = np.asarray([float(cell) for cell in cells])
                if np.isfinite(scores).all():
                    return Truth(kind, scores), ""
            elif kind == "texts" and all(isinstance(cell, (str, *LISTS)) for cell in cells):
                return Truth(kind, [cell if isinstance(cell, str) else [int(c) for c in cell] for cell in cells]), ""
            elif kind == "masks" and media.kind_of(cells, table.folder, table.files) == "image":
                masks = [images.classes(media.content(cell, table.folder, table.files)) for cell in cells]
                return Truth(kind, masks), ""
            elif kind == "boxes" and all(isinstance(cell, LISTS) for cell in cells):
                return Truth(kind, [np.asarray(cell, np.float64).reshape(-1, 4) for cell in cells]), ""
        except (TypeError, ValueError) as error:
            reason = str(error)[:160]
    return None, reason


def class_numbers(cells: list[Any], numbers: dict[str, int]) -> np.ndarray:
    """Integer classes; ValueError for what is none."""
    found = []
    for cell in cells:
        if isinstance(cell, str) and cell in numbers:
            found.append(float(numbers[cell]))
            continue
        try:
            found.append(float(cell))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"no number is known for the class {str(cell)[:60]!r}: name them in fithub.labels"
            ) from error
    # A target of a regression is no class, and neither is -1, which stands for "not known".
    if not all(0 <= n < 2**31 and n == int(n) for n in found):
        raise ValueError("the labels are no numbers of classes")
    return np.asarray(found, np.int64)
