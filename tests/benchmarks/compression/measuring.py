"""One harness for all points: the engine's measuring process, fresh for each file, 1 thread, rounds A … Z, Z … A.

Memory is the peak of a process which loads and runs the model, less the peak of one which only imports onnxruntime.
Each window has a layout of memory of its own (engine/measure/session.py). The source stands at both ends of each round; a file's ratios are to the source of its own session.
"""

import json
import secrets
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from compression_service.engine.measure import harness
from compression_service.engine.measure.session import SHIFT_SPAN_BYTES
from tests.benchmarks.compression import environments, store

SOURCE = "source"
WAITED_SHARE = 0.05  # a window which waited longer for a processor is taken again, and left out where others are quiet
TRIES = 3
LEAST_RUNS = 64  # for a p90 (measuring.md)
IMPORTS = (
    "import json; from compression_service.engine.measure import harness; import numpy, numpy.random, onnxruntime;"
    "print(json.dumps(harness.memory()))"
)


@dataclass(frozen=True)
class Effort:
    """How long it is measured."""

    name: str
    rounds: int
    seconds: float
    seconds_cap: float


QUICK = Effort("quick", 2, 0.15, 1.0)
FULL = Effort("full", 3, 1.0, 5.0)


def measured_path(model: str, sha256: str) -> Path:
    return store.model_folder(model) / "measured" / f"{sha256}.json"


def missing(task: dict[str, Any], files: dict[str, Any], effort: Effort) -> list[str]:
    """The digests whose figures are not there, are noisy, come from a shorter effort or from other rows."""
    wanted = []
    for sha256 in files:
        known = store.read(measured_path(task["model"], sha256))
        good = known and known["digest"] == task["digest"] and known["effort"] in (effort.name, FULL.name)
        if not good or (known and not known["error"] and figures(known)["noisy"]):
            wanted.append(sha256)
    return wanted


def session(task: dict[str, Any], files: dict[str, dict[str, Any]], effort: Effort) -> None:
    """Measure {sha256: {"paths", "session_options"}} together with the source; writes one record a file."""
    work = store.model_folder(task["model"]) / "windows"
    work.mkdir(parents=True, exist_ok=True)
    for component in task["components"]:
        Path(work / f"{component['name']}.npz").write_bytes(Path(component["timing"]).read_bytes())
    source = {"paths": [component["path"] for component in task["components"]]}
    subjects = {SOURCE: source, **files}
    windows: dict[str, list[dict[str, Any]]] = {name: [] for name in subjects}
    errors: dict[str, str] = {}
    baseline = _import_peak()
    for _ in range(effort.rounds):
        order = [SOURCE, *files, *reversed(files), SOURCE]
        for name in order:
            if name in errors:
                continue
            window = _window(task, subjects[name], work, effort)
            if isinstance(window, str):
                errors[name] = window
            else:
                windows[name].append(window)
    if SOURCE in errors:
        raise RuntimeError(f"the source cannot be measured: {errors[SOURCE]}")
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    for name in files:
        record = {
            "effort": effort.name, "digest": task["digest"], "measured_at": stamp, "error": errors.get(name),
            "baseline_bytes": baseline, "own": windows[name], "source": windows[SOURCE],
        }  # fmt: skip
        store.write(measured_path(task["model"], name), record)


def figures(record: dict[str, Any]) -> dict[str, Any]:
    """{"memory", "p90": ratios to the source, "p90_ms", "memory_bytes", "noisy"} of a record.

    When too few windows were quiet, the latency's ratio is that of the fastest tenths: a stand-in, marked noisy.
    """
    own, source = _side(record["own"], record), _side(record["source"], record)
    noisy = own["noisy"] or source["noisy"]
    key = "p10" if noisy else "p90"
    return {
        "memory": own["memory"] / source["memory"], "p90": own[key] / source[key], "p90_ms": own["p90"],
        "memory_bytes": own["memory"], "noisy": noisy,
    }  # fmt: skip


def _side(windows: list[dict[str, Any]], record: dict[str, Any]) -> dict[str, Any]:
    quiet = [one for one in windows if one["waited_share"] <= WAITED_SHARE]
    # What disturbs short windows only makes them slower; the full effort takes medians, as compression.md does.
    part = 50 if record["effort"] == FULL.name else 25
    return {
        "p90": float(np.percentile([one["p90_ms"] for one in quiet or windows], part)),
        "p10": min(one["p10_ms"] for one in windows),
        "memory": statistics.median(one["peak"] for one in windows) - record["baseline_bytes"],
        "noisy": len(quiet) * 2 < len(windows),
    }


def _window(task: dict[str, Any], subject: dict[str, Any], work: Path, effort: Effort) -> dict[str, Any] | str:
    """The quietest of a few fresh processes, or why the file does not run."""
    best: dict[str, Any] | None = None
    for _ in range(TRIES):
        found = _once(task, subject, work, effort)
        if isinstance(found, str):
            return found
        if best is None or found["waited_share"] < best["waited_share"]:
            best = found
        if best["waited_share"] <= WAITED_SHARE:
            break
    assert best is not None
    return best


def _once(task: dict[str, Any], subject: dict[str, Any], work: Path, effort: Effort) -> dict[str, Any] | str:
    components = [
        {"path": path, "inputs": str(work / f"{component['name']}.npz"), "carry": component["carry"]}
        for path, component in zip(subject["paths"], task["components"], strict=True)
    ]
    warm = {
        "runs": 5,
        "seconds": effort.seconds / 4,
        "seconds_cap": effort.seconds,
        "window_runs": 5,
        "difference": 0.03,
    }
    # How a file's pages came into the cache (just written, or read long ago) moves the memory of a mapped one by a tenth.
    harness.drop_from_cache(files := _files(subject["paths"]))
    wanted = {
        "components": components, "files": files, "cold": False, "empty_model": str(_empty(work)),
        "threads": 1, "cpus": _cpus(), "seconds": effort.seconds, "least_runs": LEAST_RUNS,
        "seconds_cap": effort.seconds_cap, "warmup": warm, "shift_bytes": secrets.randbelow(SHIFT_SPAN_BYTES), "session_options": subject.get("session_options") or {},
    }  # fmt: skip
    task_path, result_path = work / "window.json", work / "window.result.json"
    task_path.write_text(json.dumps(wanted), encoding="utf-8")
    result_path.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "compression_service.engine.measure.harness", str(task_path), str(result_path)]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
        cwd=store.CHECKOUT,
        env=environments.outer(),
    )
    if done.returncode or not result_path.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"it ended with code {done.returncode}"
    result = json.loads(result_path.read_text(encoding="utf-8"))
    samples = np.asarray(result["samples_ms"])
    return {
        "p90_ms": float(np.percentile(samples, 90)), "p50_ms": float(np.median(samples)), "p10_ms": float(np.percentile(samples, 10)), "count": len(samples),
        "load_ms": result["load_ms"], "peak": result["memory"]["warmed"]["peak"],
        "waited_share": result["noise"]["waited_share"],
    }  # fmt: skip


def _files(paths: list[str]) -> list[str]:
    """The graphs with the weights which lie beside them."""
    return sorted({str(one) for path in map(Path, paths) for one in (path, *path.parent.glob(f"{path.name}[_.]*"))})


def _cpus() -> list[int]:
    import os

    return sorted(os.sched_getaffinity(0))[-1:]


def _import_peak() -> float:
    """Peak in bytes of a process which only imports what the harness imports; the median of three."""
    argv = [sys.executable, "-c", IMPORTS]
    peaks = [
        json.loads(subprocess.run(argv, capture_output=True, text=True, check=True, cwd=store.CHECKOUT).stdout)["peak"]
        for _ in range(3)
    ]
    return float(statistics.median(peaks))


def _empty(work: Path) -> Path:
    path = work / "empty.onnx"
    if not path.is_file():
        given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
        nodes = [helper.make_node("Identity", ["x"], ["y"])]
        opset = [helper.make_opsetid("", 13)]
        onnx.save(
            helper.make_model(helper.make_graph(nodes, "e", [given], [made]), opset_imports=opset, ir_version=7), path
        )
    return path
