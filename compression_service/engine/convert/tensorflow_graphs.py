"""What Keras, SavedModel and TFLite sources share: the packages, inputs to try, the comparison with TensorFlow.

tf2onnx writes the graph; it counts only after onnxruntime gave what TensorFlow gives on the same inputs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compression_service.engine import runner
from compression_service.engine.convert import onnx_checks
from compression_service.engine.convert.formats import Component, Progress
from compression_service.engine.errors import RefusedError, first_line

OPSET = 17
COMPARED_INPUTS = 3
LARGEST_DIFFERENCE = 1e-3  # of floats, as a part of the largest number which TensorFlow gave
LARGEST_STEP = 1  # of quantized outputs, which may round to the neighbour
# What reads, writes or runs something else than numbers; such a graph is not even compared.
UNSAFE_OPERATORS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "PrintV2"}

Feed = dict[str, np.ndarray]
Original = Callable[[Feed], list[np.ndarray]]


def packages(shown: str) -> tuple[Any, Any]:
    """(tensorflow, tf2onnx), quiet and on the processor. Raises RefusedError where the extra is missing."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}
    try:
        import tensorflow
        import tf2onnx
    except ImportError as error:
        raise RefusedError(
            f"{shown}: converting Keras and TensorFlow models needs the tensorflow extra (make convert-tensorflow),"
            " which this worker does not have; push ONNX, or install it on the worker."
        ) from error
    return tensorflow, tf2onnx


def exported(out: Path, shown: str, progress: Progress, write: Callable[[str], Any]) -> Path:
    """Where `write`, a call of tf2onnx, put the graph. Raises RefusedError with what it stumbled over."""
    target = out / "onnx" / "model.onnx"
    target.parent.mkdir(parents=True, exist_ok=True)
    progress(0.3, "Exporting with tf2onnx")
    try:
        write(str(target))
    except Exception as error:  # the exporter raises whatever the graph leads it to
        raise RefusedError(f"{shown} cannot be brought to ONNX: {first_line(error)}") from error
    return target


def exported_function(
    function: Callable[..., list[Any]], signature: list[Any], out: Path, shown: str, progress: Progress
) -> Path:
    """`exported`, for a function of positional tensors."""
    tensorflow, tf2onnx = packages(shown)
    traced = tensorflow.function(function, input_signature=signature)
    return exported(
        out, shown, progress,
        lambda path: tf2onnx.convert.from_function(traced, signature, opset=OPSET, output_path=path),
    )  # fmt: skip


def refuse_unsafe(operators: Iterable[str], shown: str) -> None:
    unsafe = sorted(UNSAFE_OPERATORS.intersection(operators))
    if unsafe:
        raise RefusedError(
            f"{shown} holds {', '.join(unsafe)}, which reaches outside the model, and that is never run; export it"
            " without, or push ONNX."
        )


def feeds_of(specs: dict[str, tuple[list[int | None], Any]]) -> list[Feed]:
    """Inputs to compare with: {name: (shape, numpy type)} → feeds of one, two and three rows where the axis is free."""
    rng = np.random.default_rng(0)
    return [
        {name: _array(rng, _sized(shape, rows + 1), np.dtype(kind)) for name, (shape, kind) in specs.items()}
        for rows in range(COMPARED_INPUTS)
    ]


def finished(
    target: Path, shown: str, feeds: list[Feed], original: Original, evidence: dict[str, Any]
) -> tuple[list[Component], dict[str, Any]]:
    """Name the free batch axis, compare with the original, describe the baseline. Raises RefusedError."""
    model = onnx.load(str(target))
    _name_batch(model)
    onnx.save(model, str(target))
    difference = _difference(target, feeds, original, shown)
    found = {
        "exporter": f"tf2onnx {metadata.version('tf2onnx')}",
        "opset": OPSET,
        "max_difference_to_tensorflow": difference,
        "compared_inputs": len(feeds),
        "tensorflow": metadata.version("tensorflow-cpu"),
    }
    checked = onnx_checks.checked_model(target, "onnx/model.onnx")
    return [Component("model", shown, "onnx/model.onnx", checked, ["onnx/model.onnx"])], found | evidence


def _sized(shape: list[int | None], rows: int) -> list[int]:
    free = 32 if len(shape) == 4 else 16
    return [(rows if axis == 0 else free) if size is None or size < 0 else size for axis, size in enumerate(shape)]


def _array(rng: np.random.Generator, shape: list[int], kind: np.dtype) -> np.ndarray:
    if kind.itemsize == 1 and kind.kind in "iu":  # a quantized input takes all of its range
        limits = np.iinfo(kind)
        return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    if kind.kind in "iub":  # 0 and 1 are in every vocabulary
        return rng.integers(0, 2, shape).astype(kind)
    return rng.random(shape).astype(kind)


def _name_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_param:
            dims[0].dim_param = "batch"


def _difference(target: Path, feeds: list[Feed], original: Original, shown: str) -> float:
    """The largest difference of any output on any input, relative for floats, in steps for integers."""
    opened, largest = runner.session(str(target)), 0.0
    names = [one.name for one in opened.get_inputs()]
    for feed in feeds:
        found = opened.run(None, dict(zip(names, feed.values(), strict=True)))
        for ours, theirs in zip(found, original(feed), strict=True):
            if ours.shape != theirs.shape:
                raise RefusedError(f"{shown}: an output of the exported graph has another shape than TensorFlow's.")
            floats = theirs.dtype.kind == "f"
            apart = float(np.max(np.abs(ours.astype(np.float64) - theirs.astype(np.float64)), initial=0.0))
            scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0))) if floats else 1.0
            if not apart / scale <= (LARGEST_DIFFERENCE if floats else LARGEST_STEP):
                raise RefusedError(
                    f"{shown}: the exported graph differs from TensorFlow by {apart:.2g}, so it is not published; push"
                    " ONNX made by the model's own exporter."
                )
            largest = max(largest, apart / scale)
    return largest
