"""Weight-only quantization: matrices in 4 or 8 bits by blocks (MatMulNBits), activations stay in float.

Rounding is GPTQ's where calibration inputs can be had (Frantar et al. 2022, arXiv 2210.17323), else to nearest with
the clip of least squared error. `keep8` leaves that share of the weights in 8 bits: those of the layers whose 4-bit
output error is largest after compensation (mixed precision led by sensitivity, as in HAWQ, Dong et al. 2019, arXiv
1905.03696). Operator: onnxruntime contrib com.microsoft MatMulNBits, data packed low nibble first in uint8, so that
no opset 21 is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression_service.engine import graph, streamed
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    PassContext,
    PassOutcome,
    all_names,
    fresh_name,
    layer,
    plural,
    replace_nodes,
    sites,
    store,
)
from compression_service.engine.passes.rounding import Rounded, packed_nibbles, relative_error, rounded
from compression_service.engine.passes.widen import widened

SOURCE = "Frantar et al. 2022, GPTQ (arXiv 2210.17323); Dong et al. 2019, HAWQ (arXiv 1905.03696)"
NEEDS_FLOAT_SOURCE = True
STREAMS = True
DEFAULTS: dict[str, Any] = {
    "bits": 4, "block": 32, "rounding": "gptq", "symmetric": True, "keep8": 0.0, "accuracy_level": 4,
}  # fmt: skip
KINDS = ("MatMul", "Gemm")
SMALLEST_ELEMENTS = 1024


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if not any(len(s.tensor.dims) == 2 for s in sites(model, *KINDS, smallest=SMALLEST_ELEMENTS)):
        return (
            "There is no weight that block-wise kernels could hold: a MatMul or Gemm of at least"
            f" {SMALLEST_ELEMENTS:,} numbers is needed (convolutions have no such kernel)."
        )
    return None


@dataclass
class _Matrix:
    """One product with a constant weight: `columns` is W [K, N] as the product uses it.

    `weight` is the same for products which share one weight in one form (ALBERT's layers): it is rounded once for all.
    """

    scope: graph.Scope
    index: int
    node: NodeProto
    columns: np.ndarray
    name: str
    weight: str


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: those of DEFAULTS; "bits" 4 or 8, "rounding" gptq or nearest, "keep8" a share of the weights."""
    params = DEFAULTS | params
    model = graph.normalise(widened(model))
    names = all_names(model)
    found = list(_matrices(model, params["block"]))
    if not found:
        raise NotApplicableError("None of the constant weights has a form that block-wise kernels can take.")
    moments = _moments(model, found, params, context)
    wide = _kept_wide(found, moments, params)
    layers: list[dict[str, Any]] = []
    replacements: dict[int, tuple[graph.Scope, dict[int, list[NodeProto]]]] = {}
    stored: dict[str, list[str]] = {}
    for matrix in found:
        bits = 8 if matrix.weight in wide else params["bits"]
        if matrix.weight not in stored:
            gram = moments.get(matrix.weight)
            code = rounded(matrix.columns, bits, params["block"], gram if bits < 8 else None, params["symmetric"])
            given, size = _stored(matrix, code, bits, params, names)
            stored[matrix.weight] = given
            layers.append(
                layer(
                    matrix.node.name or matrix.name, matrix.node.op_type, matrix.columns.shape, bits,
                    matrix.columns.nbytes, size, relative_error(matrix.columns, code.values(), gram),
                    wide.get(matrix.weight), "kept in 8 bits" if matrix.weight in wide else "",
                )
            )  # fmt: skip
        nodes = _written(matrix, stored[matrix.weight], bits, params, names)
        replacements.setdefault(id(matrix.scope.graph), (matrix.scope, {}))[1][matrix.index] = nodes
    for scope, changes in replacements.values():
        replace_nodes(scope.graph, changes)
    graph.drop_unused_initializers(model)
    graph.require_domain(model, "com.microsoft")
    model.ir_version = graph.lowest_ir(model)
    how = "GPTQ rounding" if moments else "rounded to nearest"
    words = f"{plural(len(stored), 'matrix')} in {params['bits']} bits, blocks of {params['block']}, {how}"
    if wide:
        words += f"; {plural(len(wide), 'layer')} kept in 8 bits"
    return PassOutcome(model, words, params, layers)


def _matrices(model: ModelProto, block: int) -> Any:
    for scope in graph.scopes(model.graph):
        for index, node in enumerate(scope.graph.node):
            if node.domain in graph.MAIN_DOMAINS and node.op_type in KINDS:
                columns = product_columns(scope, node)
                if columns is not None and columns.shape[0] >= block and columns.size >= SMALLEST_ELEMENTS:
                    form = [graph.attribute(node, name, default) for name, default in (("transB", 0), ("alpha", 1.0))]
                    weight = f"{id(scope.graph)}/{node.input[1]}/{form if node.op_type == 'Gemm' else [0, 1.0]}"
                    yield _Matrix(scope, index, node, columns, f"{node.input[1]}@{node.output[0]}", weight)


def product_columns(scope: graph.Scope, node: NodeProto) -> np.ndarray | None:
    """W [K, N] of a MatMul or Gemm with a constant float weight of rank 2, alpha and transB applied; None otherwise."""
    tensor = scope.find(node.input[1])
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return None
    if scope.find(node.input[0]) is not None or graph.attribute(node, "transA", 0):
        return None
    weights = streamed.array(tensor)
    if node.op_type == "Gemm":
        weights = weights.T if graph.attribute(node, "transB", 0) else weights
        alpha = float(graph.attribute(node, "alpha", 1.0))
        weights = weights if alpha == 1.0 else weights * np.float32(alpha)
    return weights


def _moments(
    model: ModelProto, found: list[_Matrix], params: dict[str, Any], context: PassContext
) -> dict[str, np.ndarray]:
    if params["rounding"] != "gptq" or params["bits"] == 8 or not context.calibration:
        return {}
    taps: activations.Taps = {
        m.name: (m.node.input[0], m.columns.shape[0], activations.matrix_rows)
        for m in found if m.scope.graph is model.graph
    }  # fmt: skip
    kept = context.kept("weight_only", context.calibration)
    seen = activations.moments(model, taps, context.calibration, context.work, context.seconds_cap, kept)
    pooled: dict[str, np.ndarray] = {}
    for matrix in found:
        if matrix.name in seen:
            pooled[matrix.weight] = pooled.get(matrix.weight, 0) + seen[matrix.name].gram
    return pooled


def _kept_wide(found: list[_Matrix], moments: dict[str, np.ndarray], params: dict[str, Any]) -> dict[str, float]:
    """{weight: its relative error in few bits} of the weights which stay in 8 bits, the worst ones."""
    if not params["keep8"] or params["bits"] == 8:
        return {}
    errors = {}
    found = list({matrix.weight: matrix for matrix in reversed(found)}.values())
    for matrix in found:
        nearest = rounded(matrix.columns, params["bits"], params["block"], None, params["symmetric"])
        errors[matrix.weight] = relative_error(matrix.columns, nearest.values(), moments.get(matrix.weight))
    left = params["keep8"] * sum(m.columns.size for m in found)
    kept: dict[str, float] = {}
    for matrix in sorted(found, key=lambda m: (-errors[m.weight], m.name)):
        if left <= 0:
            break
        kept[matrix.weight] = errors[matrix.weight]
        left -= matrix.columns.size
    return kept


def _stored(
    matrix: _Matrix, code: Rounded, bits: int, params: dict[str, Any], names: set[str]
) -> tuple[list[str], int]:
    """(names of the initializers which hold the rounded weight, their bytes)."""
    node, scope, block = matrix.node, matrix.scope, params["block"]
    inputs, outputs = matrix.columns.shape
    blocks = len(code.scales)
    middle = 0 if code.zeros is not None else 2 ** (bits - 1)
    unsigned = np.full((outputs, blocks * block), middle, np.uint8)
    unsigned[:, :inputs] = (code.codes + middle).astype(np.uint8).T
    unsigned = unsigned.reshape(outputs, blocks, block)
    packed = packed_nibbles(unsigned) if bits == 4 else unsigned
    arrays = [packed, code.scales.T.reshape(-1)]
    if code.zeros is not None:
        zeros = code.zeros.T.astype(np.uint8)
        arrays.append((packed_nibbles(zeros) if bits == 4 else zeros).reshape(-1))
    wishes = [f"{node.input[1]}_q{bits}", f"{node.input[1]}_scale", f"{node.input[1]}_zero"]
    given = [store(scope, a, wish, names) for a, wish in zip(arrays, wishes, strict=False)]
    return given, sum(array.nbytes for array in arrays)


def _written(matrix: _Matrix, given: list[str], bits: int, params: dict[str, Any], names: set[str]) -> list[NodeProto]:
    node, scope, block = matrix.node, matrix.scope, params["block"]
    inputs, outputs = matrix.columns.shape
    is_gemm = node.op_type == "Gemm"
    bias = node.input[2] if is_gemm and len(node.input) > 2 and node.input[2] else None
    product = node.output[0] if bias is None else fresh_name(names, node.output[0] + "_product")
    made = [
        helper.make_node(
            "MatMulNBits", [node.input[0], *given], [product], name=fresh_name(names, f"matmul_q{bits}"),
            domain="com.microsoft", K=inputs, N=outputs, bits=bits, block_size=block,
            accuracy_level=params["accuracy_level"],
        )
    ]  # fmt: skip
    if bias is not None:
        made += bias_added(scope, node, bias, product, names)
    return made


def bias_added(scope: graph.Scope, node: NodeProto, bias: str, product: str, names: set[str]) -> list[NodeProto]:
    """The nodes which add a Gemm's bias (times beta) to a product that another operator now computes."""
    made = []
    beta = float(graph.attribute(node, "beta", 1.0))
    if beta != 1.0:
        factor, scaled = store(scope, np.asarray(beta, np.float32), "beta", names), fresh_name(names, bias + "_x")
        made.append(helper.make_node("Mul", [bias, factor], [scaled], name=fresh_name(names, "beta_mul")))
        bias = scaled
    made.append(helper.make_node("Add", [product, bias], [node.output[0]], name=fresh_name(names, "bias_add")))
    return made
