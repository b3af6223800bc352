"""Where channels can be removed: a producer, what follows it channel by channel, and the weights behind.

A region starts at a product or convolution with a constant weight. Everything that its output runs through must treat
channels apart (activations, norms by channel, sums with constants, pooling, depthwise convolutions), and everything
that leaves must be the input of a product or convolution with a constant weight. Then a channel can go from all of
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from compression_service.engine import graph, streamed

UNARY = {
    "Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Erf", "Gelu", "HardSigmoid", "HardSwish", "Softplus",
    "Clip", "Abs", "Neg", "Exp", "Sqrt", "Identity", "Mish", "Softsign", "Celu", "ThresholdedRelu", "FastGelu",
    "QuickGelu", "Dropout", "Cast",
}  # fmt: skip
BINARY = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "BiasGelu"}
POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "Resize", "Upsample"}
LEAST_CHANNELS = 8
NORMS = {"BatchNormalization", "InstanceNormalization"}


@dataclass
class Slice:
    """A constant which carries `width` numbers, rows or columns a channel: cut it along `axis`."""

    tensor: str
    axis: int
    width: int = 1


@dataclass
class ShapeFix:
    """A Reshape whose shape names the channels: its entry at `place` becomes their number times `per`."""

    node: NodeProto
    entries: list[int | None]  # None where the graph computes one
    place: int
    per: int


@dataclass
class Region:
    """Channels of one producer. `consumers` have the channel as the input axis of their weight."""

    producer: NodeProto
    channels: int
    spatial: bool  # channels on axis 1 (convolutions), else on the last axis
    slices: list[Slice] = field(default_factory=list)
    depthwise: list[NodeProto] = field(default_factory=list)
    consumers: list[NodeProto] = field(default_factory=list)
    reshapes: list[NodeProto] = field(default_factory=list)  # flatten an image to [batch, everything]
    least: int = LEAST_CHANNELS  # so many channels stay
    also: list[str] = field(default_factory=list)  # further weights which lose the channel (of queries and keys)
    shapes: list[ShapeFix] = field(default_factory=list)
    spread: int = 1  # inputs of a consumer for one channel, when a Flatten stands between (positions of the image)


def regions(model: ModelProto) -> list[Region]:
    """All regions of the main graph of a normalised model, in the graph's order."""
    main = model.graph
    constants = {tensor.name: tensor for tensor in main.initializer}
    readers = _readers(main)
    outputs = {value.name for value in main.output}
    inner = _names_in_subgraphs(main)
    uses = graph.names_used(model)
    found = []
    for node in main.node:
        region = _begun(node, constants)
        if region and _followed(region, node.output[0], readers, constants, outputs | inner):
            weights = [region.producer.input[1], *(c.input[1] for c in region.consumers)]
            shared = [*weights, *(s.tensor for s in region.slices if s.tensor not in weights)]
            if region.consumers and all(uses[name] == 1 for name in set(shared)) and len(set(weights)) == len(weights):
                found.append(region)
    return found


def _readers(main: GraphProto) -> dict[str, list[NodeProto]]:
    found: dict[str, list[NodeProto]] = {}
    for node in main.node:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def _names_in_subgraphs(main: GraphProto) -> set[str]:
    names: set[str] = set()
    for node in main.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs:
                for below in graph.graphs_below(inner):
                    for one in below.node:
                        names.update(one.input)
                    names.update(value.name for value in below.output)
    return names


def _begun(node: NodeProto, constants: dict[str, TensorProto]) -> Region | None:
    if node.domain not in graph.MAIN_DOMAINS or len(node.input) < 2:
        return None
    weight = constants.get(node.input[1])
    if weight is None or weight.data_type != TensorProto.FLOAT:
        return None
    rank = len(weight.dims)
    if node.op_type == "MatMul" and rank == 2 and node.input[0] not in constants:
        return Region(node, weight.dims[1], False, [Slice(node.input[1], 1)])
    if node.op_type == "Gemm" and rank == 2 and not graph.attribute(node, "transA", 0):
        axis = 0 if graph.attribute(node, "transB", 0) else 1
        region = Region(node, weight.dims[axis], False, [Slice(node.input[1], axis)])
        return region if _bias(region, node, constants) else None
    if node.op_type == "Conv" and graph.attribute(node, "group", 1) == 1:
        region = Region(node, weight.dims[0], True, [Slice(node.input[1], 0)])
        return region if _bias(region, node, constants) else None
    return None


def _bias(region: Region, node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    if len(node.input) < 3 or not node.input[2]:
        return True
    bias = constants.get(node.input[2])
    if bias is None:
        return False
    if graph.elements(bias) == 1:
        return True
    if bias.dims[-1] != region.channels:
        return False
    region.slices.append(Slice(node.input[2], len(bias.dims) - 1))
    return True


def _followed(
    region: Region, name: str, readers: dict[str, list[NodeProto]], constants: dict[str, TensorProto], stops: set[str]
) -> bool:
    """Walk everything that depends on the producer; False as soon as something mixes channels or leaves."""
    inside, queue, done = {name}, [name], set()
    pending: list[NodeProto] = []
    flattened: set[str] = set()
    while queue:
        current = queue.pop()
        if current in stops:
            return False
        for node in readers.get(current, []):
            if id(node) in done:
                continue
            if _consumes(region, node, current, constants, current in flattened):
                done.add(id(node))
                continue
            if not _apart(node, inside, constants):
                pending.append(node)
                continue
            done.add(id(node))
            if node.op_type in ("Flatten", "Reshape"):
                if not region.spatial or not _flattens(node, constants):
                    return False
                if node.op_type == "Reshape":
                    region.reshapes.append(node)
                flattened.add(node.output[0])
            elif current in flattened:
                flattened.update(node.output)
            if not _cut(region, node, constants, current in flattened):
                return False
            inside.add(node.output[0])
            queue.append(node.output[0])
        pending = [node for node in pending if id(node) not in done]
    return not pending


def _consumes(region: Region, node: NodeProto, name: str, constants: dict[str, TensorProto], flattened: bool) -> bool:
    if node.domain not in graph.MAIN_DOMAINS or len(node.input) < 2 or node.input[0] != name:
        return False
    weight = constants.get(node.input[1])
    if weight is None or weight.data_type != TensorProto.FLOAT or name in list(node.input)[1:]:
        return False
    rank = len(weight.dims)
    if region.spatial and not flattened:
        fits = node.op_type == "Conv" and graph.attribute(node, "group", 1) == 1 and weight.dims[1] == region.channels
    elif node.op_type == "MatMul":
        fits = rank == 2 and weight.dims[0] % region.channels == 0
        region.spread = weight.dims[0] // region.channels if fits else region.spread
    elif node.op_type == "Gemm" and not graph.attribute(node, "transA", 0) and rank == 2:
        width = weight.dims[1 if graph.attribute(node, "transB", 0) else 0]
        fits = width % region.channels == 0
        region.spread = width // region.channels if fits else region.spread
    else:
        fits = False
    if fits and (flattened or region.spatial or region.spread == 1):
        region.consumers.append(node)
        return True
    return False


def _apart(node: NodeProto, inside: set[str], constants: dict[str, TensorProto]) -> bool:
    """Whether every channel of the node's output comes from the same channel of its inputs alone."""
    kind = node.op_type
    if kind not in UNARY | BINARY | POOLS | NORMS | {"Flatten", "Reshape", "Conv"}:
        return False
    if kind == "Conv":
        weight = constants.get(node.input[1])
        group = graph.attribute(node, "group", 1)
        return weight is not None and group > 1 and weight.dims[1] == 1 and weight.dims[0] == group
    if len(node.output) > 1 and any(node.output[1:]):
        return False
    return all(not name or name in inside or name in constants for name in node.input)


def _flattens(node: NodeProto, constants: dict[str, TensorProto]) -> bool:
    """Whether the node makes [batch, everything] of an image; so does a Reshape to a constant [batch, K]."""
    if node.op_type == "Flatten":
        return bool(graph.attribute(node, "axis", 1) == 1)
    shape = constants.get(node.input[1]) if len(node.input) > 1 else None
    if shape is None or graph.elements(shape) != 2 or graph.attribute(node, "allowzero", 0):
        return False
    first, second = streamed.array(shape).tolist()
    return first in (-1, 0, 1) and second != 0 and (first, second) != (-1, -1)


def _cut(region: Region, node: NodeProto, constants: dict[str, TensorProto], flattened: bool) -> bool:
    """Note which constants of the node have to lose the channel as well; False when one does not fit."""
    if node.op_type in POOLS | {"Clip", "Flatten", "Reshape", "Dropout"}:
        return True
    if node.op_type == "Conv":
        region.depthwise.append(node)
        if constants[node.input[1]].dims[0] != region.channels:
            return False
        region.slices.append(Slice(node.input[1], 0))
        return _bias(region, node, constants)
    for name in node.input:
        tensor = constants.get(name)
        if tensor is None or graph.elements(tensor) == 1:
            continue
        if node.op_type in NORMS:
            axis = 0
        elif region.spatial:
            axis = len(tensor.dims) - 3
        else:
            axis = len(tensor.dims) - 1
        if flattened or axis < 0 or tensor.dims[axis] != region.channels:
            return False
        if graph.elements(tensor) != region.channels:
            return False
        if all(s.tensor != name for s in region.slices):
            region.slices.append(Slice(name, axis))
    return True
