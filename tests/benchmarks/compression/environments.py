"""A virtual environment for each tool, made by pip when it is first needed: their requirements conflict."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tests.benchmarks.compression import store

PATIENCE_S = 3600
# Alone and first: a plain "torch" which comes along as a requirement may bring gigabytes of CUDA.
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Wanted:
    """What pip installs, in this order of calls."""

    calls: tuple[tuple[str, ...], ...]


def _same(*names: str) -> tuple[str, ...]:
    """The versions which FitHub itself runs with, so that what differs is the tool and not the runtime."""
    return tuple(f"{name}=={metadata.version(name)}" for name in names)


def wanted(name: str) -> Wanted:
    """The packages of an environment; KeyError for one that is not known."""
    runtime = _same("onnx", "onnxruntime")
    return {
        "ort": Wanted(((*runtime, "numpy", "sympy", "onnx-ir", "packaging", "coloredlogs"),)),
        "optimum": Wanted(((TORCH,), ("optimum-onnx[onnxruntime]==0.1.0",))),
        "inc": Wanted(
            (
                (
                    "onnx-neural-compressor==1.0",
                    "prettytable",
                    "psutil",
                    "py-cpuinfo",
                    "scipy",
                    "onnx<1.17",
                    "onnxruntime<1.20",
                    "numpy<2",
                    "setuptools<70",
                ),
            )
        ),
        "nncf": Wanted(((*runtime, "nncf==3.4.0"),)),
        "olive": Wanted(((TORCH,), ("olive-ai==0.13.0", *runtime, "requests", "datasets", "onnxscript", "onnx-ir"))),
        "convert": Wanted(
            ((TORCH,), ("transformers~=5.23", *runtime, *_same("numpy", "safetensors", "tokenizers", "duckdb")))
        ),
    }[name]


class MissingError(Exception):
    """An environment cannot be made; the message is pip's last line."""


def python(name: str, say: bool = True) -> Path:
    """The Python of an environment, made first where it is not there. MissingError when pip fails."""
    place = store.folder() / "environments" / name
    marker, interpreter = place / "made.txt", place / "bin" / "python"
    wish = wanted(name)
    stated = repr(wish.calls)
    if marker.is_file() and marker.read_text(encoding="utf-8") == stated:
        return interpreter
    if say:
        print(
            f"# making the environment {name} (once): {' then '.join(' '.join(call) for call in wish.calls)}",
            flush=True,
        )
    began = time.monotonic()
    steps = [[sys.executable, "-m", "venv", "--clear", str(place)]]
    steps += [[str(interpreter), "-m", "pip", "install", "--quiet", *call] for call in wish.calls]
    for step in steps:
        left = PATIENCE_S - (time.monotonic() - began)
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=max(1, left), env=outer())
        except subprocess.TimeoutExpired as error:
            raise MissingError(f"the environment {name} was not made within {PATIENCE_S // 60} minutes") from error
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise MissingError(f"the environment {name} cannot be made: {lines[-1][:300] if lines else 'no message'}")
    marker.write_text(stated, encoding="utf-8")
    return interpreter


def outer() -> dict[str, str]:
    """The environment variables for another interpreter: nothing of this one's, no call home."""
    dropped = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "DJANGO_SETTINGS_MODULE")
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    return {**kept, "ORT_DISABLE_TELEMETRY": "1", "OLIVE_DISABLE_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"}
