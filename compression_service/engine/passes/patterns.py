"""What stands behind a value of a graph: for passes which look for more than one operator."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from compression_service.engine import graph

Shapes = dict[str, tuple[int, list[int]]]
CONTRIB = "com.microsoft"
SAME_SHAPE = ("FastGelu", "Gelu", "QuickGelu", "BiasGelu")


class Pattern:
    """What stands behind a value of one scope."""

    def __init__(self, scope: graph.Scope) -> None:
        self.scope = scope
        self.makers = {name: node for node in scope.graph.node for name in node.output}
        self.reading: dict[str, list[NodeProto]] = {}
        for node in scope.graph.node:
            for name in dict.fromkeys(node.input):
                self.reading.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[NodeProto]:
        return [node for node in self.reading.get(name, ()) if node.domain in graph.MAIN_DOMAINS]

    def maker(self, name: str, *kinds: str) -> NodeProto | None:
        node = self.makers.get(name)
        return node if node is not None and node.op_type in kinds and node.domain in graph.MAIN_DOMAINS else None

    def constant(self, name: str) -> np.ndarray | None:
        tensor = self.scope.find(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def number(self, name: str) -> float | None:
        tensor = self.scope.find(name)
        if tensor is None or graph.elements(tensor) != 1 or tensor.data_type not in graph.FLOAT_TYPES:
            return None
        return float(numpy_helper.to_array(tensor).reshape(-1)[0])

    def factors(self, name: str, whole: tuple[str, ...]) -> tuple[float, list[str]]:
        """(the product of the constants, the other factors) of a value which products make; `whole` are not split."""
        number = self.number(name)
        if number is not None:
            return number, []
        node = self.maker(name, "Mul", "Pow", "Div") if name not in whole else None
        if node is None:
            return 1.0, [name]
        if node.op_type == "Mul":
            parts = [self.factors(one, whole) for one in node.input]
            return parts[0][0] * parts[1][0], sorted([*parts[0][1], *parts[1][1]])
        second = self.number(node.input[1])
        if second and node.op_type == "Div":
            constant, others = self.factors(node.input[0], whole)
            return constant / second, others
        if node.op_type == "Pow" and second in (2.0, 3.0):
            return 1.0, [node.input[0]] * int(second)
        return 1.0, [name]

    def sum_with_one(self, name: str) -> str | None:
        """The other summand of 1 + value."""
        node = self.maker(name, "Add")
        for one, other in (node.input, tuple(reversed(node.input))) if node is not None else ():
            if self.number(one) == 1.0:
                return str(other)
        return None


def with_types(model: ModelProto) -> ModelProto:
    """A copy whose main graph says the type and shape of every value for which they follow from the inputs'.

    ONNX's own inference stops at the runtime's operators; those which keep a shape or look up rows do not stop this.
    """
    inferred = _inferred(model)
    rows = {tensor.name: tensor for tensor in model.graph.initializer}
    while True:
        known = {one.name: one for one in [*inferred.graph.value_info, *inferred.graph.input]}
        told = False
        for node in inferred.graph.node:
            made = _made(node, known, rows) if node.domain == CONTRIB and node.output[0] not in known else None
            if made is not None:
                inferred.graph.value_info.append(made)
                told = True
        if not told:
            return inferred
        inferred = _inferred(inferred)


def _made(
    node: NodeProto, known: dict[str, ValueInfoProto], constants: dict[str, TensorProto]
) -> ValueInfoProto | None:
    """Type and shape of what one of the runtime's operators makes."""
    if node.op_type in SAME_SHAPE and node.input[0] in known:
        made = ValueInfoProto()
        made.CopyFrom(known[node.input[0]])
        made.name = node.output[0]
        return made
    if node.op_type == "GatherBlockQuantized" and node.input[1] in known and node.input[2] in constants:
        scales = constants[node.input[2]]
        dims = [dim.dim_value or dim.dim_param or None for dim in known[node.input[1]].type.tensor_type.shape.dim]
        columns = scales.dims[-1] * graph.attribute(node, "block_size", 128)
        return helper.make_tensor_value_info(node.output[0], scales.data_type, [*dims, columns])
    return None


def _inferred(model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a graph whose shapes contradict each other runs all the same, and so does one of over 2 GB
        copy = ModelProto()
        copy.CopyFrom(model)
        return copy


def shapes_of(model: ModelProto) -> Shapes:
    """Value → (element type, dimensions, 0 where one is not known) of the main graph."""
    typed = with_types(model)
    return {
        one.name: (one.type.tensor_type.elem_type, [dim.dim_value for dim in one.type.tensor_type.shape.dim])
        for one in [*typed.graph.value_info, *typed.graph.input]
        if one.type.HasField("tensor_type") and one.type.tensor_type.HasField("shape")
    }
