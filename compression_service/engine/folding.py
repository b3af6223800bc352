"""Constant folding: nodes which only rearrange constants become the constants that they make."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph

# Operators which only rearrange: folding them never makes a file larger than its constants together.
FOLDED = ("Identity", "Reshape", "Transpose", "Slice", "Concat", "Squeeze", "Unsqueeze")


def fold(model: ModelProto) -> None:
    """Compute what is made of constants by rearranging alone: exporters hand weights over through such nodes."""
    for scope in graph.scopes(model.graph):
        remaining: list[NodeProto] = []
        renamed: dict[str, str] = {}
        outputs = {value.name for value in scope.graph.output}
        for node in scope.graph.node:
            made = None
            if node.op_type in FOLDED and node.domain in graph.MAIN_DOMAINS and node.output[0] not in outputs:
                same = scope.find(node.input[0]) if node.op_type == "Identity" else None
                if same is not None:  # torch's exporter writes equal weights once: they stay one tensor
                    renamed[node.output[0]] = renamed.get(node.input[0], node.input[0])
                    scope.initializers[node.output[0]] = same
                    continue
                made = _folded(node, scope, model)
            if made is None:
                remaining.append(node)
                continue
            tensor = numpy_helper.from_array(np.ascontiguousarray(made), node.output[0])
            scope.graph.initializer.append(tensor)
            scope.initializers[tensor.name] = tensor
        graph.keep_nodes(scope.graph, remaining)
        if renamed:
            rename_inputs(scope.graph, renamed)
    graph.drop_unused_initializers(model)


def rename_inputs(inside: GraphProto, renamed: dict[str, str]) -> None:
    """What its nodes read, and graphs inside it read or give out, by other names."""
    for one in graph.graphs_below(inside):
        for node in one.node:
            node.input[:] = [renamed.get(name, name) for name in node.input]
        for value in one.output if one is not inside else ():
            value.name = renamed.get(value.name, value.name)


def _folded(node: NodeProto, scope: graph.Scope, model: ModelProto) -> np.ndarray | None:
    given = {name: scope.find(name) for name in node.input if name}
    if not given or any(t is None or t.data_location == TensorProto.EXTERNAL for t in given.values()):
        return None
    arrays: dict[str, Any] = {name: numpy_helper.to_array(t) for name, t in given.items() if t is not None}
    if any(array.dtype == object for array in arrays.values()):
        return None
    return evaluated(node, arrays, model)


def evaluated(node: NodeProto, arrays: dict[str, np.ndarray], model: ModelProto) -> np.ndarray | None:
    """The first output of a node with these inputs; None where the evaluator of onnx does not know it."""
    from onnx.reference import ReferenceEvaluator

    values = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in arrays]
    result = helper.make_tensor_value_info(node.output[0], TensorProto.UNDEFINED, None)
    single = helper.make_graph([node], "fold", values, [result])
    try:
        folded = ReferenceEvaluator(helper.make_model(single, opset_imports=model.opset_import)).run(None, arrays)
    except Exception:  # an operator version that the evaluator does not know stays as it is
        return None
    return np.asarray(next(iter(folded)))
