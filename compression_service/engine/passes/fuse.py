"""Fusion: what exporters spell out in many nodes becomes what the runtime has a fast operator for.

Taken is only what onnxruntime does not do by itself: one-hot products (`lookups.py`), GELU by tanh (`gelu.py`) and
slices which keep everything. All give the same numbers up to rounding. Sources: ONNX operators Gather and Slice;
Hendrycks and Gimpel 2016 (arXiv 1606.08415).
"""

from __future__ import annotations

from typing import Any

from onnx import ModelProto, NodeProto, helper

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    PassContext,
    PassOutcome,
    all_names,
    plural,
    replace_nodes,
)
from compression_service.engine.passes.gelu import gelus
from compression_service.engine.passes.lookups import absorb, lookup
from compression_service.engine.passes.patterns import Pattern, Shapes, shapes_of

SOURCE = "Hendrycks and Gimpel 2016 (arXiv 1606.08415); ONNX operators Gather and Slice"
NEEDS_FLOAT_SOURCE = True
NOTHING = "There is nothing to fuse that the runtime would not fuse itself."
CANDIDATES = ("Tanh", "Equal", "OneHot", "Gather", "Slice")
SLICE_INPUT_OPSET = 10
EVERYTHING = 10**9  # exporters write such ends, and larger ones, for "to the end"


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it may apply."""
    found = graph.operators(model)
    return None if any(found.get(kind) for kind in CANDIDATES) else NOTHING


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """The fused graph. Raises NotApplicableError when no pattern is found in full."""
    model = graph.normalise(model)
    shapes, names, opset = shapes_of(model), all_names(model), graph.opset(model)
    counts = {"lookup": 0, "gelu": 0, "slice": 0}
    for scope in list(graph.scopes(model.graph)):
        pattern = Pattern(scope)
        fused = {made: x for x, made in gelus(pattern)}
        outputs = {value.name for value in scope.graph.output}
        replacements: dict[int, list[NodeProto]] = {}
        for index, node in enumerate(scope.graph.node):
            made: list[NodeProto] | None
            if node.output[0] in fused:
                given = fused[node.output[0]]
                kind, made = "gelu", [helper.make_node("FastGelu", [given], list(node.output), domain="com.microsoft")]
            elif made := lookup(node, pattern, shapes, names, opset):
                kind = "lookup"
            elif node.output[0] not in outputs and _keeps_everything(node, pattern, shapes, opset):
                kind, made = "slice", [helper.make_node("Identity", [node.input[0]], list(node.output))]
            if made:
                replacements[index] = made
                counts[kind] += 1
        replace_nodes(scope.graph, replacements)
    if counts["gelu"]:
        graph.require_domain(model, "com.microsoft")
    graph.drop_unused(model)
    absorbed = absorb(model, names)
    if not sum(counts.values()) + absorbed:
        raise NotApplicableError(NOTHING)
    graph.drop_unused(model)
    done = [
        (counts["lookup"], "product with a one-hot matrix", " made a look-up"),
        (absorbed, "table", " with what follows it taken in"),
        (counts["gelu"], "GELU", " in one operator"),
        (counts["slice"], "slice", " which kept everything taken out"),
    ]
    changed = ", ".join(plural(count, word) + what for count, word, what in done if count)
    return PassOutcome(graph.normalise(model), changed, params)


def _keeps_everything(node: NodeProto, pattern: Pattern, shapes: Shapes, opset: int) -> bool:
    if node.op_type != "Slice" or node.domain not in graph.MAIN_DOMAINS or opset < SLICE_INPUT_OPSET:
        return False
    found = [pattern.constant(name) if name else None for name in node.input[1:]]
    if any(one is None for one, name in zip(found, node.input[1:], strict=True) if name):
        return False
    starts, ends, axes, steps = [*(None if one is None else one.ravel().tolist() for one in found), None, None][:4]
    if not starts or not ends or any(starts) or any(step != 1 for step in steps or ()):
        return False
    dims = shapes.get(node.input[0], (0, []))[1]
    for axis, end in zip(axes or range(len(ends)), ends, strict=False):
        whole = dims[axis] if -len(dims) <= axis < len(dims) else 0
        if end < EVERYTHING and not (whole and end >= whole):
            return False
    return True
