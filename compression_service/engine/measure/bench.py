"""How fast a machine is: `python -m ….measure.bench FOLDER THREADS` prints one JSON object; `measure` runs all of it.

fp32 and int8 matrix products through onnxruntime as models use them (constant weights, so that they are packed), the
copying of memory, a cold read, and what one call of an empty session costs. In a fresh process a number of threads.
Shared with the light client: numpy and onnxruntime only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from . import machine

SIDE = 512  # of the square matrices: weights of 1 MB in fp32, which second-level caches hold as layers do
SECONDS_EACH = 0.8
COPY_BYTES = 128 * 1024 * 1024  # beyond every cache that is common
READ_BYTES = 64 * 1024 * 1024
PATIENCE_S = 60.0
_FLOAT, _UINT8, _INT8, _INT32 = 1, 2, 3, 6  # of onnx.TensorProto.DataType


def measure(work: Path) -> dict[str, Any]:
    """{"threads": {"1": {…}, "<cores>": {…}}, "cold_read_mb_s", "seconds", "measured_at"}. Raises RuntimeError.

    Each number of threads has fp32_gflops, int8_gops, copy_gb_s and dispatch_us.
    """
    began = time.perf_counter()
    counts = list(dict.fromkeys((1, machine.cores())))
    speeds = {str(count): _in_fresh_process(work, count) for count in counts}
    return {
        "threads": speeds,
        "cold_read_mb_s": cold_read_mb_s(work),
        "seconds": round(time.perf_counter() - began, 1),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _in_fresh_process(work: Path, threads: int) -> dict[str, Any]:
    argv = [sys.executable, "-m", f"{__package__}.bench", str(work), str(threads)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace", timeout=PATIENCE_S)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"The machine could not be measured: {lines[-1][:200] if lines else 'no message'}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def speeds(threads: int) -> dict[str, Any]:
    """The figures of this process with a number of threads."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    rng = np.random.default_rng(0)
    products = 2 * SIDE**3
    found: dict[str, Any] = {}
    for key, op, kinds in (
        ("fp32_gflops", "MatMul", (_FLOAT, _FLOAT, _FLOAT)),
        ("int8_gops", "MatMulInteger", (_UINT8, _INT8, _INT32)),
    ):
        given, kept = (np.float32, np.float32) if op == "MatMul" else (np.uint8, np.int8)
        weights = rng.integers(-100, 100, (SIDE, SIDE)).astype(kept)
        model = product_model(op, kinds, weights.tobytes())
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        fed = {"x": rng.integers(0, 100, (SIDE, SIDE)).astype(given)}
        found[key] = round(products / _seconds_a_run(session, fed) / 1e9, 2)
    empty = onnxruntime.InferenceSession(_empty(), options, providers=["CPUExecutionProvider"])
    found["dispatch_us"] = round(_seconds_a_run(empty, {"x": np.zeros(1, np.float32)}) * 1e6, 2)
    found["copy_gb_s"] = _copy_gb_s(np, threads)
    return found


def _seconds_a_run(session: Any, fed: dict[str, Any]) -> float:
    """The median of all runs of a short while."""
    for _ in range(3):
        session.run(None, fed)
    times: list[float] = []
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS_EACH or len(times) < 10:
        before = time.perf_counter()
        session.run(None, fed)
        times.append(time.perf_counter() - before)
    times.sort()
    return times[len(times) // 2]


def _copy_gb_s(np: Any, threads: int) -> float:
    """Bytes read and written a second by copies, each thread its own part of the memory."""
    from concurrent.futures import ThreadPoolExecutor

    length = COPY_BYTES // threads
    parts = [(np.zeros(length, np.uint8), np.ones(length, np.uint8)) for _ in range(threads)]
    times: list[float] = []
    with ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS_EACH / 2 or len(times) < 3:
            before = time.perf_counter()
            list(pool.map(lambda part: np.copyto(part[0], part[1]), parts))
            times.append(time.perf_counter() - before)
    times.sort()
    return round(2 * length * threads / times[len(times) // 2] / 1e9, 2)


def cold_read_mb_s(work: Path) -> float | None:
    """Of a file which was dropped from the page cache; None where that is not possible."""
    from . import harness

    path = work / "cold-read.bin"
    path.write_bytes(os.urandom(1024 * 1024) * (READ_BYTES // (1024 * 1024)))
    try:
        dropped, _ = harness.drop_from_cache([str(path)])
        if not dropped:
            return None
        began = time.perf_counter()
        harness.read_whole(str(path))
        return round(READ_BYTES / (time.perf_counter() - began) / 1e6, 1)
    finally:
        path.unlink()


# --- two models as bytes: the light client has no onnx to build them with -------------------------------------------
def product_model(op: str, kinds: tuple[int, int, int], weights: bytes) -> bytes:
    """x [SIDE, SIDE] times constant weights, as an ONNX file (opset 13); `kinds` of x, weights and result."""
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, op)
    constant = _number(1, SIDE) + _number(1, SIDE) + _number(2, kinds[1]) + _text(8, "w") + _part(9, weights)
    graph = _part(1, node) + _text(2, "product") + _part(5, constant)
    graph += _part(11, _value("x", kinds[0])) + _part(12, _value("y", kinds[2]))
    return _number(1, 7) + _part(7, graph) + _part(8, _text(1, "") + _number(2, 13))


def _empty() -> bytes:
    from .session import EMPTY_MODEL

    return EMPTY_MODEL


def _value(name: str, kind: int) -> bytes:
    side = _part(1, _number(1, SIDE))
    return _text(1, name) + _part(2, _part(1, _number(1, kind) + _part(2, side + side)))


def _part(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode())


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


if __name__ == "__main__":
    print(json.dumps(speeds(int(sys.argv[2]))))
