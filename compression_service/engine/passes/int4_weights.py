"""4-bit weights: matrices as MatMulNBits, embedding tables as GatherBlockQuantized, in blocks of 32 numbers.

Each block has a float scale and a 4-bit zero point; the clipping range of a block is the one of a small grid with the
least squared error. Activations stay in float. Source: block-wise round-to-nearest as in GPTQ's baseline (Frantar et
al. 2022, arXiv 2210.17323); operators: onnxruntime contrib (com.microsoft), data packed low nibble first in uint8, so
that no opset 21 is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    PassContext,
    PassOutcome,
    all_names,
    already_quantized,
    fresh_name,
    plural,
    replace_nodes,
    sites,
)
from compression_service.engine.passes.widen import widened

KINDS = ("MatMul", "Gemm", "Gather")
SMALLEST_ELEMENTS = 1024
CLIP_RATIOS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75)


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    quantized = already_quantized(model)
    if quantized:
        return quantized
    found = [s for s in sites(model, *KINDS, smallest=SMALLEST_ELEMENTS) if len(s.tensor.dims) == 2]
    if not found:
        return (
            "There is no weight that 4 bits could hold: a MatMul, Gemm or embedding table of at least"
            f" {SMALLEST_ELEMENTS:,} numbers is needed (convolutions have no 4-bit kernel)."
        )
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Pack every reachable weight; `params`: {"block": 32, "accuracy_level": 0 or 4}."""
    model = graph.normalise(widened(model))
    names = all_names(model)
    counts = {"matrix": 0, "embedding table": 0}
    for scope in list(graph.scopes(model.graph)):
        replacements: dict[int, list[NodeProto]] = {}
        for index, node in enumerate(scope.graph.node):
            made: list[NodeProto] | None = None
            if node.domain in graph.MAIN_DOMAINS and node.op_type in ("MatMul", "Gemm"):
                made = _matrix(scope, node, names, params)
                counts["matrix"] += made is not None
            elif node.domain in graph.MAIN_DOMAINS and node.op_type == "Gather":
                made = _embedding(scope, node, names, params)
                counts["embedding table"] += made is not None
            if made is not None:
                replacements[index] = made
        replace_nodes(scope.graph, replacements)
    if not sum(counts.values()):
        raise NotApplicableError("None of the constant weights has a form that 4-bit kernels can take.")
    graph.drop_unused_initializers(model)
    graph.require_domain(model, "com.microsoft")
    model.ir_version = graph.lowest_ir(model)
    done = " and ".join(plural(count, name) for name, count in counts.items() if count)
    return PassOutcome(model, f"{done} in 4 bits, blocks of {params['block']}", dict(params))


def quantized_blocks(rows: np.ndarray, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """4-bit blocks along the last axis of rows [R, K].

    Returns (values uint8 0..15 [R, B, block], scales float32 [R, B], zero points uint8 0..15 [R, B]) with
    B = ceil(K / block); the last block is filled up with zeros.
    """
    count, width = rows.shape
    blocks = -(-width // block)
    padded = np.zeros((count, blocks * block), np.float32)
    padded[:, :width] = rows
    padded = padded.reshape(count, blocks, block)
    low, high = np.minimum(padded.min(-1), 0.0), np.maximum(padded.max(-1), 0.0)
    best_error = np.full(low.shape, np.inf, np.float32)
    scales, zeros = np.ones(low.shape, np.float32), np.zeros(low.shape, np.uint8)
    values = np.zeros(padded.shape, np.uint8)
    for ratio in CLIP_RATIOS:
        span = (high - low) * np.float32(ratio)
        scale = np.where(span > 0, span / 15, 1.0).astype(np.float32)
        zero = np.clip(np.rint(-low * np.float32(ratio) / scale), 0, 15)
        quantized = np.clip(np.rint(padded / scale[..., None]) + zero[..., None], 0, 15)
        error = (((quantized - zero[..., None]) * scale[..., None] - padded) ** 2).sum(-1)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        scales, zeros = np.where(better, scale, scales), np.where(better, zero, zeros).astype(np.uint8)
        values = np.where(better[..., None], quantized, values).astype(np.uint8)
    return values, scales, zeros


def packed_nibbles(values: np.ndarray) -> np.ndarray:
    """Two 4-bit numbers of the last axis in one byte, the first in the low half; odd lengths get a 0."""
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], -1)
    return (values[..., 0::2] | (values[..., 1::2] << 4)).astype(np.uint8)


def _constant(scope: graph.Scope, name: str) -> np.ndarray | None:
    tensor = scope.find(name)
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return None
    return numpy_helper.to_array(tensor) if graph.elements(tensor) >= SMALLEST_ELEMENTS else None


def _store(scope: graph.Scope, array: np.ndarray, wish: str, names: set[str]) -> str:
    name = fresh_name(names, wish)
    scope.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name


def _matrix(scope: graph.Scope, node: NodeProto, names: set[str], params: dict[str, Any]) -> list[NodeProto] | None:
    weights = _constant(scope, node.input[1])
    if weights is None or scope.find(node.input[0]) is not None or graph.attribute(node, "transA", 0):
        return None
    is_gemm = node.op_type == "Gemm"
    columns = weights if is_gemm and graph.attribute(node, "transB", 0) else weights.T
    if is_gemm:
        columns = columns * np.float32(graph.attribute(node, "alpha", 1.0))
    if columns.shape[1] < params["block"]:
        return None
    values, scales, zeros = quantized_blocks(columns, params["block"])
    inputs = [
        node.input[0],
        _store(scope, packed_nibbles(values), node.input[1] + "_q4", names),
        _store(scope, scales.reshape(-1), node.input[1] + "_q4_scale", names),
        _store(scope, packed_nibbles(zeros).reshape(-1), node.input[1] + "_q4_zero", names),
    ]
    bias = node.input[2] if is_gemm and len(node.input) > 2 and node.input[2] else None
    product = node.output[0] if bias is None else fresh_name(names, node.output[0] + "_product")
    made = [
        helper.make_node(
            "MatMulNBits", inputs, [product], name=fresh_name(names, "matmul_q4"), domain="com.microsoft",
            K=columns.shape[1], N=columns.shape[0], bits=4, block_size=params["block"],
            accuracy_level=params.get("accuracy_level", 0),
        )
    ]  # fmt: skip
    if bias is not None:
        beta = float(graph.attribute(node, "beta", 1.0))
        if beta != 1.0:
            factor, scaled = _store(scope, np.asarray(beta, np.float32), "beta", names), fresh_name(names, bias + "_x")
            made.append(helper.make_node("Mul", [bias, factor], [scaled], name=fresh_name(names, "beta_mul")))
            bias = scaled
        made.append(helper.make_node("Add", [product, bias], [node.output[0]], name=fresh_name(names, "bias_add")))
    return made


def _embedding(scope: graph.Scope, node: NodeProto, names: set[str], params: dict[str, Any]) -> list[NodeProto] | None:
    table = _constant(scope, node.input[0])
    if table is None or graph.attribute(node, "axis", 0) != 0 or table.shape[1] % params["block"]:
        return None
    values, scales, zeros = quantized_blocks(table, params["block"])
    inputs = [
        _store(scope, packed_nibbles(values.reshape(table.shape)), node.input[0] + "_q4", names),
        node.input[1],
        _store(scope, scales, node.input[0] + "_q4_scale", names),
        _store(scope, packed_nibbles(zeros), node.input[0] + "_q4_zero", names),
    ]
    return [
        helper.make_node(
            "GatherBlockQuantized", inputs, list(node.output), name=fresh_name(names, "gather_q4"),
            domain="com.microsoft", bits=4, block_size=params["block"], gather_axis=0, quantize_axis=1,
        )
    ]  # fmt: skip
