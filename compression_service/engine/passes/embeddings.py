"""Embedding tables in 4 or 8 bits with a scale for each block of a row: only the rows which are asked for are unpacked.

The table is half of a small transformer, and its rows are looked up, not multiplied: quantizing it costs no time. The
clip of each block is the one of least squared error. Operator: onnxruntime contrib com.microsoft GatherBlockQuantized,
4-bit data packed low nibble first in uint8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression_service.engine import graph, streamed
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
from compression_service.engine.passes.rounding import packed_nibbles, relative_error, rounded
from compression_service.engine.passes.widen import widened

SOURCE = "onnxruntime contrib GatherBlockQuantized; clip by squared error, Choukroun et al. 2019 (arXiv 1902.06822)"
NEEDS_FLOAT_SOURCE = True
STREAMS = True
DEFAULTS: dict[str, Any] = {"bits": 4, "block": 32}
SMALLEST_ELEMENTS = 32 * 1024  # a smaller table saves little and, in 4 bits, loses much (magika: 0.997 to 0.993)
SMALLEST_BLOCK = 16
ROWS_AT_ONCE = 16384


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    for site in sites(model, "Gather", smallest=SMALLEST_ELEMENTS):
        is_table = len(site.tensor.dims) == 2 and graph.attribute(site.node, "axis", 0) == 0
        if is_table and _block(site.tensor.dims[1], SMALLEST_BLOCK):
            return None
    return (
        f"There is no embedding table of at least {SMALLEST_ELEMENTS:,} numbers whose rows are a multiple of"
        f" {SMALLEST_BLOCK} long."
    )


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"bits": 4 or 8, "block": the largest block, a power of two}."""
    params = DEFAULTS | params
    model = graph.normalise(widened(model))
    names = all_names(model)
    layers: list[dict[str, Any]] = []
    made: dict[str, list[str]] = {}
    for scope in list(graph.scopes(model.graph)):
        replacements: dict[int, list[NodeProto]] = {}
        for index, node in enumerate(scope.graph.node):
            if node.domain in graph.MAIN_DOMAINS and node.op_type == "Gather":
                nodes = _rewritten(scope, node, names, params, made, layers)
                if nodes:
                    replacements[index] = nodes
        replace_nodes(scope.graph, replacements)
    if not layers:
        raise NotApplicableError("None of the embedding tables has a form that block-wise kernels can take.")
    graph.drop_unused_initializers(model)
    graph.require_domain(model, "com.microsoft")
    model.ir_version = graph.lowest_ir(model)
    words = f"{plural(len(layers), 'embedding table')} in {params['bits']} bits, blocks of {params['block']}"
    return PassOutcome(model, words, params, layers)


def _block(width: int, largest: int) -> int:
    """The largest power of two up to `largest` which divides a row, 0 when there is none of at least 16."""
    block = largest
    while block >= SMALLEST_BLOCK and width % block:
        block //= 2
    return block if block >= SMALLEST_BLOCK else 0


def _rewritten(
    scope: graph.Scope, node: NodeProto, names: set[str], params: dict[str, Any],
    made: dict[str, list[str]], layers: list[dict[str, Any]],
) -> list[NodeProto]:  # fmt: skip
    tensor = scope.find(node.input[0])
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return []
    block = _block(tensor.dims[1], params["block"])
    if not block or graph.elements(tensor) < SMALLEST_ELEMENTS or graph.attribute(node, "axis", 0) != 0:
        return []
    key = f"{id(scope.graph)}/{node.input[0]}"
    if key not in made:
        table = streamed.array(tensor)
        codes, scales = quantized_table(table, params["bits"], block)
        approximation = (codes.astype(np.float32) - 2 ** (params["bits"] - 1)) * np.repeat(scales, block, 1)
        packed = packed_nibbles(codes) if params["bits"] == 4 else codes
        made[key] = [
            store(scope, packed, f"{node.input[0]}_q{params['bits']}", names),
            store(scope, scales, f"{node.input[0]}_scale", names),
        ]
        layers.append(
            layer(
                node.name or node.input[0], "Gather", table.shape, params["bits"], table.nbytes,
                packed.nbytes + scales.nbytes, relative_error(table, approximation, None),
            )
        )  # fmt: skip
    data, scale = made[key]
    return [
        helper.make_node(
            "GatherBlockQuantized", [data, node.input[1], scale], list(node.output),
            name=fresh_name(names, f"gather_q{params['bits']}"), domain="com.microsoft", bits=params["bits"],
            block_size=block, gather_axis=0, quantize_axis=1,
        )
    ]  # fmt: skip


def quantized_table(table: np.ndarray, bits: int, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Table [V, D] → (codes uint8 [V, D] around 2^(bits−1), scales float32 [V, D / block])."""
    middle = 2 ** (bits - 1)
    codes = np.zeros(table.shape, np.uint8)
    scales = np.zeros((len(table), table.shape[1] // block), np.float32)
    for start in range(0, len(table), ROWS_AT_ONCE):
        rows = table[start : start + ROWS_AT_ONCE].astype(np.float32)
        # Every block of every row is a column of `block` numbers with a grid of its own.
        made = rounded(rows.reshape(-1, block).T, bits, block)
        codes[start : start + len(rows)] = (made.codes.T.reshape(rows.shape) + middle).astype(np.uint8)
        scales[start : start + len(rows)] = made.scales.reshape(len(rows), -1)
    return codes, scales
