"""Branches which ranks and fixed sizes decide: torch.jit exports ask at run time what the graph itself answers.

A squeeze of torch.jit becomes an If over one size of a shape, and an unbatched recurrent layer one over the rank of its
input. Ranks and most sizes follow from the graph by shape inference; what follows from them is computed here, and an If
with a known condition gives way to its branch. Runtimes fold only shapes which are known whole.
Source: ONNX specification (shape inference; If).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import folding, graph

MOST_ROUNDS = 8  # each may decide what the one before brought to light
_LARGEST = 64  # numbers in what is computed: sizes and conditions, no weights
_LOGIC = frozenset((
    "Equal", "Not", "And", "Or", "Xor", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Cast", "Gather", "Size",
    "Add", "Sub", "Mul", "Slice", "Concat", "Squeeze", "Unsqueeze", "Identity", "Where",
))  # fmt: skip
_REPEATS = frozenset(("Loop", "Scan"))  # what is true of one turn need not be of the next
Sizes = list[int | None]


def decide(model: ModelProto) -> int:
    """Put branches in the place of Ifs whose conditions are known, in place; how many there were.

    The model has to be normalised (graph.normalise). One which shape inference does not take stays as it is.
    """
    if not any(node.op_type == "If" for node in graph.nodes(model)) or graph.is_streamed(model):
        return 0
    decided = 0
    for _ in range(MOST_ROUNDS):
        try:
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        except Exception:  # an operator which it does not know, or a graph which contradicts itself
            return decided
        found = _in_graph(model, model.graph, inferred.graph, None, _fresh(model))
        if not found:
            return decided
        decided += found
        folding.fold(model)
        graph.drop_unused(model)
    return decided


def _fresh(model: ModelProto) -> Iterator[str]:
    taken = {name for one in graph.graphs(model) for node in one.node for name in node.output}
    taken |= {named.name for one in graph.graphs(model) for named in (*one.initializer, *one.input)}
    return (name for number in count() if (name := f"decided_{number}") not in taken)


def _shapes(one: GraphProto) -> dict[str, Sizes]:
    found: dict[str, Sizes] = {}
    for value in (*one.input, *one.value_info, *one.output):
        kind = value.type.tensor_type
        if value.type.WhichOneof("value") == "tensor_type" and kind.HasField("shape"):
            # A dimension of 0 or -1 is an exporter's way to say "unknown".
            found[value.name] = [dim.dim_value if dim.dim_value > 0 else None for dim in kind.shape.dim]
    for tensor in one.initializer:
        found[tensor.name] = list(tensor.dims)
    return found


class _Seen:
    """What a graph sees: shapes, constants, and vectors of sizes of which some are known; its parents' too."""

    def __init__(self, one: GraphProto, shapes: dict[str, Sizes], parent: _Seen | None) -> None:
        self.parent, self.shapes = parent, shapes
        self.constants = {t.name: numpy_helper.to_array(t) for t in one.initializer if _is_small(t)}
        self.vectors: dict[str, Sizes] = {}

    def find(self, table: str, name: str) -> Any:
        at: _Seen | None = self
        while at is not None:
            if name in getattr(at, table):
                return getattr(at, table)[name]
            at = at.parent
        return None


def _is_small(tensor: TensorProto) -> bool:
    is_inside = tensor.data_location != TensorProto.EXTERNAL and tensor.data_type != TensorProto.STRING
    return is_inside and graph.elements(tensor) <= _LARGEST


def _in_graph(
    model: ModelProto, one: GraphProto, inferred: GraphProto, parent: _Seen | None, fresh: Iterator[str]
) -> int:
    """`inferred`: the same graph with the shapes that were inferred of it."""
    seen = _Seen(one, _shapes(inferred), parent)
    outputs = {value.name for value in one.output}
    kept: list[NodeProto] = []
    decided = 0
    for node, with_shapes in zip(one.node, inferred.node, strict=True):
        made = _computed(node, seen, model) if node.domain in graph.MAIN_DOMAINS else None
        if made is not None:
            seen.constants[node.output[0]] = made
            if node.output[0] not in outputs:
                tensor = one.initializer.add()
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made), node.output[0]))
                continue
        if node.op_type == "If" and node.domain in graph.MAIN_DOMAINS:
            condition = seen.find("constants", node.input[0])
            if condition is not None and condition.size == 1 and not _has_sparse(node):
                kept += _taken(node, bool(condition.reshape(-1)[0]), one, fresh)
                decided += 1
                continue
        if node.op_type not in _REPEATS:
            for attribute, other in zip(node.attribute, with_shapes.attribute, strict=True):
                if attribute.type == onnx.AttributeProto.GRAPH:
                    decided += _in_graph(model, attribute.g, other.g, seen, fresh)
        kept.append(node)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del one.node[:]
    one.node.extend(copies)
    return decided


def _computed(node: NodeProto, seen: _Seen, model: ModelProto) -> np.ndarray | None:
    """The constant which a node makes, where sizes or constants say it; vectors of sizes known in part are noted."""
    if node.op_type == "Shape" and not node.attribute:
        sizes = seen.find("shapes", node.input[0])
        if sizes is None:
            return None
        seen.vectors[node.output[0]] = sizes
        return np.asarray(sizes, np.int64) if None not in sizes else None
    vector = seen.find("vectors", node.input[0]) if node.input else None
    if vector is not None and node.op_type == "Size":
        return np.asarray(len(vector), np.int64)
    if vector is not None and node.op_type == "Gather" and graph.attribute(node, "axis", 0) == 0:
        at = seen.find("constants", node.input[1])
        if at is not None and at.size == 1 and -len(vector) <= int(at.reshape(-1)[0]) < len(vector):
            size = vector[int(at.reshape(-1)[0])]
            return None if size is None else np.full(at.shape, size, np.int64)
        return None
    if node.op_type not in _LOGIC or not node.input or len(node.output) != 1:
        return None
    given: dict[str, np.ndarray] = {}
    for name in filter(None, node.input):
        value = seen.find("constants", name)
        if value is None:
            return None
        given[name] = value
    made = folding.evaluated(node, given, model)
    return made if made is not None and made.size <= _LARGEST else None


def _has_sparse(node: NodeProto) -> bool:
    return any(attribute.g.sparse_initializer for attribute in node.attribute)


def _taken(node: NodeProto, condition: bool, one: GraphProto, fresh: Iterator[str]) -> list[NodeProto]:
    """The nodes of the branch, under names of their own, giving out what the If gave; its constants go to `one`."""
    branch: GraphProto = graph.attribute(node, "then_branch" if condition else "else_branch", None)
    names = [value.name for value in branch.output]
    given = dict(zip(names, node.output, strict=True))
    own = [tensor.name for tensor in branch.initializer] + [
        name for inner in branch.node for name in inner.output if name
    ]
    # What the branch only passes on, or gives out twice, keeps its name, and an Identity follows.
    renamed = {name: next(fresh) for name in own}
    made_here = {name for inner in branch.node for name in inner.output}
    for name in names:
        if name in made_here and names.count(name) == 1 and given[name]:
            renamed[name] = given[name]
    for tensor in branch.initializer:
        copy = one.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = renamed[tensor.name]
    moved = GraphProto()
    for inner in branch.node:
        moved.node.add().CopyFrom(inner)
        moved.node[-1].output[:] = [renamed.get(name, name) for name in inner.output]
    folding.rename_inputs(moved, renamed)
    nodes = list(moved.node)
    for name, wanted in zip(names, node.output, strict=True):
        if wanted and renamed.get(name) != wanted:
            nodes.append(helper.make_node("Identity", [renamed.get(name, name)], [wanted]))
    return nodes
