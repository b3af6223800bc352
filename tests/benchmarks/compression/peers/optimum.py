"""optimum-onnx: its quantizer for processors with VNNI, dynamic and static, and its optimizer for transformers."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.benchmarks.compression.peers.base import TEXT, Job, Recipe, largest_onnx


def _quantizer(job: Job) -> Any:
    from optimum.onnxruntime import ORTQuantizer
    from transformers import PretrainedConfig

    return ORTQuantizer(job.source, config=PretrainedConfig())


def _dynamic(job: Job, per_channel: bool) -> None:
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    config = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=per_channel)
    _quantizer(job).quantize(quantization_config=config, save_dir=job.scratch / "out")
    shutil.copyfile(largest_onnx(job.scratch / "out"), job.out)


def _static(job: Job, per_channel: bool) -> None:
    from optimum.onnxruntime.configuration import AutoCalibrationConfig, AutoQuantizationConfig

    class Rows(list):  # type: ignore[type-arg]
        """What the tool's reader asks of a dataset, with each row's batch axis of one left to the reader."""

        info = SimpleNamespace(builder_name="rows", config_name="rows")
        split, num_rows = "train", len(job.feeds)

    rows = Rows({name: array[0] if array.ndim else array for name, array in feed.items()} for feed in job.feeds)
    config = AutoQuantizationConfig.avx512_vnni(is_static=True, per_channel=per_channel)
    quantizer = _quantizer(job)
    ranges = quantizer.fit(
        rows, AutoCalibrationConfig.minmax(rows), job.scratch / "augmented.onnx", config.operators_to_quantize
    )
    quantizer.quantize(quantization_config=config, save_dir=job.scratch / "out", calibration_tensors_range=ranges)
    shutil.copyfile(largest_onnx(job.scratch / "out"), job.out)


def _optimize(job: Job, level: str) -> None:
    """The command line, which wants a transformers folder."""
    folder, out = job.scratch / "in", job.scratch / "out"
    folder.mkdir()
    shutil.copyfile(job.source, folder / "model.onnx")
    if job.config:
        shutil.copyfile(job.config, folder / "config.json")
    command = Path(sys.executable).with_name("optimum-cli")
    argv = [str(command), "onnxruntime", "optimize", "--onnx_model", str(folder), "-o", str(out), level]
    subprocess.run(argv, check=True)
    shutil.copyfile(largest_onnx(out), job.out)


RECIPES = {
    "dynamic-vnni": Recipe(lambda job: _dynamic(job, False)),
    "dynamic-vnni-per-channel": Recipe(lambda job: _dynamic(job, True), quick=True),
    "static-vnni": Recipe(lambda job: _static(job, False), quick=True),
    "static-vnni-per-channel": Recipe(lambda job: _static(job, True)),
    "optimize-O2": Recipe(lambda job: _optimize(job, "-O2"), TEXT),
    "optimize-O3": Recipe(lambda job: _optimize(job, "-O3"), TEXT),
}
