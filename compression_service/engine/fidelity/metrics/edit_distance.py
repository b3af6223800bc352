"""Edit distance by the length of what is right (Levenshtein 1966): over symbols, and over words (word error rate).

An output of class scores for each step [1, T, C] (or [T, 1, C]) is read greedily, equal neighbours as one and blanks
left out (CTC: Graves et al. 2006; `blank` and `collapse` of the card's metric); one of integers as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth

WORD_ENDS = "|"  # how the vocabularies of wav2vec 2.0 write a space


def levenshtein(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The least number of insertions, deletions and substitutions."""
    before = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        row = [i]
        for j, right in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (left != right)))
        before = row
    return before[-1]


def _steps_output(first: dict[str, np.ndarray], wanted: str | None) -> str | None:
    for name, array in first.items():
        if wanted is not None and name != wanted:
            continue
        scores = array.dtype.kind == "f" and array.ndim == 3 and 1 in array.shape[:2] and array.shape[2] >= 2
        if scores or (array.dtype.kind in "iu" and array.ndim <= 2 and array.size > 1):
            return name
    return None


def read_steps(output: np.ndarray, truth: Truth) -> list[int]:
    """The symbols of one output."""
    if output.dtype.kind in "iu":
        return [int(number) for number in output.reshape(-1)]
    best = output.reshape(-1, output.shape[-1]).argmax(axis=1)
    if truth.options.get("collapse", True):
        best = best[np.concatenate([[True], best[1:] != best[:-1]])]
    blank = truth.options.get("blank", 0)
    return [int(number) for number in best if number != blank]


def _spelled(symbols: Sequence[int], vocabulary: list[str]) -> str:
    return "".join(vocabulary[s] if 0 <= s < len(vocabulary) else "\ufffd" for s in symbols)


def _items(outputs: Outputs, reference: Outputs, truth: Truth, words: bool) -> Items | None:
    name = _steps_output(outputs[0], truth.options.get("output"))
    if name is None or truth.feeds_per_value != 1 or (not truth.vocabulary and (words or truth.kind == "texts")):
        return None
    count = min(len(outputs), len(reference) if truth.kind == "source" else len(truth.values))
    figures = []
    for index in range(count):
        read: Any = read_steps(outputs[index][name], truth)
        right: Any = read_steps(reference[index][name], truth) if truth.kind == "source" else truth.values[index]
        if truth.vocabulary:
            read = _spelled(read, truth.vocabulary)
            right = right if isinstance(right, str) else _spelled(right, truth.vocabulary)
        if words:
            read, right = (text.replace(WORD_ENDS, " ").split() for text in (read, right))
        figures.append((levenshtein(read, right), len(right)))
    return Items(np.asarray(figures, np.float64), name) if figures else None


def _rate(figures: np.ndarray) -> float:
    distance, length = figures.sum(axis=0)
    return float(distance / length) if length else float(distance > 0)


METRIC = Metric(
    "edit_distance", ("texts", "source"), lambda o, r, t: _items(o, r, t, words=False), _rate, "Levenshtein 1966",
    higher_is_better=False, perfect=0.0,
)  # fmt: skip
WORDS = Metric(
    "wer", ("texts", "source"), lambda o, r, t: _items(o, r, t, words=True), _rate, "word error rate, Levenshtein 1966",
    higher_is_better=False, perfect=0.0,
)  # fmt: skip
