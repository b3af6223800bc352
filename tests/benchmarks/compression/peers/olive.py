"""Olive: its `optimize` command at three precisions, and its quantization passes one by one."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.compression.peers.base import Job, Recipe, largest_onnx

SCRIPT = """
from pathlib import Path
from olive.data.registry import Registry
from compression_service.engine import runner

class Rows:
    def __init__(self, path):
        self.feeds = runner.load_feeds(Path(path))
    def __len__(self):
        return len(self.feeds)
    def __getitem__(self, index):
        return self.feeds[index], 0

@Registry.register_dataset()
def benchmark_rows(path, **_options):
    return Rows(path)

@Registry.register_dataloader()
def benchmark_loader(dataset, **_options):
    return [dataset[index] for index in range(len(dataset))]
"""


def _command(job: Job, *arguments: str) -> None:
    out = job.scratch / "out"
    command = Path(sys.executable).with_name("olive")
    argv = [str(command), arguments[0], "-m", str(job.source), "-o", str(out), "--disable_telemetry", *arguments[1:]]
    done = subprocess.run(
        argv, check=False, cwd=job.scratch, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(done.stdout)
    errors = [line for line in done.stdout.splitlines() if re.match(r"[\w.]*(Error|Exception)\b", line)]
    # It ends with code 0 when a pass has failed, and writes nothing.
    if done.returncode or not list(out.rglob("*.onnx")):
        raise RuntimeError(errors[0] if errors else "olive wrote no ONNX file")
    _take(job, out)


def _take(job: Job, out: Path) -> None:
    """The model with the external data that lies beside it."""
    found = largest_onnx(out)
    for path in found.parent.iterdir():
        if path.suffix == ".data" or path.name.endswith(".onnx_data"):
            shutil.copyfile(path, job.out.parent / path.name)
    shutil.copyfile(found, job.out)


def _optimize(job: Job, precision: str) -> None:
    _command(
        job, "optimize", "--provider", "CPUExecutionProvider", "--device", "cpu", "--precision", precision
    )  # fmt: skip


def _pass(job: Job, name: str, **config: object) -> None:
    _command(job, "run-pass", "--pass-name", name, "--pass-config", json.dumps(config))


def _static(job: Job, **config: object) -> None:
    """The pass needs calibration rows, which only a workflow can be given."""
    from compression_service.engine import runner

    rows, script = job.scratch / "rows.npz", job.scratch / "benchmark_rows.py"
    runner.save_feeds(job.feeds, rows)
    script.write_text(SCRIPT, encoding="utf-8")
    data = {
        "name": "rows", "user_script": str(script), "load_dataset_config": {"type": "benchmark_rows", "path": str(rows)},
        "pre_process_data_config": {"type": "skip_pre_process"}, "post_process_data_config": {"type": "skip_post_process"},
        "dataloader_config": {"type": "benchmark_loader"},
    }  # fmt: skip
    workflow = {
        "input_model": {"type": "ONNXModel", "model_path": str(job.source)}, "data_configs": [data],
        "passes": {"quantize": {"type": "OnnxStaticQuantization", "data_config": "rows", **config}},
        "output_dir": str(job.scratch / "out"), "cache_dir": str(job.scratch / "cache"),
    }  # fmt: skip
    from olive.workflows import run

    run(workflow)
    _take(job, job.scratch / "out")


RECIPES = {
    "optimize-int8": Recipe(lambda job: _optimize(job, "int8")),
    "optimize-int4": Recipe(lambda job: _optimize(job, "int4")),
    "optimize-fp16": Recipe(lambda job: _optimize(job, "fp16")),
    "pass-dynamic": Recipe(lambda job: _pass(job, "OnnxDynamicQuantization"), quick=True),
    "pass-static": Recipe(_static, quick=True),
    "pass-static-per-channel": Recipe(lambda job: _static(job, per_channel=True, quant_format="QDQ")),
}
