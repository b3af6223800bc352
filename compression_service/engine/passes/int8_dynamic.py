"""Dynamic int8: weights in 8 bits with a scale per output channel, activations quantized while the model runs.

MatMul and Gemm become DynamicQuantizeLinear + MatMulInteger (ONNX operators, opset 11), which onnxruntime fuses into
one kernel; below opset 11 com.microsoft's DynamicQuantizeMatMul is written at once. LSTMs become
DynamicQuantizeLSTM, embedding tables int8 rows with a scale per row, convolutions along one axis products. Those of
images stay in float: ConvInteger made SqueezeNet four times slower than fp32. Source: Jacob et al. 2018 (arXiv
1712.05877); per-channel because per-tensor loses several points on transformers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import (
    PassContext,
    PassOutcome,
    all_names,
    float_weight_bytes,
    fresh_name,
    layer,
    plural,
    replace_nodes,
    sites,
)
from compression_service.engine.passes.one_axis import (
    SMALLEST_CONVOLUTION,
    convolutions_as_products,
    has_planes,
    quantize_before_moving,
    taken,
)
from compression_service.engine.passes.rounding import relative_error, symmetric_int8
from compression_service.engine.passes.widen import widened

SOURCE = "Jacob et al. 2018 (arXiv 1712.05877)"
NEEDS_FLOAT_SOURCE = True
STREAMS = True
KINDS = ("MatMul", "Gemm", "LSTM", "Gather")
SMALLEST_SHARE = 0.1
DYNAMIC_OPSET = 11


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    reachable = sum(site.bytes for site in sites(model, *KINDS))
    if graph.opset(model) >= DYNAMIC_OPSET and not has_planes(model):
        reachable += sum(site.bytes for site in sites(model, "Conv", smallest=SMALLEST_CONVOLUTION) if taken(site))
    convolutions = sum(site.bytes for site in sites(model, "Conv", "ConvTranspose"))
    if not reachable:
        if convolutions and convolutions >= float_weight_bytes(model) / 2:
            return (
                "All weights belong to convolutions, which dynamic int8 makes slower (ConvInteger); int8-static is the"
                " recipe for them."
            )
        return "There is no weight that dynamic int8 could shrink (MatMul, Gemm, LSTM or Gather with constant weights)."
    total = float_weight_bytes(model)
    share = reachable / total
    if share < SMALLEST_SHARE and convolutions < total / 2:
        return f"Only {share:.0%} of the weights belong to what dynamic int8 can shrink (MatMul, Gemm, LSTM or Gather)."
    if share < SMALLEST_SHARE:
        return (
            f"Only {share:.0%} of the weights are outside convolutions, which dynamic int8 makes slower (ConvInteger);"
            " int8-static is the recipe for them."
        )
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Rewrite every graph of the model, subgraphs included."""
    model = graph.normalise(widened(model))
    moved = {}
    if graph.opset(model) >= DYNAMIC_OPSET and not graph.is_streamed(model):
        moved = convolutions_as_products(model)
    bits = 8 if context.vnni else 7
    writer = _Writer(model, highest=127 if bits == 8 else 63)
    for scope in list(graph.scopes(model.graph)):
        writer.rewrite(scope)
    for scope in list(graph.scopes(model.graph)):
        quantize_before_moving(scope.graph, moved)
    if not sum(writer.counts.values()):
        raise NotApplicableError("None of the constant weights has a form that dynamic int8 can take.")
    graph.drop_unused_initializers(model)
    if writer.used_contrib:
        graph.require_domain(model, "com.microsoft")
    model.ir_version = graph.lowest_ir(model)
    done = ", ".join(f"{plural(count, name)}" for name, count in writer.counts.items() if count)
    changed = f"{done} in int8 with a scale per channel ({bits} bits used)"
    return PassOutcome(model, changed, {**params, "per_channel": True, "weight_bits": bits}, writer.layers)


def with_int8_embeddings(model: ModelProto) -> tuple[ModelProto, int]:
    """The normalised model with its embedding tables in int8, nothing else changed; how many there were."""
    model = graph.normalise(model)
    writer = _Writer(model, highest=127, kinds=("Gather",))
    for scope in list(graph.scopes(model.graph)):
        writer.rewrite(scope)
    graph.drop_unused_initializers(model)
    return model, writer.counts["embedding table"]


def quantized_rows(weights: np.ndarray, axis: int, highest: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 along `axis`: (int8 weights of the same shape, float32 scales, one for each index of axis)."""
    quantized, scales = symmetric_int8(weights, (axis,), highest)
    return quantized, scales.reshape(-1)


class _Writer:
    """Writes the quantized nodes of one model and counts them."""

    def __init__(self, model: ModelProto, highest: int, kinds: tuple[str, ...] = KINDS) -> None:
        self.kinds = kinds
        self.names = all_names(model)
        self.opset = graph.opset(model)
        self.highest = highest
        self.counts = {"matrix": 0, "recurrent layer": 0, "embedding table": 0}
        self.used_contrib = False
        self.layers: list[dict[str, Any]] = []
        self.weights: dict[tuple[int, str, bool], tuple[str, str]] = {}

    def rewrite(self, scope: graph.Scope) -> None:
        self.activations: dict[str, tuple[str, str, str]] = {}
        replacements: dict[int, list[NodeProto]] = {}
        for index, node in enumerate(scope.graph.node):
            if node.domain not in graph.MAIN_DOMAINS or node.op_type not in self.kinds:
                continue
            made: list[NodeProto] | None = None
            if node.op_type in ("MatMul", "Gemm"):
                made = self._matrix(scope, node)
            elif node.op_type == "LSTM":
                made = self._lstm(scope, node)
            elif node.op_type == "Gather":
                made = self._embedding(scope, node)
            if made is not None:
                replacements[index] = made
        replace_nodes(scope.graph, replacements)

    def _noted(self, node: NodeProto, weights: np.ndarray, made: np.ndarray, size_bytes: int) -> None:
        error = relative_error(weights, made, None)
        name = node.name or node.output[0]
        self.layers.append(layer(name, node.op_type, weights.shape, 8, weights.nbytes, size_bytes, error))

    def _weight(self, scope: graph.Scope, name: str, rank: int) -> np.ndarray | None:
        tensor = scope.find(name)
        if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != rank:
            return None
        return streamed.array(tensor) if graph.elements(tensor) >= 256 else None

    def _new(self, wish: str) -> str:
        return fresh_name(self.names, wish)

    def _store(self, scope: graph.Scope, array: np.ndarray, wish: str) -> str:
        name = self._new(wish)
        scope.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _matrix(self, scope: graph.Scope, node: NodeProto) -> list[NodeProto] | None:
        weights = self._weight(scope, node.input[1], 2)
        if weights is None or scope.find(node.input[0]) is not None:
            return None
        is_gemm = node.op_type == "Gemm"
        if is_gemm:
            if graph.attribute(node, "transA", 0):
                return None
            weights = weights.T if graph.attribute(node, "transB", 0) else weights
            weights = weights * np.float32(graph.attribute(node, "alpha", 1.0))
        key = (id(scope.graph), node.input[1], is_gemm and bool(graph.attribute(node, "transB", 0)))
        if key not in self.weights or is_gemm:
            quantized, scales = quantized_rows(weights, 1, self.highest)
            self._noted(node, weights, quantized * scales, quantized.nbytes + scales.nbytes)
            self.weights[key] = (
                self._store(scope, quantized, node.input[1] + "_int8"),
                self._store(scope, scales, node.input[1] + "_scale"),
            )
        self.counts["matrix"] += 1
        bias = node.input[2] if is_gemm and len(node.input) > 2 and node.input[2] else None
        beta = float(graph.attribute(node, "beta", 1.0)) if is_gemm else 1.0
        product = node.output[0] if bias is None else self._new(node.output[0] + "_product")
        made = self._product(node.input[0], *self.weights[key], product)
        if bias is not None:
            if beta != 1.0:
                scaled = self._new(bias + "_scaled")
                made.append(
                    helper.make_node("Mul", [bias, self._store(scope, np.asarray(beta, np.float32), "beta")], [scaled])
                )
                bias = scaled
            made.append(helper.make_node("Add", [product, bias], [node.output[0]], name=self._new("bias_add")))
        return made

    def _product(self, activation: str, weight: str, scale: str, output: str) -> list[NodeProto]:
        if self.opset < DYNAMIC_OPSET:
            self.used_contrib = True
            name = self._new("dynamic_matmul")
            return [
                helper.make_node(
                    "DynamicQuantizeMatMul", [activation, weight, scale], [output], name=name, domain="com.microsoft"
                )
            ]
        made = []
        if activation not in self.activations:
            parts = tuple(self._new(activation + end) for end in ("_u8", "_u8_scale", "_u8_zero"))
            made.append(
                helper.make_node("DynamicQuantizeLinear", [activation], list(parts), name=self._new("quantize"))
            )
            self.activations[activation] = parts  # type: ignore[assignment]
        u8, u8_scale, u8_zero = self.activations[activation]
        integer, real, both = (self._new(output + end) for end in ("_int32", "_float", "_scales"))
        return [
            *made,
            helper.make_node("MatMulInteger", [u8, weight, u8_zero], [integer], name=self._new("matmul_int8")),
            helper.make_node("Cast", [integer], [real], to=TensorProto.FLOAT, name=self._new("to_float")),
            helper.make_node("Mul", [u8_scale, scale], [both], name=self._new("scales")),
            helper.make_node("Mul", [real, both], [output], name=self._new("rescale")),
        ]

    def _lstm(self, scope: graph.Scope, node: NodeProto) -> list[NodeProto] | None:
        inputs_weight, recurrent_weight = (self._weight(scope, node.input[i], 3) for i in (1, 2))
        if inputs_weight is None or recurrent_weight is None or graph.attribute(node, "layout", 0):
            return None
        stored = []
        for weights, name in ((inputs_weight, node.input[1]), (recurrent_weight, node.input[2])):
            turned = weights.transpose(0, 2, 1)  # the operator wants [directions, inputs, 4 × hidden]
            directions, _, columns = turned.shape
            parts = [quantized_rows(turned[d], 1, self.highest) for d in range(directions)]
            zero = np.zeros((directions, columns), np.int8)
            stored.append(
                (
                    self._store(scope, np.stack([p[0] for p in parts]), name + "_int8"),
                    self._store(scope, np.stack([p[1] for p in parts]), name + "_scale"),
                    self._store(scope, zero, name + "_zero"),
                )
            )
        rest = [*node.input[3:], *[""] * 5][:5]
        inputs = [node.input[0], stored[0][0], stored[1][0], *rest, *stored[0][1:], *stored[1][1:]]
        made = helper.make_node(
            "DynamicQuantizeLSTM", inputs, list(node.output), name=self._new("lstm_int8"), domain="com.microsoft"
        )
        made.attribute.extend(a for a in node.attribute if a.name != "layout")
        self.used_contrib = True
        self.counts["recurrent layer"] += 1
        return [made]

    def _embedding(self, scope: graph.Scope, node: NodeProto) -> list[NodeProto] | None:
        table = self._weight(scope, node.input[0], 2)
        if table is None or graph.attribute(node, "axis", 0) != 0 or table.shape[1] < 8:
            return None
        quantized, scales = quantized_rows(table, 0, 127)
        self._noted(node, table, quantized * scales[:, None], quantized.nbytes + scales.nbytes)
        rows = self._store(scope, quantized, node.input[0] + "_int8")
        scale = self._store(scope, scales.reshape(-1, 1), node.input[0] + "_scale")
        output = node.output[0]
        taken, real, factor = (self._new(output + end) for end in ("_rows", "_float", "_factor"))
        self.counts["embedding table"] += 1
        return [
            helper.make_node("Gather", [rows, node.input[1]], [taken], axis=0, name=self._new("gather_int8")),
            helper.make_node("Gather", [scale, node.input[1]], [factor], axis=0, name=self._new("gather_scale")),
            helper.make_node("Cast", [taken], [real], to=TensorProto.FLOAT, name=self._new("to_float")),
            helper.make_node("Mul", [real, factor], [output], name=self._new("rescale")),
        ]
