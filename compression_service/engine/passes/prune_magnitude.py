"""Magnitude pruning: set the weights with the smallest absolute value to zero.

Source: Han et al. 2015, "Learning both Weights and Connections" (arXiv 1506.02626). The zeros change neither the file's
size nor the speed of dense kernels; what they change is how well the file compresses on the wire and what a pass
after this one can do. Parameters: {"sparsity": share of each weight tensor} or {"threshold": multiple of each
tensor's standard deviation}.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper

from compression_service.engine import graph, streamed
from compression_service.engine.errors import NotApplicableError
from compression_service.engine.passes.base import PassContext, PassOutcome, Site, plural, sites

SOURCE = "Han et al. 2015 (arXiv 1506.02626)"
NEEDS_FLOAT_SOURCE = True
KINDS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN")


def verdict(model: ModelProto) -> str | None:
    """Why the pass has nothing to do, None when it applies."""
    if not any(True for _ in sites(model, *KINDS)):
        return f"There is no weight that pruning could thin out ({', '.join(KINDS[:4])} with constant weights)."
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """Zero the small weights in place of the old ones; biases and embeddings stay."""
    model = graph.normalise(model)
    touched: dict[int, Site] = {id(site.tensor): site for site in sites(model, *KINDS)}
    zeros = total = 0
    for site in touched.values():
        if site.tensor.data_type == TensorProto.BFLOAT16:
            continue
        weights = streamed.array(site.tensor).copy()
        magnitude = np.abs(weights.astype(np.float32))
        if "sparsity" in params:
            count = round(params["sparsity"] * magnitude.size)
            # The stable order decides ties, so that exactly `count` weights go and always the same ones.
            smallest = np.argsort(magnitude, axis=None, kind="stable")[:count]
            weights.reshape(-1)[smallest] = 0
        else:
            weights[magnitude < params["threshold"] * float(np.std(weights.astype(np.float32)))] = 0
        zeros += int(np.count_nonzero(weights == 0))
        total += weights.size
        site.tensor.CopyFrom(numpy_helper.from_array(weights, site.tensor.name))
    if not zeros:
        raise NotApplicableError("No weight is small enough to be pruned.")
    changed = f"{zeros:,} of {total:,} weights in {plural(len(touched), 'tensor')} are zero ({zeros / total:.1%})"
    return PassOutcome(model, changed, params)
