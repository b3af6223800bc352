"""Static int8: weights and activations in 8 bits as QuantizeLinear/DequantizeLinear pairs, ranges from calibration.

Weights are signed with a scale per output channel, activations unsigned (U8S8: symmetric signed activations cost up to
3.6 times the latency); 7-bit weights where the processor has no VNNI. The ranges come from calibration rows: plain
min-max, a moving average of it and a percentile are tried, and the one that agrees best with the source on calibration
rows is kept. Source: Jacob et al. 2018 (arXiv 1712.05877), onnxruntime.quantization.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, version_converter

from compression_service.engine import graph
from compression_service.engine.errors import FailedError, NotApplicableError, first_line
from compression_service.engine.passes.base import (
    Feed,
    PassContext,
    PassOutcome,
    float_weight_bytes,
    has_spatial_convolutions,
    plural,
    sites,
)
from compression_service.engine.passes.int8_dynamic import with_int8_embeddings
from compression_service.engine.passes.patterns import with_types
from compression_service.engine.passes.widen import widened

SOURCE = "Jacob et al. 2018 (arXiv 1712.05877); onnxruntime.quantization"
NEEDS_FLOAT_SOURCE = True
KINDS = ("Conv", "MatMul", "Gemm")
QDQ_PER_CHANNEL_OPSET = 13
SMALLEST_SHARE = 0.1
SAME_MODEL = 0.9999
GOOD, HOPELESS = 0.99, 0.95  # with everything in 8 bits; below the first, the products alone are tried (magika)
HISTOGRAM_LIMIT_BYTES = 256 * 1024 * 1024
_WORKERS = ("Conv", "ConvTranspose", "MatMul", "Gemm", "LSTM", "GRU", "RNN")


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    top_level = {tensor.name for tensor in model.graph.initializer}
    found = list(sites(model, *KINDS))
    reachable = sum(site.bytes for site in found if site.tensor.name in top_level)
    if not found:
        return "There is no weight that static int8 could shrink (Conv, MatMul or Gemm with constant weights)."
    if not reachable:
        return "All weights are inside If or Loop branches, where activation ranges cannot be calibrated."
    share = reachable / float_weight_bytes(model)
    if share < SMALLEST_SHARE:
        return f"Only {share:.0%} of the weights belong to convolutions and matrices outside If and Loop branches."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Calibrate and quantize; `params`: {"methods": names of calibration methods to try, in order}."""
    if not context.calibration or not context.calibration[0]:
        raise NotApplicableError("Static int8 needs calibration inputs, and none could be made for this model.")
    prepared, tables = with_int8_embeddings(_prepared(model, context))
    prepared = with_types(prepared)  # the quantizer leaves alone what it knows no type of, and then stops at biases
    best: tuple[float, str, ModelProto, str] | None = None
    problem = ""
    # The last quarter of the calibration rows chooses between the methods; the others give the ranges.
    cut = max(1, len(context.calibration) * 3 // 4)
    began = time.monotonic()
    for method, scope in _tries(params["methods"], prepared):
        if best is not None:
            late = time.monotonic() - began > context.seconds_cap
            if late or (scope == "products" and best[3] == "everything" and best[0] > GOOD):
                break
            if scope == "everything" and best[0] < HOPELESS:
                continue
        try:
            candidate = _quantized(prepared, method, scope, context.calibration[:cut], context)
            agreement = context.runs_like(model, candidate) if context.runs_like else 1.0
        except Exception as error:  # a third-party tool: whatever it raises becomes a sentence
            problem = first_line(error)
            continue
        if best is None or agreement > best[0]:
            best = (agreement, method, candidate, scope)
    if best is None:
        raise FailedError(f"onnxruntime's static quantizer stopped on this model: {problem}")
    _, method, quantized, scope = best
    counted = graph.operators(quantized)
    bits = 8 if context.vnni else 7
    changed = (
        f"{plural(_quantized_weights(quantized), 'tensor')} in int8 with a scale per channel,"
        f" {plural(counted.get('QuantizeLinear', 0), 'activation')} in uint8, ranges by {method} from"
        f" {plural(cut, 'calibration input')} ({bits}-bit weights)"
    )
    if tables:
        changed += f", {plural(tables, 'embedding table')} in int8 with a scale per row"
    if scope == "products" and has_spatial_convolutions(prepared):
        changed += ", what lies between the layers in float"
    used = {
        **params,
        "method": method,
        "scope": scope,
        "per_channel": True,
        "weight_bits": bits,
        "calibration_count": cut,
    }
    return PassOutcome(quantized, changed, used)


def _tries(methods: Iterable[str], model: ModelProto) -> list[tuple[str, str]]:
    """(method, scope) to try in order: all in 8 bits first where there are convolutions, then the products alone."""
    scopes = ("everything", "products") if has_spatial_convolutions(model) else ("products",)
    return [(method, scope) for scope in scopes for method in methods]


def _quantized_weights(model: ModelProto) -> int:
    return sum(t.data_type == TensorProto.INT8 and len(t.dims) >= 2 for t in graph.tensors(model))


def _prepared(model: ModelProto, context: PassContext) -> ModelProto:
    """Opset 13 or newer, batch normalisation folded, constants as initializers; checked to be the same model."""
    current = graph.normalise(widened(model))
    if graph.opset(current) < QDQ_PER_CHANNEL_OPSET:
        try:
            current = version_converter.convert_version(current, QDQ_PER_CHANNEL_OPSET)
        except Exception as error:  # the converter stops with many kinds of errors on operators it does not know
            raise NotApplicableError(
                f"Static int8 needs opset {QDQ_PER_CHANNEL_OPSET} and this graph of opset {graph.opset(model)} cannot"
                f" be brought there ({_obstacle(current, error)}); export it with a newer opset."
            ) from error
        if context.runs_like and context.runs_like(model, current) < SAME_MODEL:
            raise NotApplicableError(
                f"Static int8 needs opset {QDQ_PER_CHANNEL_OPSET}; after the upgrade from {graph.opset(model)} the"
                " model gives other outputs, so export it with a newer opset."
            )
    folded = graph.normalise(_folded(current, context.work))
    for number, node in enumerate(folded.graph.node):
        node.name = f"{node.op_type}_{number}"  # the quantizer goes by names, which old exporters leave out
    return folded


def _obstacle(model: ModelProto, error: Exception) -> str:
    """What the version converter stumbled over: operators which no released opset has, else its own words."""
    unknown = [name for name in graph.operators(model) if ":" not in name and not onnx.defs.has(name)]
    return f"no released opset has {', '.join(unknown)}" if unknown else first_line(error, 120)


def _folded(model: ModelProto, work: Path) -> ModelProto:
    """The graph after onnxruntime's basic optimisations (batch norm into convolutions, constant folding)."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    target = work / "folded.onnx"
    options.optimized_model_filepath = str(target)
    source = work / "unfolded.onnx"
    graph.save(model, source)
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return onnx.load(str(target))


class _Rows:
    """The calibration rows as onnxruntime's quantizer reads them, one dict at a time."""

    def __init__(self, feeds: list[Feed]) -> None:
        self.feeds: Iterator[Feed] = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self.feeds, None)


def _quantized(model: ModelProto, method: str, scope: str, feeds: list[Feed], context: PassContext) -> ModelProto:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    if method == "percentile" and _activation_bytes(model, feeds) > HISTOGRAM_LIMIT_BYTES:
        raise NotApplicableError("the activations are too large to keep histograms of")
    source, target = context.work / "float.onnx", context.work / f"int8_{method}.onnx"
    graph.save(model, source)
    options: dict[str, Any] = {
        "ActivationSymmetric": False,
        "WeightSymmetric": True,
        "QDQDisableWeightAdjustForInt32Bias": True,
    }
    if method == "moving-average":
        options.update({"CalibMovingAverage": True, "CalibMovingAverageConstant": 0.05})
    if method == "percentile":
        options["CalibPercentile"] = 99.99
    kinds, left_out = _targets(model, scope)
    with _quiet():
        quantize_static(
            str(source), str(target), _Rows(feeds),
            quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=not context.vnni,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile if method == "percentile" else CalibrationMethod.MinMax,
            op_types_to_quantize=kinds, nodes_to_exclude=left_out, extra_options=options,
        )  # fmt: skip
    made = onnx.load(str(target))
    float_tail(made)
    del made.graph.value_info[:]
    made.ir_version = graph.lowest_ir(made)
    return made


def float_tail(model: ModelProto) -> None:
    """Take the pairs out behind which no layer with weights comes: 8 bits there coarsen the answer and save nothing.

    A pair behind a convolution stays, for without it the convolution itself would run in float; products give floats
    out at no cost. A graph with branches, which may read any value, keeps all of its pairs.
    """
    if sum(1 for _ in graph.graphs(model)) > 1:
        return
    made_by = {name: node for node in model.graph.node for name in node.output}
    leading = _leading_to_workers(model, made_by)
    outputs = {value.name for value in model.graph.output}
    gone: set[str] = set()
    renamed: dict[str, str] = {}
    for node in model.graph.node:
        producer = made_by.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if producer is None or node.output[0] in leading or producer.op_type in ("Conv", "ConvTranspose"):
            continue
        pairs = [one for one in model.graph.node if node.output[0] in one.input]
        given = [one.output[0] for one in pairs if one.output[0] in outputs]
        if node.output[0] in outputs or len(given) > 1 or any(one.op_type != "DequantizeLinear" for one in pairs):
            continue
        value = given[0] if given else node.input[0]  # an output of the model keeps its name
        renamed |= dict.fromkeys([node.input[0], *(one.output[0] for one in pairs)], value)
        gone |= {node.output[0], *(one.output[0] for one in pairs)}
    if not gone:
        return
    kept = [NodeProto.FromString(node.SerializeToString()) for node in model.graph.node if node.output[0] not in gone]
    for node in kept:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    graph.drop_unused_initializers(model)


def _leading_to_workers(model: ModelProto, made_by: dict[str, NodeProto]) -> set[str]:
    """The values from which a layer with weights, or a product, can still be reached."""
    pending = [name for node in model.graph.node if node.op_type in _WORKERS for name in node.input if name]
    leading: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in leading:
            leading.add(name)
            pending += [one for one in made_by[name].input if one] if name in made_by else []
    return leading


def _targets(model: ModelProto, scope: str) -> tuple[list[str] | None, list[str]]:
    """(operators, names of nodes to leave in float): everything, or products with weights only.

    In a transformer or a recurrent network, static ranges for the sums, gates and attention products between them cost
    far more than they give (DTLN became 4 times slower, MiniLM fell to a cosine of 0.67). A Gemm which adds an
    activation has no integer kernel: its weights would be widened at each run.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    adding = [
        node.name for node in model.graph.node
        if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2] and node.input[2] not in constants
    ]  # fmt: skip
    if scope == "everything":
        return None, adding
    weighted = {site.node.name for site in sites(model, *KINDS, smallest=1)} - set(adding)
    products = [node.name for node in model.graph.node if node.op_type in KINDS]
    return list(KINDS), [name for name in products if name not in weighted]


def _activation_bytes(model: ModelProto, feeds: list[Feed]) -> int:
    """A rough bound: as many activations as nodes, each as large as the largest input times 16 channels."""
    largest = max(array.nbytes for array in feeds[0].values())
    return len(feeds) * largest * 16 * sum(1 for _ in graph.nodes(model)) // 4


@contextmanager
def _quiet() -> Iterator[None]:
    """The quantizer advises through the root logger; what it says is about our own choices."""
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):  # its histograms print, and stdout is where progress goes
            yield
    finally:
        logging.disable(previous)
