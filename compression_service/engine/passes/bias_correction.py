"""Bias correction: the mean that quantizing or pruning moved a layer's output by is taken out of the bias behind it.

Rounding errors do not cancel in the mean; what is added to every output alike costs nothing to put right. Layers are
matched by the names of their outputs in the recipe's source, and corrected one after the other in the graph's order:
nine of MiniLM's at once mended the same shift again and again (cosine 0.94 instead of 0.99). It is kept only where the
whole model comes closer to its source. Source: Nagel et al. 2019 (arXiv 1906.04721), section 4.2.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import PassContext, PassOutcome, layer, plural

SOURCE = "Nagel et al. 2019 (arXiv 1906.04721)"
NEEDS_FLOAT_SOURCE = False
DEFAULTS: dict[str, Any] = {"inputs": 24}
SMALLEST_CHANNELS = 4


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if not _places(graph.normalise(model)):
        return "No layer has a constant bias for each channel which could be corrected."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"inputs": how many calibration inputs tell a mean}. Needs the recipe's source in the context."""
    params = DEFAULTS | params
    if context.source is None or not context.calibration:
        raise NotApplicableError("Bias correction needs the source model and calibration inputs.")
    model = graph.normalise(model)
    source = graph.normalise(context.source)
    in_source = {name for node in source.graph.node for name in node.output}
    places = {name: place for name, place in _places(model).items() if name in in_source}
    if not places:
        raise NotApplicableError("No biased layer of the source has kept its name.")
    before = ModelProto()
    before.CopyFrom(model)
    feeds = context.calibration[: params["inputs"]]
    wanted = _means(source, list(places), places, feeds, context)
    layers: list[dict[str, Any]] = []
    began = time.monotonic()
    for name in wanted:
        now = _means(model, [name], places, feeds, context)
        if name in now and now[name].shape == wanted[name].shape:
            layers.append(_moved(places[name], wanted[name] - now[name]))
        if time.monotonic() - began > context.seconds_cap:
            break
    if not layers:
        raise NotApplicableError("The calibration inputs reach none of the biased layers.")
    if context.runs_like:
        agreements = [context.runs_like(source, one) for one in (before, model)]
        if agreements[1] <= agreements[0]:
            raise NotApplicableError(
                "Correcting the biases was tried and did not help"
                f" ({agreements[0]:.4f} before, {agreements[1]:.4f} after)."
            )
    return PassOutcome(model, f"the mean put right in the biases of {plural(len(layers), 'layer')}", params, layers)


def _places(model: ModelProto) -> dict[str, tuple[NodeProto, TensorProto, bool]]:
    """{output: (node, its float bias [N], channels on axis 1)}: Conv and Gemm with a bias, sums with a constant."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = graph.names_used(model)
    found = {}
    for node in model.graph.node:
        if node.domain not in graph.MAIN_DOMAINS:
            continue
        spatial = node.op_type == "Conv"
        if node.op_type in ("Conv", "Gemm"):
            names = list(node.input[2:3])
            if graph.attribute(node, "beta", 1.0) != 1.0:
                continue
        else:
            names = list(node.input) if node.op_type == "Add" else []
        for name in names:
            bias = constants.get(name)
            if bias is None or bias.data_type != TensorProto.FLOAT or uses[name] != 1:
                continue
            if len(bias.dims) == 1 and bias.dims[0] >= SMALLEST_CHANNELS:
                found[node.output[0]] = (node, bias, spatial)
    return found


def _means(
    model: ModelProto, names: list[str], places: dict[str, tuple[NodeProto, TensorProto, bool]],
    feeds: list[dict[str, np.ndarray]], context: PassContext,
) -> dict[str, np.ndarray]:  # fmt: skip
    """{output: its mean over calibration inputs and positions, for each channel}."""

    def rows(spatial: bool) -> activations.Rows:
        return lambda value, most: activations.matrix_rows(np.moveaxis(value, 1, -1) if spatial else value, most)

    taps: activations.Taps = {name: (name, places[name][1].dims[0], rows(places[name][2])) for name in names}
    return activations.means(model, taps, feeds, context.work, context.seconds_cap)


def _moved(place: tuple[NodeProto, TensorProto, bool], shift: np.ndarray) -> dict[str, Any]:
    node, bias, _ = place
    before = streamed.array(bias)
    bias.CopyFrom(numpy_helper.from_array((before + shift).astype(np.float32), bias.name))
    size = before.nbytes
    note = f"mean moved by {float(np.abs(shift).mean()):.3g}"
    return layer(node.name or node.output[0], node.op_type, before.shape, 32, size, size, note=note)
