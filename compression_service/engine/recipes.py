"""The recipes: named, versioned lists of passes with their parameters. Data only.

A step may name several passes: the first which applies to a component is taken, so that one recipe serves networks of
convolutions (static int8) and of matrices (dynamic int8). A recipe's version goes up whenever its files would change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from compression_service.engine.definitions import Recipe, Step, checked
from compression_service.engine.errors import RefusedError

__all__ = ["RECIPES", "Recipe", "Step", "from_json", "named_or_defined", "recipe"]

STATIC_METHODS = ("min-max", "moving-average", "percentile")
_DYNAMIC: tuple[str, dict[str, Any]] = ("int8_dynamic", {})
_STATIC: tuple[str, dict[str, Any]] = ("int8_static", {"methods": STATIC_METHODS})

RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "onnx", "1", "ONNX baseline", "",
        "The source model as ONNX, nothing lost: what all others are compared with.",
        (),
    ),
    Recipe(
        "fp16", "1", "16-bit floats", "_fp16",
        "Half the size for transfer, graphics processors and the web; a CPU wins no time by it.",
        (Step((("fp16", {}),)),),
    ),
    Recipe(
        "int8-dynamic", "1", "8-bit integers, dynamic", "_int8",
        "The fastest for transformers on a CPU, at a quarter of the size; needs no calibration.",
        (Step((_DYNAMIC,)),),
    ),
    Recipe(
        "int8-static", "1", "8-bit integers, calibrated", "_quantized",
        "The fastest for convolutions; activation ranges come from calibration rows.",
        (Step((_STATIC,)),),
    ),
    Recipe(
        "int4-weights", "1", "4-bit weights", "_q4",
        "The smallest for transformers, embeddings included; arithmetic stays in float.",
        (Step((("int4_weights", {"block": 32, "accuracy_level": 0}),)),),
    ),
    Recipe(
        "prune-threshold", "1", "Pruned by threshold", "_pruned_threshold",
        "Weights under a quarter of their tensor's deviation are zero: it compresses better, size and speed stay.",
        (Step((("prune_magnitude", {"threshold": 0.25}),)),),
    ),
    Recipe(
        "prune-50", "1", "Half of the weights pruned", "_pruned",
        "The smaller half of each tensor's weights is zero: smaller once compressed, neither file nor speed change.",
        (Step((("prune_magnitude", {"sparsity": 0.5}),)),),
    ),
    Recipe(
        "prune-50+int8", "1", "Half pruned, then 8-bit integers", "_pruned_int8",
        "Half of the weights zero, the rest in 8 bits: small files that compress well.",
        (Step((("prune_magnitude", {"sparsity": 0.5}),)), Step((_DYNAMIC, _STATIC))),
    ),
)  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of that name; KeyError with the known names otherwise."""
    for one in RECIPES:
        if one.name == name:
            return one
    raise KeyError(f"There is no recipe {name!r}; known are {', '.join(r.name for r in RECIPES)}.")


def from_json(definition: Any, others: Iterable[Recipe] = RECIPES) -> Recipe:
    """The recipe which a definition (the shape of `Recipe.as_json`) describes. Raises RefusedError with a sentence."""
    return checked(definition, others)


def named_or_defined(value: Any) -> Recipe:
    """The recipe of that name, or the one which is defined. Raises RefusedError with a sentence."""
    if not isinstance(value, str):
        return from_json(value)
    try:
        return recipe(value)
    except KeyError as error:
        raise RefusedError(str(error.args[0])) from error
