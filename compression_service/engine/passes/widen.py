"""From fp16 or fp64 to fp32 inside, inputs and outputs unchanged: what the integer passes need of such a source.

fp16 weights are exact in fp32, so nothing is lost, and the model that comes out is not larger than the integer model
made of it will be; of fp64 the first 24 bits are kept.
"""

from __future__ import annotations

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.passes.base import all_names, fresh_name, mostly_double, mostly_half


def widened(model: ModelProto) -> ModelProto:
    """A normalised copy with every fp16 (or fp64) tensor in fp32; the model itself when it is mostly fp32."""
    if not mostly_half(model) and not mostly_double(model):
        return model
    kind = TensorProto.FLOAT16 if mostly_half(model) else TensorProto.DOUBLE
    model = graph.normalise(model)
    names = all_names(model)
    for one in graph.graphs(model):
        for tensor in one.initializer:
            _to_single(tensor, kind)
        for node in one.node:
            _attributes_to_single(node, kind)
    _cast_inputs(model.graph, names, kind)
    _cast_outputs(model.graph, names, kind)
    return model


def _to_single(tensor: TensorProto, kind: int) -> None:
    if tensor.data_type == kind:
        tensor.CopyFrom(numpy_helper.from_array(streamed.array(tensor).astype("float32"), tensor.name))


def _attributes_to_single(node: NodeProto, kind: int) -> None:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            _to_single(attribute.t, kind)
        if attribute.name in ("to", "dtype") and attribute.i == kind:
            attribute.i = TensorProto.FLOAT


def _cast_inputs(main: GraphProto, names: set[str], kind: int) -> None:
    for value in graph.real_inputs(main):
        if value.type.tensor_type.elem_type == kind:
            inside = fresh_name(names, value.name + "_fp32")
            for node in main.node:
                for position, given in enumerate(node.input):
                    if given == value.name:
                        node.input[position] = inside
            cast = helper.make_node("Cast", [value.name], [inside], to=TensorProto.FLOAT)
            rest = [NodeProto.FromString(node.SerializeToString()) for node in main.node]
            del main.node[:]
            main.node.extend([cast, *rest])


def _cast_outputs(main: GraphProto, names: set[str], kind: int) -> None:
    for value in main.output:
        if value.type.tensor_type.elem_type == kind:
            inside = fresh_name(names, value.name + "_fp32")
            for node in main.node:
                for places in (node.input, node.output):
                    for position, name in enumerate(places):
                        if name == value.name:
                            places[position] = inside
            main.node.append(helper.make_node("Cast", [inside], [value.name], to=kind))
