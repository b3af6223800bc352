"""From fp16 to fp32 inside, inputs and outputs unchanged: what the integer passes need of a half-precision source.

fp16 weights are exact in fp32, so nothing is lost; the model that comes out is not larger than the integer model made
of it will be.
"""

from __future__ import annotations

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.passes.base import all_names, fresh_name, mostly_half


def widened(model: ModelProto) -> ModelProto:
    """A normalised copy with every fp16 tensor in fp32; the model itself when it is not mostly fp16."""
    if not mostly_half(model):
        return model
    model = graph.normalise(model)
    names = all_names(model)
    for one in graph.graphs(model):
        for tensor in one.initializer:
            _widen_tensor(tensor)
        for node in one.node:
            _widen_attributes(node)
    _cast_inputs(model.graph, names)
    _cast_outputs(model.graph, names)
    return model


def _widen_tensor(tensor: TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        tensor.CopyFrom(numpy_helper.from_array(streamed.array(tensor).astype("float32"), tensor.name))


def _widen_attributes(node: NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _widen_tensor(attribute.t)
        if attribute.name in ("to", "dtype") and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT


def _cast_inputs(main: GraphProto, names: set[str]) -> None:
    for value in graph.real_inputs(main):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            inside = fresh_name(names, value.name + "_fp32")
            for node in main.node:
                for position, given in enumerate(node.input):
                    if given == value.name:
                        node.input[position] = inside
            cast = helper.make_node("Cast", [value.name], [inside], to=TensorProto.FLOAT)
            rest = [NodeProto.FromString(node.SerializeToString()) for node in main.node]
            del main.node[:]
            main.node.extend([cast, *rest])


def _cast_outputs(main: GraphProto, names: set[str]) -> None:
    for value in main.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            inside = fresh_name(names, value.name + "_fp32")
            for node in main.node:
                for places in (node.input, node.output):
                    for position, name in enumerate(places):
                        if name == value.name:
                            places[position] = inside
            main.node.append(helper.make_node("Cast", [inside], [value.name], to=TensorProto.FLOAT16))
