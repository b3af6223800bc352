"""A program of somebody else's finds the memory which was published, and the load as a first session has it."""

from __future__ import annotations

import json
import subprocess
import sys

import engine_models as models
import numpy as np

from compression_service.engine import runner
from compression_service.engine.measure import session

SOMEBODYS_PROGRAM = """
import json, sys, time
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
began = time.perf_counter()
opened = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
load_ms = (time.perf_counter() - began) * 1000
x = numpy.random.default_rng(0).standard_normal((1, 64)).astype(numpy.float32)
for _ in range(300):
    opened.run(None, {"x": x})
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps({"peak": peak, "load_ms": load_ms}))
"""


def test_an_independent_program_finds_the_same_memory(tmp_path):
    path = models.saved(models.mlp(), tmp_path / "model.onnx")
    runner.save_feeds([{"x": np.zeros((1, 64), np.float32)}], tmp_path / "feeds-0.npz")
    (tmp_path / "carry-0.json").write_text("{}")
    subject = session.Subject("onnx", tmp_path, [{"name": "model", "path": "model.onnx"}], [], [path])
    window = session._Session(tmp_path, 0.2, None).window(subject, threads=1, cold=False)
    assert isinstance(window, dict), window
    done = subprocess.run([sys.executable, "-c", SOMEBODYS_PROGRAM, str(path)], capture_output=True, check=True)
    theirs = json.loads(done.stdout)
    assert abs(theirs["peak"] / window["memory"]["warmed"]["peak"] - 1) < 0.1
    # A tiny model's load is the start of the runtime: without that it would be a fifth of it.
    assert window["load_ms"] > theirs["load_ms"] / 3
