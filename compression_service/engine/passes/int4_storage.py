"""4 bits stored, int8 arithmetic: int8 weights kept as 4-bit codes times a small integer for each block.

The file shrinks to little more than half of int8; while loading, the runtime folds the codes back into int8 weights, so
the speed is that of int8, and the peak of memory is higher, for unpacking takes it once. Goes behind a pass that made
int8 weights (QDQ, MatMulInteger, or stored for float arithmetic), and nothing may fold it after; the rounding error is
compensated with the second moments that the quantized model itself sees. Sources: two-level scales as in llama.cpp's
k-quants; GPTQ (Frantar et al. 2022, arXiv 2210.17323).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from compression_service.engine import graph, streamed
from compression_service.engine.calibration import activations
from compression_service.engine.errors import NotApplicableError, first_line
from compression_service.engine.passes.base import PassContext, PassOutcome, all_names, fresh_name, layer, plural, store
from compression_service.engine.passes.rounding import TwoLevel, packed_nibbles, relative_error, two_level

SOURCE = "two-level scales as in llama.cpp's k-quants; Frantar et al. 2022, GPTQ (arXiv 2210.17323)"
NEEDS_FLOAT_SOURCE = False
DEFAULTS: dict[str, Any] = {"block": 32, "keep8": 0.0, "ends": False}
SMALLEST_ELEMENTS = 1024
MOD_OPSET = 10
RECURRENT = ("LSTM", "GRU", "RNN")
# Which inputs are weights.
CONSUMERS = {"Conv": (1,), "MatMul": (1,), "Gemm": (1,), "MatMulInteger": (1,), **dict.fromkeys(RECURRENT, (1, 2))}


def verdict(model: ModelProto) -> str | None:
    """Always None before int8 weights are there: the pass before it makes them."""
    return None


@dataclass
class _Weight:
    """int8 weights [K, N] of a layer, or of several which share them; `channels_first`: the tensor holds N before K."""

    tensor: TensorProto
    node: NodeProto
    taps: list[str]  # the float activations which are multiplied; none where they cannot be seen (recurrent states)
    integers: np.ndarray
    block: int
    channels_first: bool


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """`params`: {"block": the largest, "keep8": share of the weights which stays int8, "ends": first and last too}."""
    params = DEFAULTS | params
    model = graph.normalise(model)
    found = _weights(model, params["block"])
    if params["ends"] and len(found) > 2:
        found = found[1:-1]
    if not found:
        raise NotApplicableError(
            f"There is no int8 weight of at least {SMALLEST_ELEMENTS:,} numbers which 4 bits could store."
        )
    taps = {(w.tensor.name, tap): (tap, len(w.integers), _rows(w)) for w in found for tap in w.taps}
    seen, uncompensated = _moments(model, {"@".join(key): tap for key, tap in taps.items()}, context)
    made = {w.tensor.name: _coded(w, [seen.get(f"{w.tensor.name}@{tap}") for tap in w.taps]) for w in found}
    kept = _kept(found, made, params["keep8"])
    names = all_names(model)
    writer = _Writer(model, names)
    layers = []
    for weight in found:
        codes, error = made[weight.tensor.name]
        stays = weight.tensor.name in kept
        size = weight.integers.size if stays else writer.unpack(weight, codes)
        layers.append(
            layer(
                weight.node.name or weight.tensor.name, weight.node.op_type, weight.integers.shape, 8 if stays else 4,
                weight.integers.size, size, 0.0 if stays else error, error, "kept in int8" if stays else "",
            )
        )  # fmt: skip
    writer.finish()
    words = f"{plural(len(found) - len(kept), 'int8 weight')} stored in 4 bits, unpacked while loading"
    if kept:
        words += f"; {plural(len(kept), 'layer')} kept in int8"
    return PassOutcome(model, words + uncompensated, params, layers)


def _moments(
    model: ModelProto, taps: activations.Taps, context: PassContext
) -> tuple[dict[str, activations.Moments], str]:
    """The second moments of the layers' inputs, and "" or why there are none."""
    try:
        kept = context.kept("int4_storage", context.calibration)
        return activations.moments(model, taps, context.calibration, context.work, context.seconds_cap, kept), ""
    except Exception as error:  # some QDQ graphs (magika) run only when they are fused, which hides the inputs
        return {}, f"; not compensated, for the graph does not run unfused ({first_line(error, 100)})"


def _weights(model: ModelProto, largest: int) -> list[_Weight]:
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {name: node for node in model.graph.node for name in node.output}
    uses = graph.names_used(model)
    found: dict[str, _Weight] = {}
    readings: Counter[str] = Counter()
    for node in model.graph.node:
        if node.domain not in graph.MAIN_DOMAINS:
            continue
        for position in CONSUMERS.get(node.op_type, ()):
            tensor = constants.get(_stored_name(node, position, makers))
            if tensor is None or tensor.data_type != TensorProto.INT8 or graph.elements(tensor) < SMALLEST_ELEMENTS:
                continue
            weight = _weight(node, tensor, makers, largest)
            if weight is None or not weight.block:
                continue
            readings[tensor.name] += 1
            known = found.setdefault(tensor.name, weight)
            if known is not weight and (known.node.op_type, known.channels_first) == (
                node.op_type, weight.channels_first
            ):  # fmt: skip
                known.taps += [tap for tap in weight.taps if tap not in known.taps]
    # What anything else reads (an embedding which is the last layer too) stays as it is.
    return [weight for name, weight in found.items() if uses[name] <= readings[name]]


def _stored_name(node: NodeProto, position: int, makers: dict[str, NodeProto]) -> str:
    """The tensor behind an input: as it is, behind a DequantizeLinear, or behind int8_storage's Cast and Mul."""
    name = node.input[position] if position < len(node.input) else ""
    maker = makers.get(name)
    if maker is not None and maker.op_type == "Mul":
        maker = makers.get(maker.input[0])
    return maker.input[0] if maker is not None and maker.op_type in ("DequantizeLinear", "Cast") else name


def _weight(node: NodeProto, tensor: TensorProto, makers: dict[str, NodeProto], largest: int) -> _Weight | None:
    """The weights of a layer as [K, N]; None for forms which the pass does not take."""
    integers, tap = streamed.array(tensor), node.input[0]
    if node.op_type in RECURRENT:
        integers = integers.reshape(-1, integers.shape[-1]).T
        return _Weight(tensor, node, [], integers, _block(len(integers), largest), True)
    if graph.attribute(node, "group", 1) != 1 or graph.attribute(node, "transA", 0):
        return None
    if integers.ndim < 2 or (node.op_type != "Conv" and integers.ndim != 2):
        return None
    if node.op_type == "MatMulInteger":
        quantizer = makers.get(tap)
        if quantizer is None or quantizer.op_type != "DynamicQuantizeLinear":
            return None
        tap = quantizer.input[0]
    channels_first = node.op_type == "Conv" or bool(graph.attribute(node, "transB", 0))
    if channels_first:
        integers = integers.reshape(len(integers), -1).T
    return _Weight(tensor, node, [tap], integers, _block(len(integers), largest), channels_first)


def _block(inputs: int, largest: int) -> int:
    """The largest even divisor of K up to `largest` and of at least 8, 0 when there is none."""
    return next((block for block in range(largest, 7, -1) if block % 2 == 0 and inputs % block == 0), 0)


def _rows(weight: _Weight) -> activations.Rows:
    if weight.node.op_type == "Conv":
        return activations.convolution_rows(weight.node, tuple(weight.tensor.dims[2:]))
    return activations.matrix_rows


def _coded(weight: _Weight, seen: list[activations.Moments | None]) -> tuple[TwoLevel, float]:
    grams = [one.gram for one in seen if one is not None and one.count]
    gram = sum(grams[1:], grams[0]) if grams else None
    try:
        codes = two_level(weight.integers, weight.block, gram)
    except np.linalg.LinAlgError:
        codes = two_level(weight.integers, weight.block, None)
    whole = weight.integers.astype(np.float32)
    return codes, relative_error(whole, codes.integers().astype(np.float32), gram)


def _kept(found: list[_Weight], made: dict[str, tuple[TwoLevel, float]], share: float) -> set[str]:
    """The layers with the largest output error, until `share` of all weights is among them."""
    left = share * sum(w.integers.size for w in found)
    kept: set[str] = set()
    for weight in sorted(found, key=lambda w: (-made[w.tensor.name][1], w.tensor.name)):
        if left <= 0:
            break
        kept.add(weight.tensor.name)
        left -= weight.integers.size
    return kept


class _Writer:
    """Writes the nodes which a runtime folds back into int8 weights."""

    def __init__(self, model: ModelProto, names: set[str]) -> None:
        self.model, self.names = model, names
        self.scope = graph.Scope(model.graph)
        self.nodes: list[NodeProto] = []
        self.numbers: dict[int, str] = {}

    def unpack(self, weight: _Weight, codes: TwoLevel) -> int:
        """Replace one tensor; returns the bytes of what is stored instead."""
        inputs, outputs = weight.integers.shape
        blocks, half = inputs // weight.block, weight.block // 2
        name = weight.tensor.name
        nibbles = (codes.codes + 8).astype(np.uint8).reshape(blocks, weight.block, outputs)
        factors = codes.factors.astype(np.uint8).reshape(blocks, 1, outputs)
        axis = 1
        if weight.channels_first:  # [N, blocks, block], so that nothing has to be transposed while loading
            nibbles, factors, axis = nibbles.transpose(2, 0, 1), factors.transpose(2, 0, 1), 2
        low, high = np.split(nibbles, [half], axis)
        pairs = np.stack([low, high], -1).reshape(*low.shape[:-1], -1)
        packed = packed_nibbles(pairs).reshape(low.shape)
        given = store(self.scope, packed, name + "_4", self.names)
        by = store(self.scope, factors, name + "_by", self.names)
        shape = store(self.scope, np.asarray(weight.tensor.dims, np.int64), name + "_shape", self.names)
        wide = self._node("Cast", [given], to=TensorProto.INT32)
        upper = self._node("Div", [wide, self._number(16)])
        if graph.opset(self.model) < MOD_OPSET:
            lower = self._node("Sub", [wide, self._node("Mul", [upper, self._number(16)])])
        else:
            lower = self._node("Mod", [wide, self._number(16)])
        parts = [lower, upper]
        signed = self._node("Sub", [self._node("Concat", parts, axis=axis), self._number(8)])
        product = self._node("Mul", [signed, self._node("Cast", [by], to=TensorProto.INT32)])
        flat = self._node("Cast", [product], to=TensorProto.INT8)
        weight.tensor.name = fresh_name(self.names, name + "_replaced")
        self.nodes.append(helper.make_node("Reshape", [flat, shape], [name]))
        return packed.nbytes + factors.nbytes

    def _number(self, number: int) -> str:
        if number not in self.numbers:
            self.numbers[number] = store(self.scope, np.asarray(number, np.int32), f"number_{number}", self.names)
        return self.numbers[number]

    def _node(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = fresh_name(self.names, f"unpack_{kind.lower()}")
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def finish(self) -> None:
        """Put the nodes in front of the graph and drop the tensors which they make."""
        rest = [NodeProto.FromString(node.SerializeToString()) for node in self.model.graph.node]
        del self.model.graph.node[:]
        self.model.graph.node.extend([*self.nodes, *rest])
        graph.drop_unused_initializers(self.model)
