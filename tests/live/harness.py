"""An independent measurement of a pulled variant: a fresh process with numpy and onnxruntime, and nothing of FitHub's.

`python harness.py TASK.json`: {"models": [paths], "shapes": [{input: {"shape", "dtype", "value"?}}], "threads", "runs"} → one line of JSON:
{"peak_memory_bytes", "latency_ms": {"p50", "p90"}, "outputs"}.
"""

import json
import os
import sys
import time
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnxruntime as ort


def feed_of(shapes: dict[str, dict[str, Any]], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Small positive numbers; integers are 0 or 1, which every vocabulary has, unless their value is published."""
    feed = {}
    for name, wanted in shapes.items():
        shape, dtype = wanted["shape"], wanted["dtype"]
        if "value" in wanted:
            feed[name] = np.full(shape, wanted["value"]).astype(dtype)
        elif dtype.startswith(("float", "bfloat")):
            feed[name] = rng.random(shape).astype(dtype)
        elif dtype == "object" or dtype.startswith(("str", "<U")):
            feed[name] = np.full(shape, "a", dtype=object)
        else:
            feed[name] = rng.integers(0, 2, shape).astype(dtype)
    return feed


def peak_memory_bytes() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        task = json.load(file)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: task["threads"]])
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = task["threads"], 1
    options.log_severity_level = 4
    rng = np.random.default_rng(0)
    sessions = [ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]) for path in task["models"]]
    feeds = [feed_of(shapes, rng) for shapes in task["shapes"]]
    times, outputs = [], 0
    for _ in range(task["runs"]):
        began = time.perf_counter()
        outputs = sum(len(session.run(None, feed)) for session, feed in zip(sessions, feeds, strict=True))
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    latency = {"p50": times[len(times) // 2], "p90": times[int(len(times) * 0.9)]}
    print(json.dumps({"peak_memory_bytes": peak_memory_bytes(), "latency_ms": latency, "outputs": outputs}))


if __name__ == "__main__":
    main()
