"""Structured pruning: hidden neurons, channels and attention heads go, and least squares repairs the layer behind.

No gradient, calibration inputs only. For each region (passes/regions.py) channels are dropped in the order of what
their loss costs after the weights of the consumers have been solved anew, in closed form; the cuts are then shared
out among the regions where they cost least. The mean of what was removed goes into the consumer's bias. Sources:
Hassibi & Stork 1992 (optimal brain surgeon); Kwon et al. 2022 (arXiv 2204.09656); LIAR (arXiv 2407.13331); CORP
(arXiv 2602.05243).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.attention import attention_regions, fixed
from compression_service.engine.passes.base import PassContext, PassOutcome, inputs_told, layer, plural
from compression_service.engine.passes.regions import LEAST_CHANNELS, Region, regions
from compression_service.engine.passes.widen import widened
from compression_service.engine.runner import RunError

SOURCE = "Kwon et al. 2022 (arXiv 2204.09656); LIAR (arXiv 2407.13331); CORP (arXiv 2602.05243)"
NEEDS_FLOAT_SOURCE = True
DEFAULTS: dict[str, Any] = {"share": 0.25, "most": 0.75, "multiple": 8, "heads": True}
STEPS = 16  # a region can be cut at so many places
WIDEST = 4096  # inputs of a consumer; above, its inverse costs more than the pruning is worth
DAMPING = 2e-2  # with 1e-3, 200 sentences of MiniLM were learnt by heart: a cosine of 0.982 on others for 0.987
FEWEST_FEEDS = 1024  # what is solved anew has thousands of unknowns
TOGETHER, LOOKED_AT = 8, 6  # so many channels go at once, chosen among so many times more


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if not _found(graph.normalise(model)):
        return (
            "There are no hidden neurons or channels which only constant weights produce and consume (at least"
            f" {2 * LEAST_CHANNELS} of them in a layer), nor attention heads: residual sums and joined"
            " outputs keep theirs."
        )
    return None


@dataclass
class _Consumer:
    """W [K, N] behind a region with the moments of its inputs; `centred` when its bias can take up the means."""

    node: NodeProto
    weights: np.ndarray
    gram: np.ndarray
    mean: np.ndarray
    bias: str | None  # an initializer, "" when one can be added, None when there is no place for it


@dataclass
class _Plan:
    """How a region would be thinned out: after each step the channels which are left and the relative error so far."""

    region: Region
    consumers: list[_Consumer]
    lives: list[np.ndarray]
    errors: list[float]
    parameters: float  # of one channel, in producer and consumers


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"share": of all regions' parameters, "most": of one region's, "multiple", "heads": or not}."""
    params = DEFAULTS | params
    source, model = model, graph.normalise(widened(model))
    found = _found(model, params["heads"])
    if not found:
        raise NotApplicableError("No region of channels is left in this graph.")
    if not context.calibration:
        raise NotApplicableError("Structured pruning needs calibration inputs, and none could be made for this model.")
    taps = {}
    for region in found:
        for node in region.consumers:
            weights = _columns(model, node)
            taps[node.output[0]] = (node.input[0], weights.shape[0], _rows(node, model))
    feeds = context.more(FEWEST_FEEDS) if context.more else context.calibration
    moments = activations.moments(
        model, taps, feeds, context.work, context.seconds_cap, context.kept("prune_neurons", feeds)
    )
    plans = [plan for region in found if (plan := _planned(region, model, moments, params)) is not None]
    if not plans:
        raise NotApplicableError("The calibration inputs do not reach the layers which could be pruned.")
    cuts = _shared_out(plans, params["share"])
    layers: list[dict[str, Any]] = []
    for plan, step in zip(plans, cuts, strict=True):
        if step:
            layers.append(_executed(model, plan, step))
    if not layers:
        raise NotApplicableError("No channel could be removed within the share which was asked for.")
    graph.drop_unused_initializers(model)
    heads = any(plan.region.also and step for plan, step in zip(plans, cuts, strict=True))
    if heads and context.runs_like and not _runs(source, model, context):
        return apply(source, params | {"heads": False}, context)
    removed = sum(one["shape"][1] - one["shape"][0] for one in layers)
    channels = sum(plan.region.channels for plan in plans)
    words = (
        f"{removed:,} of {channels:,} hidden channels{' and heads' if heads else ''} removed from"
        f" {plural(len(layers), 'layer')}, the layers behind them solved anew by least squares over"
        f" {inputs_told(feeds, context)}"
    )
    return PassOutcome(model, words, params, layers)


def _runs(source: ModelProto, model: ModelProto, context: PassContext) -> bool:
    """Whether a graph may do without the heads: another part of it may count on their number."""
    assert context.runs_like is not None
    try:
        return context.runs_like(source, model) >= 0
    except RunError:
        return False


def _found(model: ModelProto, heads: bool = True) -> list[Region]:
    found = [*regions(model), *(attention_regions(model) if heads else ())]
    return [region for region in found if _usable(region, model)]


def _usable(region: Region, model: ModelProto) -> bool:
    if region.channels < 2 * region.least:
        return False
    for node in region.consumers:
        if node.op_type == "Gemm" and (
            graph.attribute(node, "alpha", 1.0) != 1 or graph.attribute(node, "beta", 1) != 1
        ):
            return False
    return all(_width(model, node) <= WIDEST for node in region.consumers)


def _tensor(model: ModelProto, name: str) -> TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _width(model: ModelProto, node: NodeProto) -> int:
    for tensor in model.graph.initializer:
        if tensor.name == node.input[1]:
            if node.op_type == "Conv":
                return int(np.prod(tensor.dims[1:]))
            return int(tensor.dims[1 if graph.attribute(node, "transB", 0) else 0])
    return WIDEST + 1


def _columns(model: ModelProto, node: NodeProto) -> np.ndarray:
    """The consumer's weight as W [K, N]."""
    weights = streamed.array(_tensor(model, node.input[1]))
    if node.op_type == "Conv":
        return weights.reshape(len(weights), -1).T
    return weights.T if graph.attribute(node, "transB", 0) else weights


def _rows(node: NodeProto, model: ModelProto) -> activations.Rows:
    if node.op_type != "Conv":
        return activations.matrix_rows
    return activations.convolution_rows(node, tuple(_tensor(model, node.input[1]).dims[2:]))


def _bias_place(model: ModelProto, node: NodeProto) -> str | None:
    """The initializer which is added to the consumer's output, "" when one can be added, None when neither."""
    uses = graph.names_used(model)
    names = {tensor.name: tensor for tensor in model.graph.initializer}
    if node.op_type in ("Conv", "Gemm"):
        if len(node.input) < 3 or not node.input[2]:
            return ""
        bias = names.get(node.input[2])
        return bias.name if bias is not None and len(bias.dims) == 1 and uses[bias.name] == 1 else None
    readers = [one for one in model.graph.node if node.output[0] in one.input]
    if len(readers) == 1 and readers[0].op_type == "Add" and uses[node.output[0]] == 1:
        for name in readers[0].input:
            if name in names and len(names[name].dims) == 1 and uses[name] == 1 and names[name].dims[0] > 1:
                return name
    return None


def _planned(
    region: Region, model: ModelProto, moments: dict[str, activations.Moments], params: dict[str, Any]
) -> _Plan | None:
    consumers = []
    for node in region.consumers:
        seen = moments.get(node.output[0])
        if seen is None or not seen.count:
            return None
        bias = _bias_place(model, node)
        mean = seen.total / seen.count
        gram = seen.gram / seen.count
        if bias is not None:
            gram = gram - np.outer(mean, mean)
        consumers.append(_Consumer(node, _columns(model, node).astype(np.float64), gram, mean, bias))
    lives, errors = _thinned(consumers, region, params)
    weights = [region.producer.input[1], *region.also]
    size = float(sum(graph.elements(_tensor(model, name)) for name in weights)) / region.channels
    size += sum(c.weights.size / region.channels for c in consumers)
    return _Plan(region, consumers, lives, errors, size)


def _thinned(
    consumers: list[_Consumer], region: Region, params: dict[str, Any]
) -> tuple[list[np.ndarray], list[float]]:
    """After each step the channels which are left and the share of the consumers' output energy which is lost."""
    channels = region.channels
    multiple = params["multiple"] if channels >= 4 * params["multiple"] else 1
    step = max(multiple, -(-channels // (STEPS * multiple)) * multiple)
    most = min(params["most"], 2 * params["share"])  # no region gives more than twice its part
    least = max(region.least, round(channels * (1 - most)))
    surgeons = [_Surgeon.of(consumer, channels) for consumer in consumers]
    live = np.ones(channels, bool)
    lost, lives, errors = 0.0, [np.arange(channels)], [0.0]
    while live.sum() - step >= least:
        for begun in range(0, step, TOGETHER):
            gone, cost = _cheapest(surgeons, live, min(TOGETHER, step - begun))
            lost += cost
            live[gone] = False
            for surgeon in surgeons:
                surgeon.remove(gone)
        lives.append(np.flatnonzero(live))
        errors.append(lost)
    return lives, errors


def _cheapest(surgeons: list[_Surgeon], live: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """(channels which go next, what they cost together): taken one by one, each with what the ones before left of it.

    Only the cheapest are looked at so closely; their part of the inverse follows from itself (Schur complement), so
    that the whole is touched once for all of them.
    """
    costs = np.where(live, sum(surgeon.costs() for surgeon in surgeons), np.inf)
    pool = np.argsort(costs, kind="stable")[: min(LOOKED_AT * count, int(live.sum()))]
    parts = [surgeon.part(pool) for surgeon in surgeons]
    left, lost, gone = np.ones(len(pool), bool), 0.0, []
    for _ in range(count):
        now = np.where(left, sum(part.costs() for part in parts), np.inf)
        one = int(np.argmin(now))
        lost += float(now[one]) / len(surgeons)
        left[one] = False
        gone.append(int(pool[one]))
        for part in parts:
            part.remove(np.asarray([one]))
    return np.asarray(gone), lost


class _Surgeon:
    """One consumer while channels are taken from it: inverse and weights follow each removal exactly."""

    def __init__(self, channels: int, weights: np.ndarray, inverse: np.ndarray, whole: float) -> None:
        self.channels, self.width = channels, len(weights) // channels
        self.weights, self.inverse, self.whole = weights, inverse, whole

    @classmethod
    def of(cls, consumer: _Consumer, channels: int) -> _Surgeon:
        whole = max(float((consumer.weights * (consumer.gram @ consumer.weights)).sum()), 1e-30)
        return cls(channels, consumer.weights.copy(), np.linalg.inv(_damped(consumer.gram)), whole)

    def part(self, channels: np.ndarray) -> _Surgeon:
        """A copy which knows only these channels."""
        rows = self.rows(channels)
        return _Surgeon(len(channels), self.weights[rows], self.inverse[np.ix_(rows, rows)], self.whole)

    def rows(self, channels: np.ndarray) -> np.ndarray:
        return (channels[:, None] * self.width + np.arange(self.width)).reshape(-1)

    def costs(self) -> np.ndarray:
        """What each channel's removal costs after compensation, of the whole: tr(W_jᵀ ((G⁻¹)_jj)⁻¹ W_j)."""
        if self.width == 1:
            return (self.weights**2).sum(1) / np.maximum(np.diag(self.inverse), 1e-30) / self.whole
        blocks = self.inverse.reshape(self.channels, self.width, self.channels, self.width)
        every = np.arange(self.channels)
        own = blocks[every, :, every, :] + np.eye(self.width) * 1e-30  # a removed channel's block is zero
        parts = self.weights.reshape(self.channels, self.width, -1)
        return np.einsum("jwn,jwn->j", parts, np.linalg.solve(own, parts)) / self.whole

    def remove(self, channels: np.ndarray) -> None:
        """Take channels away and let the weights of the others make up for them."""
        rows = self.rows(channels)
        reach = self.inverse[:, rows] @ np.linalg.inv(self.inverse[np.ix_(rows, rows)])
        self.weights -= reach @ self.weights[rows]
        self.inverse -= reach @ self.inverse[rows]
        self.weights[rows] = 0.0
        self.inverse[rows] = 0.0
        self.inverse[:, rows] = 0.0


def _inputs(live: np.ndarray, consumer: _Consumer, channels: int) -> np.ndarray:
    """Rows of the consumer's W which belong to these channels: a block of the same width for each."""
    width = len(consumer.weights) // channels
    return (live[:, None] * width + np.arange(width)).reshape(-1)


def _damped(gram: np.ndarray) -> np.ndarray:
    damped = gram.copy()
    damped[np.diag_indices(len(damped))] += DAMPING * max(float(np.trace(damped)) / len(damped), 1e-12)
    return damped


def _solved(consumer: _Consumer, kept: np.ndarray) -> np.ndarray:
    """The weights [kept, N] which give the consumer's outputs best: min ‖X W − X[:, kept] W'‖²."""
    damped = _damped(consumer.gram)
    # The damping pulls towards the weights that are there, not towards zero.
    target = consumer.gram[kept] @ consumer.weights
    extra = damped[0, 0] - consumer.gram[0, 0]
    return np.linalg.solve(damped[np.ix_(kept, kept)], target + extra * consumer.weights[kept])


def _shared_out(plans: list[_Plan], share: float) -> list[int]:
    """For each plan how many of its steps are taken: those which lose least for each parameter, up to the share."""
    taken = [0] * len(plans)
    # Heads may be taken instead of channels, and are counted only where there is nothing else.
    counted = [plan for plan in plans if not plan.region.also] or plans
    left = share * sum(plan.region.channels * plan.parameters for plan in counted)
    while left > 0:
        best = None
        for index, plan in enumerate(plans):
            step = taken[index] + 1
            if step >= len(plan.lives):
                continue
            saved = (len(plan.lives[step - 1]) - len(plan.lives[step])) * plan.parameters
            rate = (plan.errors[step] - plan.errors[step - 1]) / saved
            # Errors add up over layers: a layer which lost much already is spared.
            rate += plan.errors[step - 1] / saved
            if best is None or rate < best[0]:
                best = (rate, index, saved)
        if best is None:
            break
        taken[best[1]] += 1
        left -= best[2]
    return taken


def _executed(model: ModelProto, plan: _Plan, step: int) -> dict[str, Any]:
    live, region = plan.lives[step], plan.region
    before = region.channels * plan.parameters * 4
    solutions = [(c, _inputs(live, c, region.channels)) for c in plan.consumers]
    for consumer, kept in solutions:
        _rewire(model, consumer, kept)
    for one in region.slices:
        tensor = _tensor(model, one.tensor)
        places = (live[:, None] * one.width + np.arange(one.width)).reshape(-1)
        cut = np.take(streamed.array(tensor), places, axis=one.axis)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(cut), tensor.name))
    if len(region.producer.input) > 2 and all(s.tensor != region.producer.input[2] for s in region.slices):
        # A bias which the repair of the region before gave to this producer.
        bias = _tensor(model, region.producer.input[2])
        if graph.elements(bias) == region.channels:
            bias.CopyFrom(numpy_helper.from_array(streamed.array(bias)[live], bias.name))
    for node in region.reshapes:
        name = f"{node.output[0]}_shape"
        model.graph.initializer.append(numpy_helper.from_array(np.asarray([0, -1], np.int64), name))
        node.input[1] = name
    for fix in region.shapes:
        fixed(model, fix, len(live))
    for node in region.depthwise:
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = len(live)
    name = region.producer.name or region.producer.output[0]
    return layer(
        name, region.producer.op_type, (len(live), region.channels), 32, int(before),
        int(len(live) * plan.parameters * 4), plan.errors[step], plan.errors[-1],
        f"{region.channels - len(live)} of {region.channels} {'heads' if region.also else 'channels'} removed",
    )  # fmt: skip


def _rewire(model: ModelProto, consumer: _Consumer, kept: np.ndarray) -> None:
    solved = _solved(consumer, kept)
    node, tensor = consumer.node, _tensor(model, consumer.node.input[1])
    # Another region may have cut this consumer's outputs since: its own solution keeps the same columns.
    outputs = _columns(model, node).shape[1]
    if outputs != solved.shape[1]:
        raise NotApplicableError("Two regions of this graph overlap in a way that cannot be pruned.")
    if node.op_type == "Conv":
        made = solved.T.reshape(outputs, -1, *tensor.dims[2:])
    else:
        made = solved.T if graph.attribute(node, "transB", 0) else solved
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(made.astype(np.float32)), tensor.name))
    if consumer.bias is None:
        return
    shift = consumer.mean @ consumer.weights - consumer.mean[kept] @ solved
    if consumer.bias:
        bias = _tensor(model, consumer.bias)
        moved = (streamed.array(bias) + shift).astype(np.float32)
        bias.CopyFrom(numpy_helper.from_array(moved, bias.name))
    else:
        name = f"{tensor.name}_repair"
        model.graph.initializer.append(numpy_helper.from_array(shift.astype(np.float32), name))
        del node.input[2:]
        node.input.append(name)
