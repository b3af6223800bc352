"""How much a variant agrees with its source on the same inputs, and what that means for people.

measuring.md §1 rule 8: the task's metric where there are labels, else what fits the output; NaN, infinity or an
agreement under 90 % quarantines, more than one point lost is flagged. What a stateful model made is one sequence.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from compression_service.engine.fidelity.metrics.accuracy import is_class_scores
from compression_service.engine.fidelity.metrics.base import Outputs

LEAST_FIDELITY = 0.90
FLAGGED_LOSS = 0.01
SCORE_NAMES = re.compile(r"logit|score|prob|softmax|class|label|pred")
ROUNDING = 1e-9
LEAST_SHARE = 1e-12


@dataclass
class Agreement:
    """fidelity is 0…1 (1 is the source itself); detail holds the other figures of the same comparison."""

    fidelity: float
    metric: str
    detail: dict[str, Any]
    broken: str | None = None


def compare(
    source: Outputs, variant: Outputs, state: set[str], real_rows: bool, labelled: bool = False, steps: int = 1
) -> Agreement:
    """Compare outputs input by input. `state`: names of carried outputs, which do not decide; `steps`: so many
    consecutive inputs are one sequence, of which the cosine is taken as a whole (a silent frame has no direction).

    Outputs of as many rows as there is to tell (detections) decide only where there are no others.
    Class scores [1, C] on real rows are judged by top-1 agreement, integers by equality, probabilities of one number
    by their side of 0.5, everything else by cosine, the worst output deciding. Without labels, [1, C] may as well be an
    embedding, whose largest number means nothing: it is taken for scores only if its name or its values say so.
    """
    count = min(len(source), len(variant))
    names = [name for name in source[0] if name not in state] or list(source[0])
    uneven = [name for name in source[0] if _differ_in_length(source[:count], variant[:count], name)]
    if uneven:
        names = [name for name in names if name not in uneven] or names
        source, variant = _padded(source[:count], variant[:count], uneven)
    broken = _broken(source[:count], variant[:count], list(source[0]))
    if broken:
        return Agreement(0.0, "none", {"count": count}, broken)
    classes = {name for name in names if real_rows and (labelled or says_scores(name, source[:count]))}
    per_output = {name: _one(source[:count], variant[:count], name, name in classes, steps) for name in names}
    worst = min(per_output, key=lambda name: per_output[name]["fidelity"])
    detail: dict[str, Any] = {"outputs": per_output, "worst_output": worst, "count": count}
    if uneven:
        detail["uneven_outputs"] = uneven
    detail["relative_error"] = max(one["relative_error"] for one in per_output.values())
    if steps > 1:
        detail["sequence_steps"] = steps
    divergences = [one["kl"] for one in per_output.values() if one.get("kl") is not None]
    detail["kl"] = max(divergences) if divergences else None
    for key in ("cosine", "top1_agreement"):
        values = [one[key] for one in per_output.values() if one.get(key) is not None]
        detail[key] = min(values) if values else None
    return Agreement(float(per_output[worst]["fidelity"]), per_output[worst]["metric"], detail)


def _differ_in_length(source: Outputs, variant: Outputs, name: str) -> bool:
    """Whether an output has as many rows as there is to tell (detections which were kept): then they may differ."""
    if any(name not in b for b in variant) or source[0][name].dtype.kind not in "fiub":
        return False
    shapes = [(a[name].shape, b[name].shape) for a, b in zip(source, variant, strict=True)]
    differ = any(a != b for a, b in shapes)
    varies = len({a for a, _ in shapes}) > 1
    return differ and varies and len({len(shape) for pair in shapes for shape in pair}) == 1


def _padded(source: Outputs, variant: Outputs, names: list[str]) -> tuple[Outputs, Outputs]:
    """Rows which one of the two lacks stand as zeros in it."""
    sides: tuple[Outputs, Outputs] = ([], [])
    for a, b in zip(source, variant, strict=True):
        wanted = {name: np.maximum(a[name].shape, b[name].shape) for name in names}
        for side, one in zip(sides, (a, b), strict=True):
            grown = {
                n: np.pad(one[n], [(0, int(w - h)) for h, w in zip(one[n].shape, wanted[n], strict=True)])
                for n in names
            }
            side.append({**one, **grown})
    return sides


def _broken(source: Outputs, variant: Outputs, names: list[str]) -> str | None:
    for index, (a, b) in enumerate(zip(source, variant, strict=True)):
        for name in names:
            if name not in b or a[name].shape != b[name].shape:
                return f"Output {name} is missing or has another shape than the source's."
            if b[name].dtype.kind == "f" and np.isfinite(a[name]).all() and not np.isfinite(b[name]).all():
                return f"Output {name} has NaN or infinity on input {index}, where the source has none."
    return None


def _one(source: Outputs, variant: Outputs, name: str, classes: bool, steps: int = 1) -> dict[str, Any]:
    first = source[0][name]
    if first.dtype.kind not in "f":
        pairs_equal = [a[name] == b[name] for a, b in zip(source, variant, strict=True)]
        equal = float(np.mean([np.mean(same) if same.size else 1.0 for same in pairs_equal]))
        return {"fidelity": equal, "metric": "agreement", "relative_error": 1.0 - equal, "cosine": None}
    pairs = [
        (np.nan_to_num(a[name].astype(np.float64)).ravel(), np.nan_to_num(b[name].astype(np.float64)).ravel())
        for a, b in zip(source, variant, strict=True)
    ]
    error = math.sqrt(sum(float(((a - b) ** 2).sum()) for a, b in pairs))
    size = math.sqrt(sum(float((a**2).sum()) for a, _ in pairs))
    figures: dict[str, Any] = {"relative_error": error / size if size else float(error > 0)}
    if first.size == 1:
        return {
            **figures,
            **_of_single_numbers(np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])),
        }
    wholes = pairs if steps == 1 else [_sequence(pairs[i : i + steps]) for i in range(0, len(pairs), steps)]
    figures["cosine"] = float(np.mean([_cosine(a, b) for a, b in wholes]))
    figures["top1_agreement"] = None
    if is_class_scores(first):
        figures["top1_agreement"] = float(np.mean([a.argmax() == b.argmax() for a, b in pairs]))
        if says_scores(name, source):
            figures["kl"] = float(np.mean([_divergence(a, b) for a, b in pairs]))
        if classes:
            return {**figures, "fidelity": figures["top1_agreement"], "metric": "top1_agreement"}
    return {**figures, "fidelity": max(0.0, figures["cosine"]), "metric": "cosine"}


def _of_single_numbers(source: np.ndarray, variant: np.ndarray) -> dict[str, Any]:
    cosine = _cosine(source, variant)
    if source.min() >= 0 and source.max() <= 1:
        side = float(np.mean((source > 0.5) == (variant > 0.5)))
        # A stream which never crosses 0.5 agrees for free, so the closeness of the values decides too.
        close = float(1 - np.mean(np.abs(source - variant)))
        return {"fidelity": min(side, close), "metric": "agreement_at_half", "cosine": cosine}
    return {"fidelity": max(0.0, cosine), "metric": "cosine", "cosine": cosine}


def _sequence(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])


def _divergence(source: np.ndarray, variant: np.ndarray) -> float:
    """KL of the variant's shares from the source's, in nats (Kullback and Leibler 1951)."""
    p, q = _log_shares(source), _log_shares(variant)
    return max(0.0, float((np.exp(p) * (p - q)).sum()))


def _log_shares(scores: np.ndarray) -> np.ndarray:
    if scores.min() >= 0 and abs(float(scores.sum()) - 1) < 0.01:
        return np.asarray(np.log(np.maximum(scores, LEAST_SHARE)))
    shifted = scores - scores.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    product = float(np.linalg.norm(a) * np.linalg.norm(b))
    if product == 0.0:
        return float(not a.any() and not b.any())
    return float(np.dot(a, b) / product)


def says_scores(name: str, outputs: Outputs) -> bool:
    """Whether an output is one of class scores by its name, or by values which are shares of one."""
    if SCORE_NAMES.search(name.lower()):
        return True
    values = [output[name] for output in outputs[:32]]
    return all(
        value.dtype.kind == "f" and value.min() >= 0 and abs(float(value.astype(np.float64).sum()) - 1) < 0.01
        for value in values
    )
