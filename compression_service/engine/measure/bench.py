"""How fast a machine is: `python -m ….measure.bench FOLDER THREADS` prints one JSON object; `measure` runs all of it.

fp32 and int8 matrix products through onnxruntime as models use them (constant weights, so that they are packed), the
copying of memory, a cold read, and what one call of an empty session costs. In a fresh process a number of threads.
A limit on processor time (a container's quota, a neighbour on the same core) makes no core slower: it lets work run at
full speed for a while and stops it then. So speeds are those of the processor while it runs, and how far pauses stretch
work of several lengths is measured beside them. Shared with the light client: numpy and onnxruntime only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from . import machine, networks

SIDE = 512  # of the square matrices: weights of 1 MB in fp32, which second-level caches hold as layers do
SHORT_SIDE = 128  # of the product which looks for pauses: far shorter than a scheduler's slice
LEAST_PAUSE_S = 2e-4  # what is shorter is an interrupt
UNLIMITED_SHARE = 0.97
STRETCHED_MS = tuple(0.02 * 1.15**step for step in range(65))  # 0.02 … 153 ms of processor time
STRETCH_STARTS = 400
SECONDS_EACH = 0.8
SECONDS_OF_PAUSES = 3.0
LADDER_SIDES = (16, 32, 64, 128, 256, 512)  # of networks which take 10 µs to 10 ms on a core of 200 GFLOPS
LADDER_LAYERS = 8
LADDER_SECONDS = 0.3  # for each, and up to ten times that for its least number of runs
LADDER_LEAST_RUNS = 20
COPY_BYTES = 128 * 1024 * 1024  # beyond every cache that is common
READ_BYTES = 64 * 1024 * 1024
PATIENCE_S = 120.0


def measure(work: Path) -> dict[str, Any]:
    """{"threads": {"1": {…}, "<cores>": {…}}, "cold_read_mb_s", "seconds", "measured_at"}. Raises RuntimeError.

    Each number of threads has fp32_gflops, int8_gops, copy_gb_s and dispatch_us of the processor while it runs,
    "ladder": [[side, p50, mean, p90 in ms]] of networks, "share" (of the time in which endless work does run) and
    "stretch": [[ms of processor time, p90 of the ms which it takes]].
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
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, errors="replace", timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"The machine is too busy to be measured: nothing came of it in {PATIENCE_S:g} s."
        ) from error
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

    from .session import EMPTY_MODEL

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    rng = np.random.default_rng(0)

    def session_of(model: bytes) -> Any:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def product(op: str, side: int) -> tuple[Any, dict[str, Any]]:
        is_float = op == "MatMul"
        kinds = (networks.FLOAT,) * 3 if is_float else (networks.UINT8, networks.INT8, networks.INT32)
        weights = rng.integers(-100, 100, (side, side)).astype(np.float32 if is_float else np.int8)
        fed = rng.integers(0, 100, (side, side)).astype(np.float32 if is_float else np.uint8)
        return session_of(networks.product_model(op, kinds, weights.tobytes(), side)), {"x": fed}

    def chain(side: int) -> tuple[Any, dict[str, Any]]:
        scale = (2 / side) ** 0.5  # keeps values as large as they are from layer to layer
        weights = [rng.normal(0, scale, (side, side)).astype(np.float32).tobytes() for _ in range(LADDER_LAYERS)]
        return session_of(networks.chain_model(weights, side)), {"x": rng.random((side, side), np.float32)}

    found: dict[str, Any] = {}
    for key, op in (("fp32_gflops", "MatMul"), ("int8_gops", "MatMulInteger")):
        session, fed = product(op, SIDE)
        found[key] = round(2 * SIDE**3 / _seconds_a_run(partial(session.run, None, fed), threads) / 1e9, 2)
    empty, nothing = session_of(EMPTY_MODEL), {"x": np.zeros(1, np.float32)}
    found["dispatch_us"] = round(_seconds_a_run(partial(empty.run, None, nothing), 1) * 1e6, 2)
    found["copy_gb_s"] = _copy_gb_s(np, threads)
    found["ladder"] = [
        [side, *_typical_and_slow_ms(partial(session.run, None, fed), threads)]
        for side in LADDER_SIDES
        for session, fed in (chain(side),)
    ]
    session, fed = product("MatMul", SHORT_SIDE)
    found |= stretch(np, _spans(partial(session.run, None, fed), threads))
    return found


def _seconds_a_run(run: Callable[[], Any], threads: int, seconds: float = SECONDS_EACH) -> float:
    """Of the processor while it runs: the lowest tenth of the runs, or their processor time a thread if that is less.

    Runs which are longer than a limit lets them be are all stopped on their way: their processor time is not.
    """
    for _ in range(3):
        run()
    times: list[float] = []
    began, own = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < seconds or len(times) < 10:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    own = time.process_time() - own
    times.sort()
    return min(times[len(times) // 10], own / len(times) / threads)


def _typical_and_slow_ms(run: Callable[[], Any], threads: int) -> tuple[float, float, float]:
    """(median, mean, p90) of a run while it runs: where it was paused, its processor time counts."""
    for _ in range(3):
        run()
    times: list[float] = []
    began = time.perf_counter()
    wall, own = began, time.process_time()
    while (sum_s := wall - began) < LADDER_SECONDS or (len(times) < LADDER_LEAST_RUNS and sum_s < 10 * LADDER_SECONDS):
        run()
        last_wall, last_own = wall, own
        wall, own = time.perf_counter(), time.process_time()
        spent = (own - last_own) / threads
        times.append(spent if wall - last_wall - spent > LEAST_PAUSE_S else wall - last_wall)
    times.sort()
    chosen = times[len(times) // 2], sum(times) / len(times), times[int(0.9 * len(times))]
    return tuple(round(1e3 * one, 5) for one in chosen)  # type: ignore[return-value]


def _spans(run: Callable[[], Any], threads: int) -> list[tuple[float, float]]:
    """(wall, processor time a thread) of runs without a rest between them, in seconds."""
    for _ in range(10):
        run()
    spans = []
    wall, own = time.perf_counter(), time.process_time()
    began = wall
    while wall - began < SECONDS_OF_PAUSES:
        run()
        last_wall, last_own = wall, own
        wall, own = time.perf_counter(), time.process_time()
        spans.append((wall - last_wall, (own - last_own) / threads))
    return spans


def stretch(np: Any, spans: list[tuple[float, float]]) -> dict[str, Any]:
    """{"share", "stretch"} of runs one after the other, of which wall and processor time are known (seconds).

    Each of STRETCHED_MS is laid into the runs at many places, evenly in processor time: where inferences begin.
    """
    wall, own = np.array(spans).T * 1e3
    pause = np.where(wall - own > LEAST_PAUSE_S * 1e3, wall - own, 0.0)
    own = np.maximum(own, 1e-6)
    share = float(own.sum() / (own.sum() + pause.sum()))
    if share > UNLIMITED_SHARE:
        return {"share": 1.0, "stretch": []}
    ends = np.cumsum(own)
    lost = np.cumsum(pause)  # when the work of `ends` is done; a pause lies at the end of its run
    found = []
    for length in STRETCHED_MS:
        if length > ends[-1] / 2:
            break
        starts = np.linspace(0, ends[-1] - length, STRETCH_STARTS)
        before, after = (np.searchsorted(ends, at, side="right") for at in (starts, starts + length))
        stopped = np.where(after > 0, lost[after - 1], 0.0) - np.where(before > 0, lost[before - 1], 0.0)
        found.append([round(length, 4), round(length + float(np.percentile(stopped, 90)), 4)])
    return {"share": round(share, 4), "stretch": found}


def _copy_gb_s(np: Any, threads: int) -> float:
    """Bytes read and written a second by copies, each thread its own part of the memory."""
    from concurrent.futures import ThreadPoolExecutor

    length = COPY_BYTES // threads
    parts = [(np.zeros(length, np.uint8), np.ones(length, np.uint8)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = _seconds_a_run(
            lambda: list(pool.map(lambda part: np.copyto(part[0], part[1]), parts)), threads, SECONDS_EACH / 2
        )
    return round(2 * length * threads / seconds / 1e9, 2)


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


if __name__ == "__main__":
    print(json.dumps(speeds(int(sys.argv[2]))))
