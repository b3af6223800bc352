"""Intersection over union (Jaccard 1912): of masks (mean over classes, as PASCAL VOC counts), or boxes.

Boxes: each one that is right is held against the best that was found and each that was found against the best that is
right; the mean over both, so that a missed box and an invented one cost the same.
"""

from __future__ import annotations

import re

import numpy as np

from compression_service.engine.fidelity.metrics.base import Items, Metric, Outputs
from compression_service.engine.fidelity.truth import Truth

SURE = 0.5
IGNORED = 255  # "not known" in masks, as PASCAL VOC and Cityscapes write it
MOST_CLASSES = 256
MOST_BOXES = 300
_BOXES = re.compile(r"box|bbox|loc")


def class_map(output: np.ndarray, threshold: float) -> np.ndarray | None:
    """[1, C, H, W] scores, [1, 1, H, W] shares, or [1, H, W] class numbers as classes [H, W]; None for other shapes."""
    if output.ndim == 4 and output.shape[0] == 1 and output.dtype.kind == "f":
        if output.shape[1] == 1:
            return np.asarray(output[0, 0] > threshold).astype(np.int64)
        if output.shape[1] <= MOST_CLASSES:
            return np.asarray(output[0].argmax(axis=0))
        return np.asarray(output[0].argmax(axis=-1)) if output.shape[3] <= MOST_CLASSES else None
    if output.dtype.kind in "iu" and output.ndim >= 3 and output.size == np.prod(output.shape[-2:]):
        return output.reshape(output.shape[-2:]).astype(np.int64)
    return None


def _resized(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """By nearest neighbour: classes cannot be mixed."""
    rows = np.minimum((np.arange(shape[0]) + 0.5) * mask.shape[0] / shape[0], mask.shape[0] - 1).astype(int)
    columns = np.minimum((np.arange(shape[1]) + 0.5) * mask.shape[1] / shape[1], mask.shape[1] - 1).astype(int)
    return np.asarray(mask[rows][:, columns])


def _mask_items(outputs: Outputs, reference: Outputs, truth: Truth) -> Items | None:
    threshold = truth.options.get("threshold", SURE)
    wanted = truth.options.get("output")
    names = [
        n for n, a in outputs[0].items() if wanted in (None, n) and class_map(a, threshold) is not None and a.size > 1
    ]
    if not names:
        return None
    count = min(len(outputs), len(reference) if truth.kind == "source" else len(truth.values))
    figures = np.zeros((count, MOST_CLASSES, 2))
    for index in range(count):
        found = class_map(outputs[index][names[0]], threshold)
        right = (
            class_map(reference[index][names[0]], threshold)
            if truth.kind == "source"
            else np.asarray(truth.values[index], np.int64)
        )
        assert found is not None and right is not None
        right = _resized(right, found.shape) if right.shape != found.shape else right
        known = (right >= 0) & (right < MOST_CLASSES) & (found < MOST_CLASSES)
        known &= (right != IGNORED) if truth.kind == "masks" else True
        found, right = found[known], right[known]
        both = np.bincount(right[found == right], minlength=MOST_CLASSES)
        figures[index, :, 0] = both
        sides = np.bincount(found, minlength=MOST_CLASSES) + np.bincount(right, minlength=MOST_CLASSES)
        figures[index, :, 1] = sides - both
    return Items(figures, names[0]) if count else None


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of a [n, 4] with every one of b [m, 4], as corners x1, y1, x2, y2."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(one[:, 2:] - one[:, :2], 0, None), axis=1) for one in (a, b)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1), 0.0)


def boxes_of(outputs: dict[str, np.ndarray], truth: Truth) -> tuple[str, np.ndarray] | None:
    """(output, boxes [n, 4] as corners) which the model is sure of, the surest first; None for other models."""
    named = [n for n, a in outputs.items() if a.dtype.kind == "f" and a.ndim in (2, 3) and a.shape[-1] == 4]
    name = truth.options.get("output") or next((n for n in named if _BOXES.search(n.lower())), None)
    if name not in named:
        return None
    boxes = outputs[name].reshape(-1, 4).astype(np.float64)
    scores = next((a for n, a in outputs.items() if n != name and _scores_of(a, len(boxes))), None)
    if scores is None:
        return None
    table = scores.reshape(len(boxes), -1).astype(np.float64)
    if table.shape[1] >= 2 and abs(float(table.sum(axis=1).mean()) - 1) < 0.01:
        table = table[:, 1:]  # shares of one have the background as their first class
    best = table.max(axis=1)
    chosen = np.argsort(-best, kind="stable")[:MOST_BOXES]
    chosen = chosen[best[chosen] > truth.options.get("threshold", SURE)]
    boxes = boxes[chosen]
    if truth.options.get("boxes") == "cxcywh":
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    return str(name), boxes


def _scores_of(array: np.ndarray, count: int) -> bool:
    return array.dtype.kind == "f" and array.size >= count and array.size % max(1, count) == 0 and count in array.shape


def _box_items(outputs: Outputs, reference: Outputs, truth: Truth) -> Items | None:
    first = boxes_of(outputs[0], truth)
    if first is None:
        return None
    count = min(len(outputs), len(reference) if truth.kind == "source" else len(truth.values))
    figures = []
    for index in range(count):
        found = boxes_of(outputs[index], truth)
        if truth.kind == "source":
            known = boxes_of(reference[index], truth)
            right = known[1] if known else np.zeros((0, 4))
        else:
            right = np.asarray(truth.values[index], np.float64).reshape(-1, 4)
        boxes = found[1] if found else np.zeros((0, 4))
        pairs = overlaps(boxes, right)
        best = sum(float(pairs.max(axis=axis).sum()) for axis in (0, 1)) if pairs.size else 0.0
        figures.append((best, len(boxes) + len(right)))
    return Items(np.asarray(figures), first[0])


def _items(outputs: Outputs, reference: Outputs, truth: Truth) -> Items | None:
    if truth.feeds_per_value != 1:
        return None
    found = _box_items(outputs, reference, truth) if truth.kind in ("boxes", "source") else None
    if found is None and truth.kind in ("masks", "source"):
        found = _mask_items(outputs, reference, truth)
    return found


def _mean(figures: np.ndarray) -> float:
    if figures.ndim == 2:
        best, count = figures.sum(axis=0)
        return float(best / count) if count else 1.0
    both, union = np.moveaxis(figures.sum(axis=0), -1, 0)
    return float(np.mean(both[union > 0] / union[union > 0])) if union.any() else 1.0


METRIC = Metric("iou", ("masks", "boxes", "source"), _items, _mean, "Jaccard 1912; PASCAL VOC's mean over classes")
