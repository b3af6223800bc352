"""Pruning with second-order compensation: zeros are chosen by what they cost, and the weights left take up the loss.

Column by column, as GPTQ rounds: what a removed weight contributed is pushed into the inputs which were not yet looked
at. `pattern` 2:4 leaves two of every four inputs, the form which sparse tensor cores take; else a share of all weights.
The zeros change neither the file's size nor dense kernels; they make it compress better on the wire. Sources: Frantar &
Alistarh 2023, SparseGPT (arXiv 2301.00774); Mishra et al. 2021, 2:4 sparsity (arXiv 2104.08378).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import PassContext, PassOutcome, layer, plural
from compression_service.engine.passes.rounding import inverse_factor, relative_error
from compression_service.engine.passes.widen import widened

SOURCE = "Frantar & Alistarh 2023, SparseGPT (arXiv 2301.00774); Mishra et al. 2021 (arXiv 2104.08378)"
NEEDS_FLOAT_SOURCE = True
DEFAULTS: dict[str, Any] = {"sparsity": 0.5, "pattern": None}
KINDS = ("MatMul", "Gemm", "Conv")
SMALLEST_ELEMENTS = 256
CHOSEN_TOGETHER = 64  # inputs among which the zeros of one output are chosen
WIDEST = 4096


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if not _weights(graph.normalise(model)):
        return f"There is no MatMul, Gemm or Conv in the main graph with at least {SMALLEST_ELEMENTS} constant weights."
    return None


@dataclass
class _Weight:
    """W [K, N] of one layer and how its tensor holds it."""

    node: NodeProto
    tensor: TensorProto
    columns: Any
    turned: bool

    def put(self, columns: np.ndarray) -> None:
        made = columns.T if self.turned else columns
        array = np.ascontiguousarray(made.reshape(list(self.tensor.dims)).astype(np.float32))
        self.tensor.CopyFrom(numpy_helper.from_array(array, self.tensor.name))


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"sparsity": share of zeros, "pattern": "2:4" or None}."""
    params = DEFAULTS | params
    if params["pattern"] not in (None, "2:4"):
        raise NotApplicableError(f"The pattern of zeros is 2:4 or none, not {params['pattern']!r}.")
    if not context.calibration:
        raise NotApplicableError("Compensated pruning needs calibration inputs, and none could be made for this model.")
    model = graph.normalise(widened(model))
    found = _weights(model)
    taps: activations.Taps = {w.tensor.name: (w.node.input[0], len(w.columns), _rows(w)) for w in found}
    kept = context.kept("prune_compensated", context.calibration)
    seen = activations.moments(model, taps, context.calibration, context.work, context.seconds_cap, kept)
    layers, zeros, total = [], 0, 0
    for weight in found:
        moments = seen.get(weight.tensor.name)
        if moments is None or not moments.count:
            continue
        pruned = sparse(weight.columns, moments.gram, params["sparsity"], params["pattern"])
        weight.put(pruned)
        zeros, total = zeros + int(np.count_nonzero(pruned == 0)), total + pruned.size
        error = relative_error(weight.columns, pruned, moments.gram)
        layers.append(
            layer(
                weight.node.name or weight.tensor.name, weight.node.op_type, pruned.shape, 32, pruned.nbytes,
                pruned.nbytes, error, error, f"{np.mean(pruned == 0):.0%} zeros",
            )
        )  # fmt: skip
    if not layers:
        raise NotApplicableError("The calibration inputs reach none of the layers which could be pruned.")
    how = "two of every four" if params["pattern"] else f"{zeros / total:.0%}"
    words = f"{how} of {total:,} weights in {plural(len(layers), 'layer')} are zero, the others take up the loss"
    return PassOutcome(model, words, params, layers)


def sparse(weights: np.ndarray, gram: np.ndarray, sparsity: float, pattern: str | None) -> np.ndarray:
    """W [K, N] with zeros, float32; a matrix which is not definite is pruned without compensation."""
    left = weights.astype(np.float32).copy()
    try:
        factor = inverse_factor(gram)
    except np.linalg.LinAlgError:
        factor = np.eye(len(left), dtype=np.float32)
    inputs, outputs = left.shape
    diagonal = np.diag(factor)
    for start in range(0, inputs, CHOSEN_TOGETHER):
        end = min(inputs, start + CHOSEN_TOGETHER)
        errors = np.zeros((end - start, outputs), np.float32)
        gone = np.zeros((end - start, outputs), bool)
        if not pattern:
            gone = _cheapest((left[start:end] / diagonal[start:end, None]) ** 2, sparsity)
        for row in range(start, end):
            if pattern and row % 4 == 0:
                four = slice(row, min(end, row + 4))
                costs = (left[four] / diagonal[four, None]) ** 2
                gone[row - start : four.stop - start] = _cheapest(costs, 0.5, each_output=True)
            kept = np.where(gone[row - start], 0.0, left[row])
            error = (left[row] - kept) / factor[row, row]
            left[row] = kept
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], error)
            errors[row - start] = error
        left[end:] -= factor[start:end, end:].T @ errors
    return left


def _cheapest(costs: np.ndarray, share: float, each_output: bool = False) -> np.ndarray:
    """A mask of the cheapest weights: of all together, or of each output's."""
    if each_output:
        order = np.argsort(costs, axis=0, kind="stable")
        mask = np.zeros(costs.shape, bool)
        np.put_along_axis(mask, order[: round(share * len(costs))], True, axis=0)
        return mask
    flat = np.zeros(costs.size, bool)
    flat[np.argsort(costs, axis=None, kind="stable")[: round(share * costs.size)]] = True
    return flat.reshape(costs.shape)


def _weights(model: ModelProto) -> list[_Weight]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    uses = graph.names_used(model)
    found = []
    for node in model.graph.node:
        if node.op_type not in KINDS or node.domain not in graph.MAIN_DOMAINS or len(node.input) < 2:
            continue
        tensor = constants.get(node.input[1])
        if tensor is None or tensor.data_type != TensorProto.FLOAT or uses[tensor.name] != 1:
            continue
        if graph.elements(tensor) < SMALLEST_ELEMENTS or node.input[0] in constants:
            continue
        if graph.attribute(node, "transA", 0) or graph.attribute(node, "group", 1) != 1:
            continue
        array: Any = streamed.array(tensor)
        turned = node.op_type == "Conv" or bool(graph.attribute(node, "transB", 0))
        if node.op_type != "Conv" and array.ndim != 2:
            continue
        columns: Any = array.reshape(len(array), -1).T if turned else array
        if len(columns) <= WIDEST:
            found.append(_Weight(node, tensor, columns, turned))
    return found


def _rows(weight: _Weight) -> activations.Rows:
    if weight.node.op_type != "Conv":
        return activations.matrix_rows
    return activations.convolution_rows(weight.node, tuple(weight.tensor.dims[2:]))
