"""8 bits stored, float arithmetic: float weights kept as int8 with a scale per channel, widened while loading.

For what no integer kernel takes (GRU, RNN, transposed convolutions, weights inside If and Loop) and for whatever other
passes left in float. The runtime folds Cast and Mul into the float weights which were there before, so the file is a
quarter of the size while speed and memory stay those of the source. Source: Jacob et al. 2018 (arXiv 1712.05877).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    WEIGHT_INPUTS,
    PassContext,
    PassOutcome,
    all_names,
    float_weight_bytes,
    fresh_name,
    layer,
    plural,
)
from compression_service.engine.passes.rounding import relative_error, symmetric_int8
from compression_service.engine.passes.widen import widened

SOURCE = "Jacob et al. 2018 (arXiv 1712.05877)"
NEEDS_FLOAT_SOURCE = True
STREAMS = True
SMALLEST_ELEMENTS = 1024
SMALLEST_SHARE = 0.1
BROADCAST_OPSET = 7  # before it, Mul names the axis along which it repeats
# Which axes of an operator's weight keep a scale of their own; the others share one.
CHANNELS = {
    "MatMul": (-1,), "Conv": (0,), "ConvTranspose": (1,), "Gather": (0,), "LSTM": (0, 1), "GRU": (0, 1), "RNN": (0, 1),
}  # fmt: skip


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if graph.opset(model) < BROADCAST_OPSET:
        return f"Widening weights while loading needs opset {BROADCAST_OPSET}; this graph is of {graph.opset(model)}."
    total = float_weight_bytes(model)
    reachable = sum(graph.tensor_bytes(t) for scope in graph.graphs(model) for t in scope.initializer if _takes(t))
    if not reachable or reachable < SMALLEST_SHARE * total:
        return f"No float weight of at least {SMALLEST_ELEMENTS:,} numbers is left which 8 bits could store."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Every float tensor of rank 2 or more, in all graphs; what holds infinities or NaN stays."""
    model = graph.normalise(widened(model))
    names, layers = all_names(model), []
    for scope in graph.graphs(model):
        made: list[NodeProto] = []
        for tensor in list(scope.initializer):  # the scales which are added are none of them
            if not _takes(tensor):
                continue
            weights = streamed.array(tensor)
            if not np.isfinite(weights).all():
                continue
            reader, channels = _reader(scope, tensor.name, weights.ndim)
            integers, scales = symmetric_int8(weights, channels, 127)
            wide = _widening(tensor, integers, names)
            scale = fresh_name(names, tensor.name + "_scale")
            output, tensor.name = tensor.name, wide.input[0]
            scope.initializer.append(numpy_helper.from_array(scales, scale))
            made += [wide, helper.make_node("Mul", [wide.output[0], scale], [output], name=fresh_name(names, "scaled"))]
            error = relative_error(weights, integers * scales, None)
            size = integers.nbytes + scales.nbytes
            name = (reader.name or reader.output[0]) if reader else output
            kind = reader.op_type if reader else "constant"
            layers.append(layer(name, kind, weights.shape, 8, weights.nbytes, size, error))
        rest = [NodeProto.FromString(node.SerializeToString()) for node in scope.node]
        del scope.node[:]
        scope.node.extend([*made, *rest])
    if not layers:
        raise NotApplicableError("No float weight is left which 8 bits could store.")
    model.ir_version = graph.lowest_ir(model)
    words = f"{plural(len(layers), 'weight')} stored in int8 with a scale per channel, widened while loading"
    return PassOutcome(model, words, params, layers)


def _takes(tensor: TensorProto) -> bool:
    return (
        tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)
        and sum(dim > 1 for dim in tensor.dims) >= 2  # a row or a column is a bias, or the scales of another pass
        and graph.elements(tensor) >= SMALLEST_ELEMENTS
    )


def _reader(scope: Any, name: str, rank: int) -> tuple[NodeProto | None, tuple[int, ...]]:
    """The first node which reads a weight, and the axes with a scale of their own: the first axis where unknown."""
    for node in scope.node:
        for position, given in enumerate(node.input):
            if given == name and node.domain in graph.MAIN_DOMAINS and position in WEIGHT_INPUTS.get(node.op_type, ()):
                axes = CHANNELS.get(node.op_type, (0,))
                if node.op_type == "Gemm":
                    axes = (0,) if graph.attribute(node, "transB", 0) else (1,)
                if node.op_type == "MatMul" and rank > 2:
                    axes = (*range(rank - 2), -1)  # a matrix for each of a batch
                return node, tuple(axis % rank for axis in axes)
    return None, (0,)


def _widening(tensor: TensorProto, integers: np.ndarray, names: set[str]) -> NodeProto:
    stored_name = fresh_name(names, tensor.name + "_int8")
    wide = fresh_name(names, tensor.name + "_wide")
    original = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(integers, original))
    return helper.make_node("Cast", [stored_name], [wide], to=TensorProto.FLOAT, name=fresh_name(names, "widen"))
