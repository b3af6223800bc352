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

# Passes with their parameters, as the steps below combine them.
_KEEP: tuple[str, dict[str, Any]] = ("keep", {})
_FUSED = Step((("fuse", {}), _KEEP))
_BANDS = Step((("patch_based", {}), _KEEP))  # the first layers of image networks, where values are largest
_END = (Step((("row_sums", {}), _KEEP)), Step((("clean", {}),)))
_MAPPED = Step((("external_data", {}),))
_FOLDED = Step((("fold_qdq", {}), _KEEP))
_RECURRENT = Step((_DYNAMIC, _KEEP))  # behind static int8, which leaves recurrent layers in float
_INT8 = (Step((_DYNAMIC, _STATIC)), _RECURRENT)
_REST8 = Step((("int8_storage", {}), _KEEP))  # what no integer kernel takes
_BIAS = Step((("bias_correction", {}), _KEEP))
_MAPPED_IF_LARGE = Step((("external_data", {}), _KEEP))
# Bands of rows, mapped weights, or both: one of them has to apply.
_LESS_MEMORY = (Step((("patch_based", {}), ("external_data", {}))), *_END, _MAPPED_IF_LARGE)


def _embeddings(bits: int, block: int) -> Step:
    return Step((("embeddings", {"bits": bits, "block": block}), _KEEP))


def _weights(bits: int, block: int, **more: Any) -> Step:
    return Step((("weight_only", {"bits": bits, "block": block, **more}),))


def _neurons(share: float) -> Step:
    return Step((("prune_neurons", {"share": share}),))


def _stored(**more: Any) -> Step:
    return Step((("int4_storage", {"block": 32, **more}),))


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "onnx", "1", "ONNX baseline", "",
        "The source model as ONNX, nothing lost: what all others are compared with.",
        (),
    ),
    Recipe(
        "int8-dynamic", "6", "8-bit integers, dynamic", "_int8",
        "The fastest for transformers on a CPU, at a quarter of the size; needs no calibration.",
        (_FUSED, Step((_DYNAMIC,)), _REST8, *_END),
    ),
    Recipe(
        "int8-static", "6", "8-bit integers, calibrated", "_quantized",
        "The fastest for convolutions; activation ranges come from calibration rows.",
        (_FUSED, Step((_STATIC,)), _RECURRENT, _FOLDED, _REST8, *_END),
    ),
    Recipe(
        "int4-weights", "5", "4-bit weights", "_q4",
        "Small and true for transformers: rounded by GPTQ in blocks of 32, embeddings in 4 bits, arithmetic in float.",
        (_FUSED, _weights(4, 32), _embeddings(4, 32), _REST8, *_END),
    ),
    Recipe(
        "fp16", "5", "16-bit floats", "_fp16",
        "Half the size for transfer, graphics processors and the web; a CPU wins no time by it.",
        (_FUSED, Step((("fp16", {}),)), *_END),
    ),
    Recipe(
        "fp16-mapped", "3", "16-bit floats, mapped", "_fp16_mapped",
        "fp16 in a form which needs less memory and loads sooner: the runtime maps the weights.",
        (_FUSED, Step((("fp16", {}),)), *_END, _MAPPED),
    ),
    Recipe(
        "int8-storage", "3", "8 bits stored, float arithmetic", "_s8",
        "A quarter of the size with any operator, recurrent ones too: speed and memory stay those of the source.",
        (_FUSED, Step((("int8_storage", {}),)), *_END),
    ),
    Recipe(
        "int4-storage", "4", "4 bits stored, float arithmetic", "_s4",
        "Little more than an eighth of the size for networks which lose too much in integer arithmetic.",
        (_FUSED, _embeddings(4, 32), Step((("int8_storage", {}),)), _stored(), *_END),
    ),
    Recipe(
        "int8-dynamic+emb4", "5", "8-bit integers, dynamic; embeddings in 4 bits", "_int8_emb4",
        "As fast as int8-dynamic and smaller: only the rows of the embedding table which are asked for are unpacked.",
        (_FUSED, Step((("embeddings", {"bits": 4, "block": 32}),)), Step((_DYNAMIC,)), _REST8, *_END, _MAPPED),
    ),
    Recipe(
        "int8-dynamic-mapped", "5", "8-bit integers, dynamic, mapped", "_int8_mapped",
        "int8-dynamic in a form which needs less memory and loads sooner: the runtime maps the weights.",
        (_FUSED, Step((_DYNAMIC,)), _REST8, *_END, _MAPPED),
    ),
    Recipe(
        "int8-static-mapped", "3", "8-bit integers, calibrated, mapped", "_int8_static_mapped",
        "int8-static in less memory: the runtime maps the weights, and the first layers run in bands of rows.",
        (_FUSED, Step((_STATIC,)), _RECURRENT, _FOLDED, _REST8, *_LESS_MEMORY),
    ),
    Recipe(
        "int8-weights", "4", "8-bit weights", "_w8",
        "The truest at little more than a quarter of the size: weights and embeddings in 8 bits by blocks of 32.",
        (_FUSED, _weights(8, 32), _embeddings(8, 32), _REST8, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "int8-weights+emb4", "4", "8-bit weights, embeddings in 4 bits", "_w8_emb4",
        "Smaller than int8 and truer: 8-bit weights with float arithmetic, 4-bit embeddings.",
        (_FUSED, _weights(8, 64), Step((("embeddings", {"bits": 4, "block": 32}),)), _REST8, *_END, _MAPPED),
    ),
    Recipe(
        "mixed-4-8", "4", "4- and 8-bit weights", "_q4_8",
        "4 bits by GPTQ where it costs little, 8 bits for the layers whose outputs would lose most.",
        (_FUSED, _weights(4, 32, keep8=0.4), _embeddings(4, 32), _REST8, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "int4-weights-128", "4", "4-bit weights, large blocks", "_q4_b128",
        "The smallest for transformers: rounded by GPTQ in blocks of 128, embeddings in 4 bits.",
        (_FUSED, _weights(4, 128), _embeddings(4, 128), _REST8, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "int4-storage+int8", "5", "4 bits stored, 8-bit arithmetic", "_q4_int8",
        "Little more than half of int8's file with int8's speed; unpacking while loading takes memory once.",
        (_FUSED, _embeddings(4, 32), *_INT8, _REST8, _stored(), *_END),
    ),
    Recipe(
        "int4-storage+int8-mixed", "5", "4 bits stored for most layers, 8-bit arithmetic", "_q4_int8_mixed",
        "As int4-storage+int8, with the most sensitive third of the weights kept in int8.",
        (_FUSED, _embeddings(4, 32), *_INT8, _REST8, _stored(keep8=0.3, ends=True), *_END),
    ),
    Recipe(
        "prune-neurons-25+int8", "5", "A quarter of the hidden channels removed, then 8 bits", "_neurons25_int8",
        "Faster and smaller than int8: hidden neurons and channels go, least squares repairs the layers behind them.",
        (_FUSED, _neurons(0.25), _embeddings(4, 32), *_INT8, _FOLDED, _REST8, _BANDS, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "prune-neurons-35+int8", "4", "A third of the hidden channels removed, then 8 bits", "_neurons35_int8",
        "A good deal faster than int8 where feed-forward layers do most of the work; embeddings stay in 8 bits.",
        (_FUSED, _neurons(0.35), *_INT8, _FOLDED, _REST8, _BANDS, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "prune-neurons-50+int8", "5", "Half of the hidden channels removed, then 8 bits", "_neurons50_int8",
        "The fastest: half of the hidden neurons and channels go, least squares repairs the layers behind them.",
        (_FUSED, _neurons(0.5), _embeddings(4, 32), *_INT8, _FOLDED, _REST8, _BANDS, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "prune-neurons-25+int4-storage", "5", "A quarter of the hidden channels removed, 4 bits stored",
        "_neurons25_q4_int8",
        "The smallest with int8's arithmetic: fewer channels, and weights which are unpacked while loading.",
        (_FUSED, _neurons(0.25), _embeddings(4, 32), *_INT8, _REST8, _stored(), *_END),
    ),
    Recipe(
        "prune-neurons-25", "5", "A quarter of the hidden channels removed", "_neurons25",
        "Float arithmetic with fewer channels: for devices and tools which take no integers.",
        (_FUSED, _neurons(0.25), *_END),
    ),
    Recipe(
        "prune-layers-20+int8", "3", "A fifth of the layers removed, then 8 bits", "_layers20_int8",
        "Fewer steps: residual branches which are nearly linear give way to one matrix each, by least squares.",
        (_FUSED, Step((("prune_layers", {"share": 0.2}),)), *_INT8, _FOLDED, _REST8, *_END, _MAPPED_IF_LARGE),
    ),
    Recipe(
        "prune-50-compensated", "4", "Half of the weights pruned, compensated", "_sparse50",
        "Half of the weights zero and the others moved to make up for it: compresses like prune-50 and loses far less.",
        (_FUSED, Step((("prune_compensated", {"sparsity": 0.5}),)), _BIAS, *_END),
    ),
    Recipe(
        "prune-2of4+int8", "5", "Two of every four weights pruned, then 8 bits", "_sparse24_int8",
        "The pattern which sparse kernels take, compensated, with 8-bit arithmetic for those which do not.",
        (_FUSED, Step((("prune_compensated", {"pattern": "2:4"}),)), _BIAS, *_INT8, _FOLDED, _REST8, *_END),
    ),
    Recipe(
        "onnx-mapped", "4", "ONNX, cleaned and mapped", "_mapped",
        "The source's own weights in less memory: the runtime maps them, and the first layers run in bands of rows.",
        (_FUSED, *_LESS_MEMORY),
    ),
    Recipe(
        "onnx-low-memory", "2", "ONNX, mapped, with session options", "_low_memory",
        "The source's own weights in the least memory, slower; fits a budget only where it says options=any.",
        (_FUSED, *_LESS_MEMORY, Step((("session_options", {}),))),
    ),
    Recipe(
        "prune-threshold", "4", "Pruned by threshold", "_pruned_threshold",
        "Weights under a quarter of their tensor's deviation are zero: it compresses better, size and speed stay.",
        (_FUSED, Step((("prune_magnitude", {"threshold": 0.25}),)), *_END),
    ),
    Recipe(
        "prune-50", "4", "Half of the weights pruned", "_pruned",
        "The smaller half of each tensor's weights is zero: smaller once compressed, neither file nor speed change.",
        (_FUSED, Step((("prune_magnitude", {"sparsity": 0.5}),)), *_END),
    ),
    Recipe(
        "prune-50+int8", "6", "Half pruned, then 8-bit integers", "_pruned_int8",
        "Half of the weights zero, the rest in 8 bits: small files that compress well.",
        (_FUSED, Step((("prune_magnitude", {"sparsity": 0.5}),)), *_INT8, _REST8, *_END),
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
