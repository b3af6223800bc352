"""Convolutions along one axis written as products, for passes which have a kernel for products only.

Source: im2col (Chellapilla et al. 2006, "High performance convolutional neural networks for document processing").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from compression_service.engine import graph, streamed
from compression_service.engine.passes.base import Site, all_names, fresh_name, replace_nodes, sites, store

SMALLEST_CONVOLUTION, MOST_COPIES = 1024, 16


@dataclass(frozen=True)
class Moved:
    """A value which holds another's numbers in other places: that one, and by their outputs the nodes which move."""

    given: str
    nodes: list[str]


def convolutions_as_products(model: ModelProto) -> dict[str, Moved]:
    """Convolutions which look along one axis as what they are, U·W, where none looks along two.

    x [B, C, L] is padded, its k moved copies stand side by side (U [B, L', k·C]), and W is [k·C, M]; a kernel of 1
    needs no copies; further axes of size 1 in the kernel go along. ConvInteger, which other tools write, is slower than
    float (magika 4.7 times). Depthwise ones stay. Returns for each U how it came about.
    """
    moved: dict[str, Moved] = {}
    if has_planes(model):
        return moved
    names = all_names(model)
    for scope in list(graph.scopes(model.graph)):
        replacements = {}
        for index, node in enumerate(scope.graph.node):
            tensor = scope.find(node.input[1]) if node.op_type == "Conv" and node.domain in graph.MAIN_DOMAINS else None
            if tensor is None or tensor.data_type != TensorProto.FLOAT:
                continue
            if graph.elements(tensor) >= SMALLEST_CONVOLUTION and taken(Site(scope, node, 1, tensor)):
                replacements[index] = _as_product(scope, node, tensor, names, moved)
        replace_nodes(scope.graph, replacements)
    graph.drop_unused_initializers(model)
    return moved


def quantize_before_moving(main: GraphProto, moved: dict[str, Moved]) -> None:
    """Quantize x itself and move its bytes: U in float would be four times as large, and x is quantized only once."""
    made_by = {name: node for node in main.node for name in node.output}
    quantizers = [node for node in main.node if node.op_type == "DynamicQuantizeLinear" and node.input[0] in moved]
    early: dict[str, list[NodeProto]] = {}
    for node in quantizers:
        how = moved[node.input[0]]
        tail = made_by[node.input[0]]
        tail.output[0], node.output[0] = node.output[0], f"{node.output[0]}_before"
        for name in how.nodes:
            one = tail if name == node.input[0] else made_by[name]
            one.input[:] = [node.output[0] if given == how.given else given for given in one.input]
            if one.op_type == "Pad":
                one.input.append(node.output[2])
        first = next(one for one in main.node if node.output[0] in one.input)
        node.input[0] = how.given
        early.setdefault(first.output[0], []).append(NodeProto.FromString(node.SerializeToString()))
    if early:
        gone = {id(node) for node in quantizers}
        rebuilt: list[NodeProto] = []
        for node in main.node:
            if id(node) not in gone:
                rebuilt += [*early.get(node.output[0], ()), NodeProto.FromString(node.SerializeToString())]
        del main.node[:]
        main.node.extend(rebuilt)


def taken(site: Site) -> bool:
    """Whether a convolution has a form which can be written so: one group, a kernel of at most MOST_COPIES."""
    kernel, axis = site.tensor.dims[2:], _axis(site.tensor)
    if not kernel or graph.attribute(site.node, "group", 1) != 1 or kernel[axis] > MOST_COPIES:
        return False
    strides = graph.attribute(site.node, "strides", [1] * len(kernel))
    if any(stride != 1 for place, stride in enumerate(strides) if place != axis):
        return False
    return kernel[axis] == 1 or graph.attribute(site.node, "auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")


def _axis(tensor: TensorProto) -> int:
    """The axis along which a kernel looks, counted from the first behind the channels."""
    return int(np.argmax(tensor.dims[2:])) if len(tensor.dims) > 2 else 0


def has_planes(model: ModelProto) -> bool:
    """Whether any kernel looks along two axes: then convolutions have kernels of their own which are faster."""
    found = sites(model, "Conv", "ConvTranspose", smallest=1)
    return any(sum(size > 1 for size in site.tensor.dims[2:]) > 1 for site in found)


def _as_product(
    scope: graph.Scope, node: NodeProto, tensor: TensorProto, names: set[str], moved: dict[str, Moved]
) -> list[NodeProto]:
    outputs, inputs, *spatial = tensor.dims
    weights = streamed.array(tensor).reshape(outputs, inputs, -1)
    columns = weights.transpose(2, 1, 0).reshape(-1, outputs)
    matrix = store(scope, columns, f"{tensor.name}_matrix", names)
    scope.initializers[matrix] = scope.graph.initializer[-1]
    rows, product, turned = (fresh_name(names, f"{node.output[0]}_{word}") for word in ("rows", "product", "sum"))
    unfolded, made = _unfolded(scope, node, tensor, names)
    last = len(spatial) + 1
    made.append(helper.make_node("Transpose", [unfolded], [rows], perm=[0, *range(2, last + 1), 1]))
    moved[rows] = Moved(node.input[0], [one.output[0] for one in made])
    made.append(
        helper.make_node("MatMul", [rows, matrix], [product], name=fresh_name(names, f"{node.output[0]}_matmul"))
    )
    if len(node.input) > 2 and node.input[2]:
        made.append(helper.make_node("Add", [product, node.input[2]], [turned]))
        product = turned
    return [*made, helper.make_node("Transpose", [product], [node.output[0]], perm=[0, last, *range(1, last)])]


def _unfolded(scope: graph.Scope, node: NodeProto, tensor: TensorProto, names: set[str]) -> tuple[str, list[NodeProto]]:
    """(the value [B, k·C, …] whose columns the kernel sees, the nodes which make it)."""
    axis, axes = _axis(tensor), len(tensor.dims) - 2
    kernel = tensor.dims[2 + axis]
    stride = graph.attribute(node, "strides", [1] * axes)[axis]
    dilation = graph.attribute(node, "dilations", [1] * axes)[axis]
    pads = graph.attribute(node, "pads", [0] * 2 * axes)
    value = node.input[0]
    made: list[NodeProto] = []

    def numbers(*values: int) -> str:
        return store(scope, np.asarray(values, np.int64), f"{node.output[0]}_at", names)

    if any(pads):
        padded = fresh_name(names, f"{node.output[0]}_padded")
        made.append(helper.make_node("Pad", [value, numbers(0, 0, *pads[:axes], 0, 0, *pads[axes:])], [padded]))
        value = padded
    if kernel == 1 and stride == 1:
        return value, made
    along, step, copies = numbers(2 + axis), numbers(stride), []
    for tap in range(kernel):
        behind = (kernel - 1 - tap) * dilation
        copies.append(fresh_name(names, f"{node.output[0]}_tap"))
        bounds = [numbers(tap * dilation), numbers(-behind if behind else np.iinfo(np.int64).max)]
        made.append(helper.make_node("Slice", [value, *bounds, along, step], [copies[-1]]))
    if kernel == 1:
        return copies[0], made
    side_by_side = fresh_name(names, f"{node.output[0]}_taps")
    return side_by_side, [*made, helper.make_node("Concat", copies, [side_by_side], axis=1)]
