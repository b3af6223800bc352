"""QDQ to QOperator: the runtime's own fusions done beforehand, so that the file is smaller and loads sooner.

A QDQ graph carries its biases in float or int32 with scales, a pair of nodes for every activation, and is fused each
time it is loaded. onnxruntime's extended optimisations are the same on every processor (layouts, which are not, come
after them); what they leave is written down. Source: ONNX operators QLinearConv, QLinearMatMul; onnxruntime contrib.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnxruntime
from onnx import ModelProto

from compression_service.engine import graph
from compression_service.engine.errors import FailedError, NotApplicableError, first_line
from compression_service.engine.passes.base import PassContext, PassOutcome, plural

SOURCE = "ONNX operators QLinearConv and QLinearMatMul; onnxruntime's extended graph optimisations"
NEEDS_FLOAT_SOURCE = False
SAME_MODEL = 0.999


def verdict(model: ModelProto) -> str | None:
    """Always None before the pairs are there: the pass before it makes them."""
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """The optimised graph, checked to run like the one that was given."""
    before = graph.operators(model)
    if not before.get("QuantizeLinear"):
        raise NotApplicableError("There are no pairs of QuantizeLinear and DequantizeLinear to fold.")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    source, target = context.work / "qdq.onnx", context.work / "folded-qdq.onnx"
    graph.save(model, source)
    options.optimized_model_filepath = str(target)
    try:
        onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
        folded = graph.normalise(onnx.load(str(target)))
        agreement = context.runs_like(model, folded) if context.runs_like else 1.0
    except Exception as error:  # the runtime raises its own kinds
        raise FailedError(f"onnxruntime could not write the folded graph: {first_line(error)}") from error
    if agreement < SAME_MODEL:
        raise NotApplicableError(f"The folded graph agrees with the QDQ graph only to {agreement:.4f}.")
    after = graph.operators(folded)
    gone = before.get("QuantizeLinear", 0) - after.get("QuantizeLinear", 0)
    gone += before.get("DequantizeLinear", 0) - after.get("DequantizeLinear", 0)
    return PassOutcome(folded, f"{plural(max(0, gone), 'node')} of QDQ pairs folded into integer operators", params)
