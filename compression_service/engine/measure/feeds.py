"""What a model is fed with while it is measured: written down, described in a record, and made again from that.

Shared with the light client: numpy only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray]


class FeedError(ValueError):
    """The description of an input cannot be followed. The message is a sentence."""


def save(feeds: list[Feed], path: Path) -> None:
    """Feeds as one .npz: `s/<name>` stacked where all shapes are equal, else `r/<name>/<i>`."""
    arrays: dict[str, np.ndarray] = {"count": np.asarray(len(feeds))}
    for name in feeds[0] if feeds else []:
        column = [feed[name] for feed in feeds]
        if column[0].dtype == object:
            column = [array.astype(str) for array in column]
        if len({array.shape for array in column}) == 1:
            arrays[f"s/{name}"] = np.stack(column)
        else:
            arrays.update({f"r/{name}/{i}": array for i, array in enumerate(column)})
    np.savez(path, **arrays)  # type: ignore[arg-type]


def described(array: np.ndarray, fed: list[np.ndarray]) -> dict[str, Any]:
    """Shape, type and range of an input; the value of one which is a setting (a sample rate): others run another graph.

    Without `range`, whoever makes the inputs again knows no bounds: of texts, and of numbers which are not finite.
    """
    found: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.size == 1 and array.dtype.kind in "iub" and all(np.array_equal(array, other) for other in fed):
        return found | {"value": array.item()}
    if array.dtype.kind in "iufb" and array.size:
        low, high = min(float(one.min()) for one in fed), max(float(one.max()) for one in fed)
        if np.isfinite([low, high]).all():
            found["range"] = [low, high]
    return found


def made_again(shapes: dict[str, dict[str, Any]], count: int, seed: int = 0) -> list[Feed]:
    """`count` feeds as a record's `input_shapes` describe them. Raises FeedError."""
    rng = np.random.default_rng(seed)
    return [{name: _array(name, wanted, rng) for name, wanted in shapes.items()} for _ in range(count)]


def _array(name: str, wanted: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
    try:
        shape, text = [int(length) for length in wanted["shape"]], str(wanted["dtype"])
        if text == "object" or text.lstrip("<>").startswith(("U", "str")):
            return np.full(shape, "a", dtype=object)
        dtype = np.dtype(text)
    except (KeyError, TypeError, ValueError) as error:
        raise FeedError(
            f"The record does not say what the input {name[:80]} is: measure it anew on the hub."
        ) from error
    if "value" in wanted:
        return np.full(shape, wanted["value"]).astype(dtype)
    low, high = wanted.get("range") or (0, 1)
    if dtype.kind in "iub":  # a mask which was all true stays so: its range says it
        return rng.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
    return (low + (high - low) * rng.random(shape)).astype(dtype)
