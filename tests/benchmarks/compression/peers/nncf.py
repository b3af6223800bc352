"""NNCF: post-training quantization and compressed weights."""

from typing import Any

from tests.benchmarks.compression.peers.base import TEXT, Job, Recipe

INT4_OPSET = 21


def _quantize(job: Job, **options: Any) -> None:
    import nncf
    import onnx

    if job.kind == "text":
        options["model_type"] = nncf.ModelType.TRANSFORMER
    rows = nncf.Dataset(job.feeds)
    onnx.save(nncf.quantize(onnx.load(job.source), rows, subset_size=len(job.feeds), **options), job.out)


def _mixed(job: Job) -> None:
    import nncf

    _quantize(job, preset=nncf.QuantizationPreset.MIXED)


def _accurate(job: Job) -> None:
    """Accuracy control by agreement with the source on calibration rows, since no tool is given labels."""
    import nncf
    import numpy as np
    import onnx
    import onnxruntime

    def first_output(model: Any) -> np.ndarray:
        opened = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return np.stack([np.asarray(opened.run(None, feed)[0]).ravel() for feed in job.feeds])

    source = onnx.load(job.source)
    expected = first_output(source)

    def agreement(model: Any, _rows: Any) -> tuple[float, None]:
        return float(np.mean(first_output(model).argmax(1) == expected.argmax(1))), None

    rows = nncf.Dataset(job.feeds)
    made = nncf.quantize_with_accuracy_control(source, rows, rows, agreement, max_drop=0.005)
    onnx.save(made, job.out)


def _weights(job: Job, four_bits: bool) -> None:
    import nncf
    import onnx

    model = onnx.load(job.source)
    options: dict[str, Any] = {}
    if four_bits:
        opset = next(one.version for one in model.opset_import if one.domain == "")
        if opset < INT4_OPSET:
            model = onnx.version_converter.convert_version(model, INT4_OPSET)
        options = {"mode": nncf.CompressWeightsMode.INT4_SYM, "group_size": 64}
    onnx.save(nncf.compress_weights(model, **options), job.out)


RECIPES = {
    "quantize": Recipe(_quantize, quick=True),
    "quantize-mixed": Recipe(_mixed),
    "quantize-accuracy-control": Recipe(_accurate, ("image", "bytes")),
    "weights-int8": Recipe(lambda job: _weights(job, False), (*TEXT, "bytes", "audio")),
    "weights-int4": Recipe(lambda job: _weights(job, True), (*TEXT, "bytes", "audio")),
}
