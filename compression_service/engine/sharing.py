"""Equal weights stored once: a model's If branches often repeat them, and folding and quantizing them makes copies."""

from __future__ import annotations

import hashlib

from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from compression_service.engine import graph

SMALLEST_ELEMENTS = 64


def share_equal_weights(model: ModelProto) -> None:
    """Keep one of all equal initializers, in the main graph, where every subgraph can see it. Changes the model."""
    kept: dict[str, str] = {}
    moved: list[TensorProto] = []
    main_names = {tensor.name for tensor in model.graph.initializer}
    outputs = {value.name for value in model.graph.output}
    for one in graph.graphs(model):
        renamed: dict[str, str] = {}
        for tensor in list(one.initializer):
            if graph.elements(tensor) < SMALLEST_ELEMENTS or tensor.name in outputs:
                continue
            key = _digest(tensor)
            if one is not model.graph and key not in kept and tensor.name not in main_names:
                moved.append(TensorProto.FromString(tensor.SerializeToString()))
                main_names.add(tensor.name)
                kept[key] = tensor.name
                renamed[tensor.name] = tensor.name
            elif kept.setdefault(key, tensor.name) != tensor.name:
                renamed[tensor.name] = kept[key]
        if renamed:
            _rename(one, renamed)
            rest = [TensorProto.FromString(t.SerializeToString()) for t in one.initializer if t.name not in renamed]
            del one.initializer[:]
            one.initializer.extend(rest)
    model.graph.initializer.extend(moved)


def _digest(tensor: TensorProto) -> str:
    nameless = TensorProto()
    nameless.CopyFrom(tensor)
    nameless.ClearField("name")
    nameless.ClearField("doc_string")
    return hashlib.sha256(nameless.SerializeToString(deterministic=True)).hexdigest()


def _rename(one: GraphProto, renamed: dict[str, str]) -> None:
    for node in one.node:
        for position, name in enumerate(node.input):
            if name in renamed:
                node.input[position] = renamed[name]
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                _rename(attribute.g, renamed)
            for inner in attribute.graphs:
                _rename(inner, renamed)
