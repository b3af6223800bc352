"""Structured pruning of layers: whole residual branches give way to one matrix, solved in closed form.

In y = x + f(x) a branch f (attention, feed-forward, two convolutions) which is nearly linear on real inputs is replaced
by x·W + b with the least squared error over calibration inputs, so that y = x·(I + W) + b. Branches go in the order of
the error that they leave in the sum for each parameter saved. Sources: ShortGPT (arXiv 2403.03853), ReplaceMe (arXiv
2505.02819).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    PassContext,
    PassOutcome,
    all_names,
    fresh_name,
    inputs_told,
    layer,
    sites,
)
from compression_service.engine.passes.widen import widened

SOURCE = "ShortGPT (arXiv 2403.03853); ReplaceMe (arXiv 2505.02819)"
NEEDS_FLOAT_SOURCE = True
DEFAULTS: dict[str, Any] = {"share": 0.25}
FEWEST_BRANCHES = 2
WIDEST = 2048  # numbers at a position of the stream
DAMPING = 1e-3
FEWEST_FEEDS = 1024
_KEEPING_WIDTH = ("Add", "Dropout", "Identity", "Mul", "Relu", "BatchNormalization")
KINDS = ("MatMul", "Gemm", "Conv", "LSTM", "GRU")


@dataclass
class _Branch:
    """The branch of one residual sum: y = Add(skip, out).

    `width` numbers at a position, on the last axis, or on axis 1 before so many `spatial` axes.
    """

    add: NodeProto
    skip: str
    out: str
    nodes: set[str]  # by their first outputs
    spatial: int
    width: int
    parameters: int
    matrix: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    bias: np.ndarray = field(default_factory=lambda: np.zeros(0))
    error: float = 0.0


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    found = _branches(graph.normalise(model))
    if len(found) < FEWEST_BRANCHES:
        count = "is 1 residual branch" if len(found) == 1 else f"are {len(found)} residual branches"
        return f"There {count} which one matrix could replace; at least {FEWEST_BRANCHES} are needed."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"share": of all branches' parameters which may go}."""
    params = DEFAULTS | params
    model = graph.normalise(widened(model))
    found = _branches(model)
    if len(found) < FEWEST_BRANCHES:
        raise NotApplicableError("There are no residual branches which one matrix could replace.")
    if not context.calibration:
        raise NotApplicableError("Pruning layers needs calibration inputs, and none could be made for this model.")
    feeds = context.more(FEWEST_FEEDS) if context.more else context.calibration
    solved = _solved(model, found, feeds, context)
    if not solved:
        raise NotApplicableError("The calibration inputs do not reach the residual branches.")
    left, chosen = params["share"] * sum(one.parameters for one in found), []
    gone: set[str] = set()
    for branch in sorted(solved, key=lambda one: one.error / (one.parameters - one.width**2)):
        saved = branch.parameters - branch.width**2
        if saved <= left and not (branch.nodes | {branch.add.output[0]}) & gone:
            chosen.append(branch)
            left -= saved
            gone |= branch.nodes
    if not chosen:
        raise NotApplicableError("The smallest residual branch is more than the share which may go.")
    layers = [_replace(model, branch, max(one.error for one in solved)) for branch in chosen]
    graph.drop_unused_initializers(model)
    words = (
        f"{len(chosen)} of {len(found)} residual branches replaced by one matrix each, by least squares over"
        f" {inputs_told(feeds, context)}"
    )
    return PassOutcome(model, words, params, layers)


def _branches(model: ModelProto) -> list[_Branch]:
    """Residual sums of the main graph whose branch nothing else reads and whose width a weight tells."""
    nodes = list(model.graph.node)
    index = {name: number for number, node in enumerate(nodes) for name in node.output if name}
    readers: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for name in node.input:
            readers.setdefault(name, []).append(number)
    outputs = {value.name for value in model.graph.output}
    weights = {site.tensor.name: site for site in sites(model, *KINDS, smallest=1)}
    found = []
    for number, node in enumerate(nodes):
        if node.op_type != "Add" or not all(name in index for name in node.input):
            continue
        for skip, out in (tuple(node.input), tuple(reversed(node.input))):
            inside = _between(nodes, index, readers, skip, out)
            if not inside or any(_escapes(nodes[i], inside, readers, number, outputs) for i in inside):
                continue
            used = {name for i in inside for name in nodes[i].input if name in weights}
            width = _width(nodes[index[out]], nodes, index, weights)
            parameters = sum(graph.elements(weights[name].tensor) for name in used)
            spatial = max(
                (len(weights[n].tensor.dims) - 2 for n in used if weights[n].node.op_type == "Conv"), default=0
            )
            if width and width <= WIDEST and parameters > 2 * width**2:
                names = {nodes[i].output[0] for i in inside}
                found.append(_Branch(node, skip, out, names, spatial, width, parameters))
                break
    return found


def _between(
    nodes: list[NodeProto], index: dict[str, int], readers: dict[str, list[int]], skip: str, out: str
) -> set[int]:
    """Numbers of the nodes on a way from `skip` to `out`; nodes stand in topological order."""
    first, last = index[skip], index[out]
    if first >= last:
        return set()
    ahead, values = set(), {skip}
    for number in range(first + 1, last + 1):
        if values & set(nodes[number].input):
            ahead.add(number)
            values.update(nodes[number].output)
    back, pending = set(), [out]
    while pending:
        number = index.get(pending.pop(), -1)
        if number in ahead and number not in back:
            back.add(number)
            pending += nodes[number].input
    return back


def _escapes(node: NodeProto, inside: set[int], readers: dict[str, list[int]], add: int, outputs: set[str]) -> bool:
    read = {number for name in node.output for number in readers.get(name, ())}
    return bool(read - inside - {add}) or any(name in outputs for name in node.output)


def _width(last: NodeProto, nodes: list[NodeProto], index: dict[str, int], weights: dict[str, Any]) -> int:
    """How many numbers a position of the branch's result has, by the last weight on the way to it; 0 unknown."""
    for _ in range(8):
        for name in last.input:
            if name in weights:
                dims = weights[name].tensor.dims
                if last.op_type == "Conv":
                    return int(dims[0])
                return int(dims[0 if graph.attribute(last, "transB", 0) else -1])
        before = [name for name in last.input if name in index]
        if not before or last.op_type not in (
            "Add",
            "Dropout",
            "Identity",
            "Mul",
            "Reshape",
            "Relu",
            "BatchNormalization",
        ):
            return 0
        last = nodes[index[before[0]]]
    return 0


def _solved(
    model: ModelProto, found: list[_Branch], feeds: Sequence[activations.Feed], context: PassContext
) -> list[_Branch]:
    """The branches which calibration reaches, each with matrix, bias and the error they leave, of the sum's energy."""
    try:
        moments = _moments(model, found, feeds, context, context.seconds_cap)
    except Exception:  # a sum which broadcasts: such a branch is not of the stream's shape, and does not run joined
        moments = {}
        for branch in found:
            with contextlib.suppress(Exception):
                moments |= _moments(model, [branch], feeds, context, context.seconds_cap / len(found))
    solved = []
    for branch in found:
        seen = moments.get(branch.add.output[0])
        if seen is not None and seen.count > branch.width:
            _fit(branch, seen)
            solved.append(branch)
    return solved


def _moments(
    model: ModelProto, found: list[_Branch], feeds: Sequence[activations.Feed], context: PassContext, seconds_cap: float
) -> dict[str, activations.Moments]:
    """The moments of [x, f] side by side, which hold XᵀX, XᵀF and FᵀF, by the name of the sum."""
    joined = ModelProto()
    joined.CopyFrom(model)
    names = all_names(joined)
    taps: activations.Taps = {}
    for branch in found:
        both = fresh_name(names, f"{branch.add.output[0]}_both")
        axis = 1 if branch.spatial else -1
        joined.graph.node.append(helper.make_node("Concat", [branch.skip, branch.out], [both], axis=axis))
        taps[branch.add.output[0]] = (both, 2 * branch.width, _rows(bool(branch.spatial)))
    return activations.moments(joined, taps, feeds, context.work, seconds_cap)


def _rows(spatial: bool) -> activations.Rows:
    return lambda value, most: activations.matrix_rows(np.moveaxis(value, 1, -1) if spatial else value, most)


def _fit(branch: _Branch, seen: activations.Moments) -> None:
    """min ‖F − X·W − b‖²; the damping pulls W towards zero, where the branch is left out."""
    width, mean = branch.width, seen.total / seen.count
    covariance = seen.gram / seen.count - np.outer(mean, mean)
    given, across, made = covariance[:width, :width], covariance[:width, width:], covariance[width:, width:]
    damped = given + np.eye(width) * DAMPING * max(float(np.trace(given)) / width, 1e-12)
    branch.matrix = np.linalg.solve(damped, across)
    branch.bias = mean[width:] - mean[:width] @ branch.matrix
    left = np.trace(made) - 2 * np.trace(branch.matrix.T @ across) + np.trace(branch.matrix.T @ given @ branch.matrix)
    whole = float(np.trace(given) + 2 * np.trace(across) + np.trace(made))
    branch.error = max(0.0, float(left)) / max(whole, 1e-30)


def _replace(model: ModelProto, branch: _Branch, worst: float) -> dict[str, Any]:
    names = all_names(model)
    matrix = (np.eye(branch.width) + branch.matrix).astype(np.float32)
    weight, bias = fresh_name(names, f"{branch.out}_matrix"), fresh_name(names, f"{branch.out}_bias")
    output = branch.add.output[0]
    if branch.spatial:
        stored: np.ndarray = np.ascontiguousarray(matrix.T).reshape(branch.width, branch.width, *[1] * branch.spatial)
        made = [helper.make_node("Conv", [branch.skip, weight, bias], [output])]
    else:
        stored, product = matrix, fresh_name(names, f"{branch.out}_product")
        made = [
            helper.make_node("MatMul", [branch.skip, weight], [product]),
            helper.make_node("Add", [product, bias], [output]),
        ]
    model.graph.initializer.append(numpy_helper.from_array(stored, weight))
    model.graph.initializer.append(numpy_helper.from_array(branch.bias.astype(np.float32), bias))
    rebuilt: list[NodeProto] = []
    for node in model.graph.node:
        if node.output[0] == output:
            rebuilt += made
        elif node.output[0] not in branch.nodes:
            rebuilt.append(NodeProto.FromString(node.SerializeToString()))
    del model.graph.node[:]
    model.graph.node.extend(rebuilt)
    return layer(
        branch.add.name or output, "Add", (branch.width, branch.width), 32, branch.parameters * 4,
        branch.width**2 * 4, branch.error, worst, "a residual branch replaced by one matrix",
    )  # fmt: skip
