"""Patch-based inference: the first layers of an image network run over a few bands of rows, one after the other.

There the values are largest, and an integer convolution keeps a 32-bit sum of each on top; done in bands, only the
small result behind them is ever whole. Bands overlap by what the kernels see, so every number stays what it was; the
overlap is computed twice. Source: Lin et al. 2021, MCUNetV2 (arXiv 2110.15352).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import PassContext, PassOutcome, all_names, fresh_name, plural, store
from compression_service.engine.passes.patterns import Shapes, shapes_of

SOURCE = "Lin et al. 2021, MCUNetV2 (arXiv 2110.15352)"
NEEDS_FLOAT_SOURCE = False
ROWS = 2  # the axis of rows in [batch, channels, rows, columns]
SLICE_INPUT_OPSET = 10
WINDOWS = {"Conv": 1, "QLinearConv": 3, "MaxPool": None, "AveragePool": None}  # which input holds the kernel
ALONE = {
    "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "PRelu", "Softplus",
    "QuantizeLinear", "DequantizeLinear", "BatchNormalization", "Add", "Sub", "Mul", "Div", "Cast", "Identity",
}  # fmt: skip
BY_CHANNEL = {"BatchNormalization", "QuantizeLinear", "DequantizeLinear"}
BANDS = (2, 3, 4, 6, 8)
MOST_TWICE = 0.1  # of the chain's multiplications
LEAST_SAVED, LEAST_BYTES = 0.1, 256 * 1024
SAME_MODEL = 0.9999
POINTER_BYTES = 8
NOTHING = "No chain of convolutions over planes of a known height needs enough memory for bands of rows to pay."


@dataclass(frozen=True)
class _Window:
    """What one node sees of the rows above it."""

    kernel: int  # dilation included
    stride: int
    before: int  # rows of padding
    after: int


@dataclass
class _Link:
    """One node of the chain with what lies around it."""

    node: NodeProto
    window: _Window
    given_rows: int
    made_rows: int
    given_bytes: int
    made_bytes: int
    room_bytes: int  # what its kernel keeps while it runs
    work: int  # multiplications


# For each link (first row, end) of what it reads, and the rows of padding which stay before and after it.
_Band = list[tuple[int, int, int, int]]


@dataclass(frozen=True)
class _Choice:
    """Links to be done in bands; `before` and `saved` in bytes, by the shapes."""

    source: str
    links: list[_Link]
    bands: list[_Band]
    before: int
    saved: int


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if graph.opset(model) < SLICE_INPUT_OPSET or not ({"Conv", "QLinearConv"} & set(graph.operators(model))):
        return NOTHING
    return None if _best(model) else NOTHING


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """The same numbers, the first layers in bands. Raises NotApplicableError where it would not pay."""
    model = graph.normalise(model)
    best = _best(model)
    if best is None:
        raise NotApplicableError(NOTHING)
    written = _written(model, best)
    if context.runs_like and (agreement := context.runs_like(model, written)) < SAME_MODEL:
        raise NotApplicableError(f"In bands the graph agrees with the whole one only to {agreement:.4f}.")
    changed = (
        f"the first {plural(len(best.links), 'layer')} in {len(best.bands)} bands of rows: by their shapes"
        f" {best.before / 1e6:.2f} MB of values at a time become {(best.before - best.saved) / 1e6:.2f} MB"
    )
    return PassOutcome(written, changed, params | {"bands": len(best.bands), "layers": len(best.links)})


def _best(model: ModelProto) -> _Choice | None:
    """What saves most, of about as much the shortest chain in the fewest bands; None where nothing pays."""
    best: _Choice | None = None
    for source, chain, behind in _chains(model):
        for end in range(1, len(chain) + 1):
            for count in BANDS:
                found = _choice(source, chain, end, behind, count)
                if found and (best is None or found.saved > 1.05 * best.saved):
                    best = found
    return best


def _choice(source: str, chain: list[_Link], end: int, behind: int, count: int) -> _Choice | None:
    """The first `end` links in `count` bands, None where that saves too little or computes too much twice."""
    links = chain[:end]
    bands = _bands(links, count) if any(link.work for link in links) else None
    if bands is None:
        return None
    rest = max([behind, *map(_whole, chain[end:])])
    before = max(rest, *map(_whole, links))
    saved = before - max(rest, _in_bands(links, bands))
    return _Choice(source, links, bands, before, saved) if saved >= max(LEAST_BYTES, LEAST_SAVED * before) else None


def _chains(model: ModelProto) -> Iterator[tuple[str, list[_Link], int]]:
    """From each input of the model (its name, the chain, the bytes of the largest node known elsewhere)."""
    shapes = shapes_of(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    uses = graph.names_used(model)
    for value in model.graph.input:
        chain: list[_Link] = []
        name = value.name
        while uses[name] == 1 and len(readers.get(name, ())) == 1:
            link = _link(readers[name][0], name, constants, shapes)
            if link is None:
                break
            chain.append(link)
            name = link.node.output[0]
        inside = {link.node.output[0] for link in chain}
        others = (_known_bytes(node, shapes) for node in model.graph.node if node.output[0] not in inside)
        yield value.name, chain, max(others, default=0)


def _shape(name: str, shapes: Shapes) -> tuple[int, tuple[int, ...]] | None:
    """(element type, dims with a batch of 1); None where a dimension behind the batch is unknown."""
    kind, dims = shapes.get(name, (0, []))
    if not kind or len(dims) <= ROWS or not all(dims[1:]) or dims[0] > 1:
        return None
    return kind, (1, *dims[1:])


def _link(node: NodeProto, name: str, constants: dict[str, TensorProto], shapes: Shapes) -> _Link | None:
    """The node, entered by `name`, as a link; None where a row of its output needs more than a few rows of that."""
    given, made = _shape(name, shapes), _shape(node.output[0], shapes)
    if given is None or made is None or node.domain not in graph.MAIN_DOMAINS or len(node.output) != 1:
        return None
    others = [one for one in node.input if one and one != name]
    if any(one not in constants for one in others):
        return None
    kernel, depth = [1], 0
    window: _Window | None = _Window(1, 1, 0, 0)
    if node.op_type in WINDOWS and node.input[0] == name:
        weights_at = WINDOWS[node.op_type]
        if weights_at:
            _, channels, *kernel = constants[node.input[weights_at]].dims
            depth = channels * math.prod(kernel)
        else:
            kernel = list(graph.attribute(node, "kernel_shape", []))
        window = _window(node, kernel, given[1], made[1])
    elif (
        node.op_type not in ALONE
        or given[1] != made[1]
        or not all(_same_in_rows(constants[one], node, len(made[1])) for one in others)
    ):
        return None
    if window is None:
        return None
    count = math.prod(made[1])
    room = _sums_bytes(node, count)
    if room and math.prod(kernel) > 1:  # beside them onnxruntime keeps a pointer to whatever a kernel sees
        room += POINTER_BYTES * math.prod([*made[1][ROWS:], *kernel])
    given_bytes, made_bytes = (int(math.prod(dims) * graph.item_bytes(kind)) for kind, dims in (given, made))
    return _Link(node, window, given[1][ROWS], made[1][ROWS], given_bytes, made_bytes, room, count * depth)


def _same_in_rows(tensor: TensorProto, node: NodeProto, rank: int) -> bool:
    """Whether a constant which a node of ALONE reads says the same for every row."""
    if node.op_type in BY_CHANNEL:
        return math.prod(tensor.dims) == 1 or graph.attribute(node, "axis", 1) == 1
    behind = rank - ROWS  # counted from the end, as broadcasting does
    return len(tensor.dims) < behind or tensor.dims[-behind] == 1


def _window(node: NodeProto, kernel: list[int], given: tuple[int, ...], made: tuple[int, ...]) -> _Window | None:
    axes = len(given) - ROWS
    plain = graph.attribute(node, "auto_pad", b"NOTSET") == b"NOTSET" and not graph.attribute(node, "ceil_mode", 0)
    if len(kernel) != axes or not plain:
        return None
    stride = graph.attribute(node, "strides", [1] * axes)[0]
    pads = graph.attribute(node, "pads", [0] * 2 * axes)
    seen = (kernel[0] - 1) * graph.attribute(node, "dilations", [1] * axes)[0] + 1
    fits = (given[ROWS] + pads[0] + pads[axes] - seen) // stride + 1 == made[ROWS]
    return _Window(seen, stride, pads[0], pads[axes]) if fits else None


def _sums_bytes(node: NodeProto, count: int) -> int:
    """Bytes of the 32-bit sums which an integer convolution keeps of `count` values that it makes."""
    return 4 * count if node.op_type == "QLinearConv" else 0


def _known_bytes(node: NodeProto, shapes: Shapes) -> int:
    """Bytes of what a node reads and makes, as far as shapes are known."""
    total = 0
    for name in dict.fromkeys([*node.input, *node.output]):
        kind, dims = shapes.get(name, (0, []))
        if kind and dims and all(dims[1:]):
            count = math.prod(dims[1:])
            total += int(count * graph.item_bytes(kind))
            total += _sums_bytes(node, count) if name in node.output else 0
    return total


def _whole(link: _Link) -> int:
    return link.given_bytes + link.made_bytes + link.room_bytes


def _bands(links: list[_Link], count: int) -> list[_Band] | None:
    """For each band what each link sees; None where a band would be too thin or too much would be done twice."""
    rows = links[-1].made_rows
    if rows < 2 * count:
        return None
    found, work = [], 0.0
    for number in range(count):
        first, end = number * rows // count, (number + 1) * rows // count
        band: _Band = []
        for link in reversed(links):
            work += link.work * (end - first) / link.made_rows
            window, height = link.window, link.given_rows
            top = first * window.stride - window.before
            bottom = (end - 1) * window.stride - window.before + window.kernel
            first, end = max(0, top), min(height, bottom)
            if end - first < 1:
                return None
            band.insert(0, (first, end, max(0, -top), max(0, bottom - height)))
        found.append(band)
    whole = sum(link.work for link in links)
    return None if whole and work > (1 + MOST_TWICE) * whole else found


def _in_bands(links: list[_Link], bands: list[_Band]) -> int:
    """The most bytes at a time: the input, the result in parts, and what one band needs; or the parts joined."""
    most = 0
    for band in bands:
        for link, (first, end, _, _) in zip(links, band, strict=True):
            share = (end - first) / link.given_rows
            most = max(most, int(share * _whole(link)))
    last = links[-1].made_bytes
    return max(links[0].given_bytes + last + most, 2 * last)


def _written(model: ModelProto, choice: _Choice) -> ModelProto:
    scope, names = graph.Scope(model.graph), all_names(model)
    last = choice.links[-1].node.output[0]
    axis = store(scope, np.asarray([ROWS], np.int64), "band_axis", names)
    entering = [choice.source, *(link.node.output[0] for link in choice.links[:-1])]
    made: list[NodeProto] = []
    parts = []
    for number, band in enumerate(choice.bands):
        bounds = [store(scope, np.asarray([row], np.int64), f"band_{number}_{row}", names) for row in band[0][:2]]
        value = fresh_name(names, f"{choice.source}_band_{number}")
        made.append(helper.make_node("Slice", [choice.source, *bounds, axis], [value]))
        for link, enters, (_, _, before, after) in zip(choice.links, entering, band, strict=True):
            node = NodeProto.FromString(link.node.SerializeToString())
            node.input[:] = [value if name == enters else name for name in node.input]
            value = node.output[0] = fresh_name(names, f"{link.node.output[0]}_band_{number}")
            node.name = fresh_name(names, f"{link.node.name or link.node.output[0]}_node_{number}")
            if link.window.before or link.window.after:
                pads = next(one for one in node.attribute if one.name == "pads").ints
                pads[0], pads[len(pads) // 2] = before, after
            made.append(node)
        parts.append(value)
    made.append(helper.make_node("Concat", parts, [last], axis=ROWS))
    gone = {link.node.output[0] for link in choice.links}
    rest = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node if node.output[0] not in gone]
    del model.graph.node[:]
    model.graph.node.extend([*made, *rest])
    return model
