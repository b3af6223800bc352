"""fp16: weights and arithmetic in 16 bits, inputs and outputs stay as they were.

onnxruntime's float16 converter (onnxruntime.transformers.float16) is tried first; where its result does not load or
runs differently, only the weights are stored in fp16 and cast back while loading, which halves the file with every
operator and opset. On a CPU fp16 saves transfer and disk, not time.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.errors import NotApplicableError, first_line
from compression_service.engine.passes.base import (
    SMALLEST_WEIGHT_ELEMENTS,
    PassContext,
    PassOutcome,
    all_names,
    fresh_name,
    mostly_half,
    plural,
)

SOURCE = "IEEE 754 binary16; onnxruntime.transformers.float16"
NEEDS_FLOAT_SOURCE = True
STREAMS = True
LARGEST_HALF = 65504.0
LEAST_AGREEMENT = 0.999


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if mostly_half(model):
        return "The weights are fp16 already."
    if not any(_wide(tensor) for one in graph.graphs(graph.normalise(model)) for tensor in one.initializer):
        return "There is no weight that fp16 could halve (no float tensor with more than 255 numbers)."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Full fp16 where it runs like the source, else fp16 storage; says which."""
    why = "its converter holds all weights at once, and this model is too large for that"
    if graph.is_streamed(model):
        return _storage(model, params, why)
    try:
        converted = _converted(model)
        agreement = context.runs_like(model, converted) if context.runs_like else 1.0
        if agreement >= LEAST_AGREEMENT:
            halves = sum(t.data_type == TensorProto.FLOAT16 for t in graph.tensors(converted))
            return PassOutcome(
                converted,
                f"{plural(halves, 'tensor')} and their arithmetic in fp16, inputs and outputs as before",
                {**params, "mode": "compute"},
            )
        why = f"its outputs agree with the source only to {agreement:.4f}"
    except Exception as error:  # the converter raises whatever the graph leads it to
        why = first_line(error)
    return _storage(model, params, why)


def _storage(model: ModelProto, params: dict[str, Any], why: str) -> PassOutcome:
    stored, count = _stored(model)
    return PassOutcome(
        stored,
        f"{plural(count, 'tensor')} stored in fp16 and cast back while loading (not computed in fp16: {why})",
        {**params, "mode": "storage"},
    )


def _wide(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and graph.elements(tensor) >= SMALLEST_WEIGHT_ELEMENTS


def _converted(model: ModelProto) -> ModelProto:
    from onnxruntime.transformers import float16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every number which fp16 rounds to zero
        converted = float16.convert_float_to_float16(
            graph.normalise(model), keep_io_types=True, disable_shape_infer=False
        )
    del converted.graph.value_info[:]
    converted.ir_version = graph.lowest_ir(converted)
    return converted


def _stored(model: ModelProto) -> tuple[ModelProto, int]:
    model = graph.normalise(model)
    names, count = all_names(model), 0
    for scope in graph.scopes(model.graph):
        casts: list[NodeProto] = []
        for tensor in scope.graph.initializer:
            if not _wide(tensor):
                continue
            weights = streamed.array(tensor)
            if not np.all(np.abs(weights) <= LARGEST_HALF):
                continue
            original = tensor.name
            half = fresh_name(names, original + "_fp16")
            tensor.CopyFrom(numpy_helper.from_array(weights.astype(np.float16), half))
            casts.append(
                helper.make_node("Cast", [half], [original], to=TensorProto.FLOAT, name=fresh_name(names, "widen"))
            )
        if casts:
            count += len(casts)
            rest = [NodeProto.FromString(node.SerializeToString()) for node in scope.graph.node]
            del scope.graph.node[:]
            scope.graph.node.extend([*casts, *rest])
    if not count:
        raise NotApplicableError("No weight of this model keeps its value in fp16.")
    model.ir_version = graph.lowest_ir(model)
    return model, count
