"""Intel Neural Compressor for ONNX."""

from typing import Any

from tests.benchmarks.compression.peers.base import TEXT, Job, Reader, Recipe


def _older(job: Job) -> Any:
    """The source with an IR version that the tool's own onnxruntime takes; the graph stays as it is."""
    import onnx

    model = onnx.load(job.source)
    model.ir_version = min(model.ir_version, 9)
    path = job.scratch / "source.onnx"
    onnx.save(model, path)
    return path


def _quantize(job: Job, config: Any) -> None:
    from onnx_neural_compressor.quantization import quantize

    quantize(str(_older(job)), str(job.out), config)


def _dynamic(job: Job, **options: Any) -> None:
    from onnx_neural_compressor.quantization import config

    _quantize(job, config.DynamicQuantConfig(**options))


def _static(job: Job, form: str = "QDQ", **options: Any) -> None:
    from onnx_neural_compressor.quantization import QuantFormat, config

    _quantize(
        job,
        config.StaticQuantConfig(calibration_data_reader=Reader(job.feeds), quant_format=QuantFormat[form], **options),
    )


def _weights(job: Job, bits: int, gptq: bool) -> None:
    from onnx_neural_compressor.quantization import algorithm_entry, config

    if gptq:
        made = algorithm_entry.gptq_quantize_entry(
            str(_older(job)), config.GPTQConfig(weight_bits=bits), Reader(job.feeds)
        )
    else:
        made = algorithm_entry.rtn_quantize_entry(str(_older(job)), config.RTNConfig(weight_bits=bits))
    import onnx

    onnx.save(made, job.out)


RECIPES = {
    "dynamic": Recipe(_dynamic, quick=True),
    "dynamic-per-channel": Recipe(lambda job: _dynamic(job, per_channel=True)),
    "static-qdq": Recipe(_static, quick=True),
    "static-qdq-per-channel": Recipe(lambda job: _static(job, per_channel=True)),
    "static-qoperator": Recipe(lambda job: _static(job, "QOperator")),
    "static-smooth": Recipe(
        lambda job: _static(job, extra_options={"SmoothQuant": True, "SmoothQuantAlpha": 0.5}), TEXT
    ),
    "weights-4bits-rtn": Recipe(lambda job: _weights(job, 4, False), ("text", "bytes", "audio")),
    "weights-4bits-gptq": Recipe(lambda job: _weights(job, 4, True), ("text", "bytes", "audio")),
}
