"""Runs models over prepared inputs in a process of its own: `python -m compression_service.engine.runner TASK.json`.

A crash of the runtime, even by a signal, ends this process and not the job. Only numpy and onnxruntime (and
calibration.generated for probing). TASK: {"act": "run"|"probe"|"weigh"|"load", "result": path,
"components": [{"name", "path", "carry", "inputs": npz, "out": npz}], "seconds_cap", "count_cap", "steps"}.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine.measure import harness
from compression_service.engine.measure import options as session_options
from compression_service.engine.measure.feeds import save as save_feeds
from compression_service.engine.sayings import in_words

Feed = dict[str, np.ndarray]
OUTPUT_LIMIT_BYTES = 512 * 1024 * 1024
RESTING = ("session.intra_op.allow_spinning", "0")  # spinning took as much processor time again as the inferences
PATIENCE_S = 120.0  # beyond a task's own cap: to load the model, and to end the inference under way


class RunError(Exception):
    """The model does not load or does not run; the message is the runtime's first line."""


def in_fresh_process(task: dict[str, Any], work: Path, name: str) -> dict[str, Any]:
    """Run a task in a child; returns its result. RunError when it fails, dies, or does not end (a loop may not)."""
    work.mkdir(parents=True, exist_ok=True)
    task_path, result_path = work / f"{name}.task.json", work / f"{name}.result.json"
    result_path.unlink(missing_ok=True)
    task_path.write_text(json.dumps({**task, "result": str(result_path)}), encoding="utf-8")
    patience_s = (task.get("seconds_cap") or 0) + PATIENCE_S
    try:
        done = subprocess.run(
            [sys.executable, "-m", "compression_service.engine.runner", str(task_path)],
            capture_output=True, text=True, check=False, errors="replace", timeout=patience_s,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RunError(f"it had not ended after {patience_s:g} s and was stopped") from error
    if result_path.is_file():
        result: dict[str, Any] = json.loads(result_path.read_text(encoding="utf-8"))
        if "error" in result:
            raise RunError(result["error"])
        return result
    if done.returncode < 0:
        raise RunError(f"the process which ran it was ended by signal {-done.returncode}")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    raise RunError(lines[-1][:240] if lines else f"the process which ran it ended with code {done.returncode}")


def load_feeds(path: Path) -> list[Feed]:
    """What save_feeds wrote."""
    with np.load(path, allow_pickle=False) as stored:
        feeds: list[Feed] = [{} for _ in range(int(stored["count"]))]
        for key in stored.files:
            if key.startswith("s/"):
                for feed, array in zip(feeds, stored[key], strict=True):
                    feed[key[2:]] = _unquoted(array)
            elif key.startswith("r/"):
                name, _, index = key[2:].rpartition("/")
                feeds[int(index)][name] = _unquoted(stored[key])
    return feeds


def _unquoted(array: Any) -> np.ndarray:
    array = np.asarray(array)  # a scalar when a row of a stack of scalars
    return array.astype(object) if array.dtype.kind == "U" else array


def session(path: str, threads: int = 0, wanted: dict[str, Any] | None = None) -> Any:
    """An onnxruntime session on the CPU which says nothing on stderr, and whose threads rest while they wait."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    session_options.apply(options, wanted or {})
    options.add_session_config_entry(*RESTING)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def numeric(value: Any) -> np.ndarray:
    """An output as an array: sequences of maps (ZipMap) become rows of values in the order of their keys."""
    if isinstance(value, list):
        rows = [[row[key] for key in sorted(row)] if isinstance(row, dict) else np.asarray(row) for row in value]
        return np.asarray(rows)
    return np.asarray(value)


def outputs_of(model: Any, feed: Feed) -> dict[str, np.ndarray]:
    """Output name → array of one inference."""
    names = [output.name for output in model.get_outputs()]
    return dict(zip(names, map(numeric, model.run(None, feed)), strict=True))


def _run(task: dict[str, Any]) -> dict[str, Any]:
    components = [
        {**c, "session": session(c["path"]), "feeds": load_feeds(Path(c["inputs"])), "state": {}, "outputs": []}
        for c in task["components"]
    ]
    steps, began, kept_bytes = task.get("steps", 1), time.perf_counter(), 0
    wanted = min([len(c["feeds"]) for c in components] + [task.get("count_cap") or 10**9])
    done, stopped = 0, ""
    for index in range(wanted):
        if task.get("seconds_cap") and index and time.perf_counter() - began > task["seconds_cap"]:
            stopped = f"stopped after {task['seconds_cap']:g} s"
            break
        for component in components:
            feed = dict(component["feeds"][index])
            if index % steps:
                feed.update(component["state"])
            if task.get("record_feeds"):
                component.setdefault("fed", []).append(feed)
            made = outputs_of(component["session"], feed)
            component["state"] = {given: made[out] for given, out in component["carry"].items()}
            component["outputs"].append({k: v if v.dtype != object else v.astype(str) for k, v in made.items()})
            kept_bytes += sum(array.nbytes for array in made.values())
        done = index + 1
        if kept_bytes > OUTPUT_LIMIT_BYTES:
            stopped = "stopped at 512 MB of outputs"
            break
    seconds = time.perf_counter() - began
    for component in components:
        save_feeds(component["outputs"], Path(component["out"]))
        if task.get("record_feeds"):
            save_feeds(component["fed"], Path(component["inputs"]))
    return {"count": done, "seconds": seconds, "stopped": stopped if done < wanted else ""}


def _probe(task: dict[str, Any]) -> dict[str, Any]:
    """The first candidate of shapes with which the model runs, and how long one run takes."""
    from compression_service.engine.calibration import generated

    model = session(task["path"])
    problems = []
    for index, shapes in enumerate(task["candidates"]):
        feed = generated.feed(task["specs"], shapes, np.random.default_rng(task["seed"]))
        try:
            outputs_of(model, feed)
            began = time.perf_counter()
            made = outputs_of(model, feed)
        except Exception as error:  # onnxruntime raises its own kinds; the next candidate may do
            problems.append(in_words(error))
            continue
        return {
            "choice": index,
            "run_ms": (time.perf_counter() - began) * 1000,
            "outputs": {name: {"shape": list(a.shape), "dtype": a.dtype.name} for name, a in made.items()},
        }
    return {"error": problems[0] if problems else "no input shape could be tried"}


def _weigh(task: dict[str, Any]) -> dict[str, Any]:
    """Peak memory of this process with one thread, and the processor time of a run (the fastest tenth)."""
    feeds = load_feeds(Path(task["inputs"]))
    model = session(task["path"], 1, task["session_options"])
    times = []
    for index in range(max(2, task["runs"])):
        began = time.process_time()
        model.run(None, feeds[index % len(feeds)])
        times.append((time.process_time() - began) * 1000)
    times.sort()
    return {"peak_bytes": harness.memory()["peak"], "run_ms": times[len(times) // 10]}


def _load(task: dict[str, Any]) -> dict[str, Any]:
    session(task["path"])
    return {}


ACTS = {"run": _run, "probe": _probe, "weigh": _weigh, "load": _load}


def main(task_path: str) -> None:
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when onnxruntime is imported
    task = json.loads(Path(task_path).read_text(encoding="utf-8"))
    try:
        result = ACTS[task["act"]](task)
    except Exception as error:  # whatever the runtime raises is the parent's answer
        result = {"error": in_words(error)}
    Path(task["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
