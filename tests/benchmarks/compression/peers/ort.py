"""onnxruntime's own tools: quantization, float16 and the optimizer of its transformers folder."""

from pathlib import Path
from typing import Any

from tests.benchmarks.compression.peers.base import TEXT, Job, Reader, Recipe


def _cleared(job: Job) -> Path:
    """Without value_info: torch's exporter names weights there, over which the quantizer's inference stops."""
    import onnx

    model = onnx.load(job.source)
    del model.graph.value_info[:]
    path = job.scratch / "cleared.onnx"
    onnx.save(model, path)
    return path


def _dynamic(job: Job, source: Path | None = None, **options: Any) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options.setdefault("weight_type", QuantType.QInt8)
    quantize_dynamic(source or _cleared(job), job.out, extra_options={"DefaultTensorType": 1}, **options)


def _static(job: Job, form: str = "QDQ", activations: str = "QUInt8", method: str = "MinMax", **options: Any) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = job.scratch / "prepared.onnx"
    quant_pre_process(str(_cleared(job)), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared), str(job.out), Reader(job.feeds), quant_format=QuantFormat[form],
        activation_type=QuantType[activations], weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod[method],
        **options,
    )  # fmt: skip


def _float16(job: Job) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(job.source), keep_io_types=True), job.out)


def _n_bits(job: Job, bits: int, block: int = 32, gather: bool = False, hqq: bool = False) -> None:
    import onnx
    from onnxruntime.quantization import matmul_nbits_quantizer as module

    if hqq:
        config = module.HQQWeightOnlyQuantConfig(block_size=block, bits=bits)
    else:
        kinds: dict[str, Any] = {"op_types_to_quantize": ("MatMul",)}
        if gather:
            kinds = {"op_types_to_quantize": ("MatMul", "Gather"), "quant_axes": (("MatMul", 0), ("Gather", 1))}
        config = module.DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=True, accuracy_level=4, bits=bits, **kinds
        )
    quantizer = module.MatMulNBitsQuantizer(onnx.load(job.source), algo_config=config)
    quantizer.process()
    quantizer.model.save_model_to_file(str(job.out))


def _fused(job: Job) -> Path:
    import json

    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    config = json.loads(job.config.read_text(encoding="utf-8")) if job.config else {}
    made = optimizer.optimize_model(
        str(job.source), model_type="bert", num_heads=config.get("num_attention_heads", 0),
        hidden_size=config.get("hidden_size", 0), opt_level=0, optimization_options=FusionOptions("bert"),
    )  # fmt: skip
    path = job.scratch / "fused.onnx"
    made.save_model_to_file(str(path))
    return path


def _copy(job: Job) -> None:
    job.out.write_bytes(_fused(job).read_bytes())


def _fused_dynamic(job: Job) -> None:
    _dynamic(job, _fused(job), per_channel=True)


def _unsigned(job: Job) -> None:
    from onnxruntime.quantization import QuantType

    _dynamic(job, weight_type=QuantType.QUInt8)


RECIPES = {
    "dynamic": Recipe(_dynamic, quick=True),
    "dynamic-per-channel": Recipe(lambda job: _dynamic(job, per_channel=True), quick=True),
    "dynamic-per-channel-reduced": Recipe(lambda job: _dynamic(job, per_channel=True, reduce_range=True)),
    "dynamic-unsigned": Recipe(_unsigned),
    "static-qdq": Recipe(lambda job: _static(job), quick=True),
    "static-qdq-per-channel": Recipe(lambda job: _static(job, per_channel=True), quick=True),
    "static-qdq-per-channel-reduced": Recipe(lambda job: _static(job, per_channel=True, reduce_range=True)),
    "static-qdq-percentile": Recipe(lambda job: _static(job, per_channel=True, method="Percentile")),
    "static-qdq-signed": Recipe(
        lambda job: _static(job, activations="QInt8", per_channel=True, extra_options={"ActivationSymmetric": True})
    ),
    "static-qoperator-per-channel": Recipe(lambda job: _static(job, "QOperator", per_channel=True), quick=True),
    "fp16": Recipe(_float16, quick=True),
    "matmul-4bits": Recipe(lambda job: _n_bits(job, 4), quick=True),
    "matmul-8bits": Recipe(lambda job: _n_bits(job, 8), quick=True),
    "matmul-gather-4bits": Recipe(lambda job: _n_bits(job, 4, gather=True), ("text", "bytes", "audio")),
    "matmul-4bits-hqq": Recipe(lambda job: _n_bits(job, 4, block=64, hqq=True), ("text", "bytes", "audio")),
    "fused": Recipe(_copy, TEXT),
    "fused-dynamic-per-channel": Recipe(_fused_dynamic, TEXT, quick=True),
}
