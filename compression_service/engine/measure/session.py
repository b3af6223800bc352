"""A measuring session: the source first and last, variants interleaved A B C … C B A, each window a fresh process.

measuring.md §1 rules 1–6 and 10: every variant gets two windows, the first loads cold and the second warm; a drifting
or disturbed session is redone once and marked noisy when it stays so.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from compression_service.engine import graph, runner
from compression_service.engine import inputs as inputs_module
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Inputs, Request
from compression_service.engine.measure import machine, statistics
from compression_service.engine.versions import HARNESS_VERSION, versions

Progress = Callable[[float, str], None]
SOURCE = "onnx"
DRIFT_LIMIT = 0.05
STEAL_LIMIT = 0.01
WAIT_LIMIT = 0.05
FEEDS_KEPT = 8
FEEDS_KEPT_BYTES = 4 * 1024 * 1024  # what the measuring process holds beside the model


@dataclass
class Subject:
    """What is measured under one name: its model files in the order of the source's components, and loader files."""

    name: str
    root: Path
    components: list[dict[str, str]]
    loader_files: list[str]
    model_files: list[Path] = field(default_factory=list)
    windows: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    @property
    def paths(self) -> list[Path]:
        return [self.root / component["path"] for component in self.components]

    @property
    def all_files(self) -> list[Path]:
        return [*self.model_files, *(self.root / name for name in self.loader_files)]

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.all_files)


def measure(
    task: dict[str, Any], request: Request, work: Path, progress: Progress = lambda _f, _m: None
) -> dict[str, Any]:
    """Measure task["source"] and task["variants"]; returns the result of the act `measure` (see __main__)."""
    work.mkdir(parents=True, exist_ok=True)
    source = _subject({"name": SOURCE, **task["source"]})
    variants = [_subject(entry) for entry in task.get("variants", [])]
    progress(0.02, "Preparing the inputs")
    shapes = _prepare_inputs(source, request, work)
    seconds = float(task.get("seconds", 10))
    session = _Session(work, seconds, task.get("seconds_cap"))
    records: list[dict[str, Any]] = []
    drift: dict[str, Any] = {}
    threads_wanted = _threads(task.get("threads") or [1, 0])
    for position, threads in enumerate(threads_wanted):
        low, share = 0.05 + 0.95 * position / len(threads_wanted), 0.95 / len(threads_wanted)

        def step(fraction: float, message: str, low: float = low, share: float = share) -> None:
            progress(low + share * fraction, message)

        drift[str(threads)] = session.run(source, variants, threads, step)
        for subject in (source, *variants):
            records.append(_record(subject, source, threads, drift[str(threads)], session, shapes))
    progress(1.0, "Measured")
    return {
        "records": records,
        "device": machine.profile(),
        "identity": _identity([source, *variants], task),
        "drift": drift,
    }


def _subject(entry: dict[str, Any]) -> Subject:
    root = Path(entry.get("root") or ".").resolve()
    subject = Subject(entry["name"], root, entry["components"], list(entry.get("files") or []))
    for path in subject.paths:
        if not path.is_file():
            subject.error = f"{path.name} is not there"
            continue
        subject.model_files.append(path)
        try:
            model = onnx.load(str(path), load_external_data=False)
        except (DecodeError, ValueError):
            subject.error = f"{path.name} is not a readable ONNX file"
            continue
        fields = (graph.external_fields(tensor) for tensor in graph.tensors(model))
        external = sorted({found["location"] for found in fields if found and found.get("location")})
        subject.model_files.extend(path.parent / name for name in external if (path.parent / name).is_file())
    return subject


def _threads(wanted: list[int]) -> list[int]:
    """0 means all cores; a number of threads is measured once."""
    cores = machine.cores()
    return list(dict.fromkeys(min(cores, number) if number > 0 else cores for number in wanted))


def _prepare_inputs(source: Subject, request: Request, work: Path) -> dict[str, dict[str, Any]]:
    """Write the feeds of each component, all of one shape; returns what they look like."""
    if source.error:
        raise RefusedError(f"The source model cannot be measured: {source.error}.")
    names = [component.get("name") or f"component-{i}" for i, component in enumerate(source.components)]
    models = {name: (graph.load(path), path) for name, path in zip(names, source.paths, strict=True)}
    prepared: Inputs = inputs_module.prepare(models, request, work / "inputs")
    shapes: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        component = prepared.components[name]
        feeds = _one_shape(component.evaluation)
        runner.save_feeds(feeds, work / f"feeds-{number}.npz")
        (work / f"carry-{number}.json").write_text(json.dumps(component.carry), encoding="utf-8")
        shapes[name] = {key: _described(array, [feed[key] for feed in feeds]) for key, array in feeds[0].items()}
    shapes["_"] = {"kind": prepared.kind, "source": prepared.source, "notes": prepared.notes}
    return shapes


def _one_shape(feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Up to FEEDS_KEPT feeds with the shapes of the feed of median size: mixed lengths would mix latencies."""
    ordered = sorted(feeds, key=lambda feed: sum(array.size for array in feed.values()))
    median = {name: array.shape for name, array in ordered[len(ordered) // 2].items()}
    same = [feed for feed in feeds if {name: array.shape for name, array in feed.items()} == median]
    size_bytes = sum(array.nbytes for array in same[0].values())
    return same[: max(1, min(FEEDS_KEPT, FEEDS_KEPT_BYTES // max(1, size_bytes)))]


class _Session:
    """Runs windows in fresh processes and keeps what they say."""

    def __init__(self, work: Path, seconds: float, seconds_cap: float | None) -> None:
        self.work = work
        self.seconds = seconds
        # Per window: half of the seconds, and up to three times that while the runs for p99 are not there.
        self.window_cap = (seconds_cap or 3 * seconds) / 2
        self.number = 0
        self.empty_model = work / "empty.onnx"
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        empty = helper.make_model(
            helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", [value], [out]),
            opset_imports=[helper.make_opsetid("", 13)], ir_version=7,
        )  # fmt: skip
        self.empty_model.write_bytes(empty.SerializeToString(deterministic=True))

    def run(self, source: Subject, variants: list[Subject], threads: int, progress: Progress) -> dict[str, Any]:
        """A B C … C B A with the source outside; one more time when it was disturbed. Returns the source's drift."""
        drift = self._pass(source, variants, threads, lambda done, message: progress(done * 0.6, message))
        disturbed = [s for s in (source, *variants) if self.noise_of(s, drift)]
        redone = False
        if disturbed:
            kept = {subject.name: subject.windows for subject in (source, *variants)}
            again = variants if drift["noisy"] or source in disturbed else [s for s in disturbed if s is not source]
            second = self._pass(source, again, threads, lambda done, message: progress(0.6 + done * 0.4, message))
            redone = True
            if self._disturbance(source, again, second) > self._disturbance(source, again, drift, kept):
                for subject in (source, *again):
                    subject.windows = kept[subject.name]
            else:
                drift = second
        return {**drift, "redone": redone}

    def _pass(self, source: Subject, variants: list[Subject], threads: int, progress: Progress) -> dict[str, Any]:
        order = [
            (source, True),
            *((v, True) for v in variants),
            *((v, False) for v in reversed(variants)),
            (source, False),
        ]
        for subject, first in order:
            if first:
                subject.windows = []
        for done, (subject, cold) in enumerate(order):
            progress(done / len(order), f"Measuring {subject.name} with {threads} thread{'s' if threads > 1 else ''}")
            if subject.error:
                continue
            window = self.window(subject, threads, cold)
            if isinstance(window, str):
                subject.error = window
            else:
                subject.windows.append(window)
        if source.error:
            raise RefusedError(f"The source model cannot be measured: {source.error}")
        first, last = (statistics.latency(window["samples_ms"])["p50"] for window in source.windows)
        change = last / first - 1
        return {"first_p50_ms": first, "last_p50_ms": last, "change": change, "noisy": abs(change) > DRIFT_LIMIT}

    def _disturbance(
        self, source: Subject, variants: list[Subject], drift: dict[str, Any], kept: dict[str, Any] | None = None
    ) -> float:
        """How disturbed a pass was: the share of its windows with a sign of noise, drift counting like all of them."""
        windows = [w for s in (source, *variants) for w in (kept[s.name] if kept else s.windows)]
        return float(drift["noisy"]) + sum(bool(_window_noise(w)) for w in windows) / max(1, len(windows))

    def noise_of(self, subject: Subject, drift: dict[str, Any]) -> str:
        """Why the figures of a subject are noisy, "" when they are not."""
        reasons = [f"the source drifted by {drift['change']:+.1%}"] if drift["noisy"] else []
        reasons += [reason for window in subject.windows for reason in _window_noise(window)]
        return "; ".join(dict.fromkeys(reasons))

    def window(self, subject: Subject, threads: int, cold: bool) -> dict[str, Any] | str:
        """One fresh process; its result, or a sentence when it failed."""
        self.number += 1
        task_path, result_path = (
            self.work / f"window-{self.number}.json",
            self.work / f"window-{self.number}.result.json",
        )
        short = min(1.0, self.seconds / 2)
        components = [
            {"path": str(path), "inputs": str(self.work / f"feeds-{i}.npz"),
             "carry": json.loads((self.work / f"carry-{i}.json").read_text(encoding="utf-8"))}
            for i, path in enumerate(subject.paths)
        ]  # fmt: skip
        task: dict[str, Any] = {
            "components": components, "files": [str(path) for path in subject.model_files], "cold": cold,
            "empty_model": str(self.empty_model), "threads": threads, "cpus": _first_cpus(threads),
            "seconds": self.seconds / 2, "least_runs": -(-statistics.RUNS_FOR["p99"] // 2),
            "seconds_cap": max(self.seconds / 2, self.window_cap),
            "warmup": {"runs": 10, "seconds": short, "seconds_cap": max(5 * short, 0.5),
                       "window_runs": 5, "difference": 0.03},
        }  # fmt: skip
        task_path.write_text(json.dumps(task), encoding="utf-8")
        patience_s = task["seconds_cap"] + task["warmup"]["seconds_cap"] + runner.PATIENCE_S
        try:
            done = subprocess.run(
                [sys.executable, "-m", "compression_service.engine.measure.harness", str(task_path), str(result_path)],
                capture_output=True, text=True, check=False, errors="replace", timeout=patience_s,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"It had not ended after {patience_s:g} s and was stopped."
        if done.returncode < 0:
            return f"The process which ran it was ended by signal {-done.returncode}."
        if done.returncode or not result_path.is_file():
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            return f"It does not run: {lines[-1][:200] if lines else 'no message'}"
        window: dict[str, Any] = json.loads(result_path.read_text(encoding="utf-8"))
        return window


def _described(array: np.ndarray, fed: list[np.ndarray]) -> dict[str, Any]:
    """Shape and type of an input; the value too of one which is a setting (a sample rate): others run another graph."""
    described: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype)}
    if array.size == 1 and array.dtype.kind in "iub" and all(np.array_equal(array, other) for other in fed):
        described["value"] = array.item()
    return described


def _first_cpus(threads: int) -> list[int]:
    import os

    return sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []


def _window_noise(window: dict[str, Any]) -> list[str]:
    noise, cores = window["noise"], machine.cores()
    reasons = []
    if (noise["steal_share"] or 0) > STEAL_LIMIT:
        reasons.append(f"{noise['steal_share']:.1%} of the processor time was stolen")
    if noise["load_average"] > cores:
        reasons.append(f"load average {noise['load_average']:.1f} on {cores} cores")
    if noise["waited_share"] > WAIT_LIMIT:
        reasons.append(f"it waited for a processor for {noise['waited_share']:.0%} of the time")
    return reasons


def _record(
    subject: Subject, source: Subject, threads: int, drift: dict[str, Any], session: _Session, shapes: dict[str, Any]
) -> dict[str, Any]:
    if subject.error or not subject.windows:
        return {"variant": subject.name, "threads": threads, "error": subject.error or "It could not be measured."}
    own, reference = _figures(subject), _figures(source)
    noise = session.noise_of(subject, drift)
    pairs = {
        "p50": (own["latency_ms"]["p50"], reference["latency_ms"]["p50"]),
        "p90": (own["latency_ms"]["p90"], reference["latency_ms"]["p90"]),
        "peak_memory": (own["peak_memory_bytes"], reference["peak_memory_bytes"]),
        "size": (own["size_bytes"], reference["size_bytes"]),
        "load": (own["load_ms"]["warm"], reference["load_ms"]["warm"]),
    }
    return {
        "variant": subject.name,
        "threads": threads,
        **own,
        "ratio_to_source": {name: statistics.ratio(*pair) for name, pair in pairs.items()},
        "noisy": bool(noise),
        "noise": noise,
        "input_shapes": {name: shape for name, shape in shapes.items() if name != "_"},
        "inputs": shapes["_"],
    }


def _figures(subject: Subject) -> dict[str, Any]:
    """The figures of all windows of a subject together."""
    windows = subject.windows
    samples = [sample for window in windows for sample in window["samples_ms"]]
    latency = statistics.latency(samples)
    loads = {kind: [w["load_ms"] for w in windows if w["load_kind"] == kind] for kind in ("cold", "warm")}
    ends = [window["memory"] for window in windows]
    peak = _largest(memory["warmed"]["peak"] for memory in ends)
    baseline = _largest(memory["baseline"]["peak"] for memory in ends)
    points = [point for memory in ends for point in (memory["loaded"], memory["warmed"])]
    thin = statistics.thinned(samples)
    return {
        "load_ms": {kind: min(found) if found else None for kind, found in loads.items()},
        "load_note": next((window["cold_impossible"] for window in windows if window["cold_impossible"]), ""),
        "latency_ms": latency,
        "throughput_per_s": 1000 / latency["mean"] if latency["mean"] else None,
        "peak_memory_bytes": peak,
        "baseline_memory_bytes": baseline,
        "added_memory_bytes": peak - baseline if peak is not None and baseline is not None else None,
        "anonymous_bytes": _largest(point["anonymous"] for point in points),
        "file_backed_bytes": _largest(point["file_backed"] for point in points),
        "size_bytes": subject.size_bytes,
        "wire_bytes": subject.size_bytes,
        "samples_ms": thin,
        "samples_note": "" if len(thin) == len(samples) else f"{len(thin)} of {len(samples)} samples, evenly taken",
        "seconds": sum(window["seconds"] for window in windows),
        "warmup": {
            "runs": sum(window["warmup"]["runs"] for window in windows),
            "seconds": sum(window["warmup"]["seconds"] for window in windows),
            "stable": all(window["warmup"]["stable"] for window in windows),
        },
        "session_options": windows[0]["session_options"],
        "provider": windows[0]["session_options"]["providers"][0],
    }


def _largest(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None


def _identity(subjects: list[Subject], task: dict[str, Any]) -> dict[str, Any]:
    """What was measured with what (rule 10): sha256 of every file, versions, opsets, harness, time."""
    recipes = {entry["name"]: entry.get("version") for entry in task.get("variants", [])}
    return {
        "variants": {
            subject.name: {
                "recipe_version": recipes.get(subject.name),
                "files": {path.relative_to(subject.root).as_posix(): _sha256(path) for path in subject.all_files},
                "opset": [_opset(path) for path in subject.paths if path.is_file()],
            }
            for subject in subjects
        },
        "versions": versions(),
        "provider": "CPUExecutionProvider",
        "harness": HARNESS_VERSION,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _opset(path: Path) -> int | None:
    try:
        return graph.opset(onnx.load(str(path), load_external_data=False))
    except Exception:  # an unreadable variant has its own record with the error
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
