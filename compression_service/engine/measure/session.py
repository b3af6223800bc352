"""A measuring session: the source and its variants in turn, A B C … C B A, each window a fresh process.

measuring.md §1 rules 1–6 and 10: every variant gets two windows, the first loads cold and the second warm. The windows
of one turn are open together, as far as memory allows, and run slices one after the other (windows.py). A drifting or
disturbed session is redone once and marked noisy when it stays so. Last, each variant runs once under a limit.
Where buffers lie in their pages may double a latency (Mytkowicz et al. 2009): each window has a layout of its own, and
where two windows disagree, more are taken and the odd ones set aside.
The folder is shared with the light client (docs/decisions/0014): it imports numpy and nothing of the engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from . import machine, statistics, windows
from .windows import Wanted, Window, WindowError

Progress = Callable[[float, str], None]
SOURCE = "onnx"
HARNESS_VERSION = "6"
DRIFT_LIMIT = 0.05
STEAL_LIMIT = 0.01
WAIT_LIMIT = 0.05
ODD_LAYOUT = 0.1  # a window whose median is so far from that of all windows had an unlucky layout of memory
NEEDED_BYTES, NEEDED_FOLD = 128 * 1024 * 1024, 4  # a process, and what a model may take for each byte of its files
MORE_WINDOWS = 3
SHIFT_SPAN_BYTES = 64 * 1024
SHIFT_STEP_BYTES = 592  # windows lie this far apart: no multiple of a cache line's power of two comes back soon
LIMIT_STEP_BYTES = 32 * 1024 * 1024  # a limit which a variant ran within is the next multiple of this
# x → Identity → y, one float: what a session costs without a model.
EMPTY_MODEL = (
    b'\x08\x07:;\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x05emptyZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


class SessionError(Exception):
    """The source cannot be measured, so nothing can. The message is a sentence."""


@dataclass
class Subject:
    """What is measured under one name: its model files in the order of the source's components, and loader files."""

    name: str
    root: Path
    components: list[dict[str, Any]]  # {"name", "path"}, "session_options" where the variant has some
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

    @property
    def most_bytes(self) -> int:
        """Memory which a window of it may take, as far as its files tell."""
        return NEEDED_BYTES + NEEDED_FOLD * sum(path.stat().st_size for path in self.model_files)


def take(
    source: Subject, variants: list[Subject], shapes: dict[str, Any], work: Path, *, seconds: float,
    seconds_cap: float | None, threads: list[int], progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """{"records", "device", "drift"} of a session at each number of threads (0: all cores). Raises SessionError.

    `shapes` goes into every record; the feeds of component `i` lie in `work` as feeds-i.npz, its state as carry-i.json.
    """
    if source.error:
        raise SessionError(f"The source model cannot be measured: {source.error}.")
    session = _Session(work, seconds, seconds_cap)
    records: list[dict[str, Any]] = []
    drift: dict[str, Any] = {}
    wanted = _threads(threads)
    for position, count in enumerate(wanted):
        low, share = 0.05 + 0.9 * position / len(wanted), 0.9 / len(wanted)

        def step(fraction: float, message: str, low: float = low, share: float = share) -> None:
            progress(low + share * fraction, message)

        drift[str(count)] = session.run(source, variants, count, step)
        for subject in (source, *variants):
            records.append(_record(subject, source, count, drift[str(count)], session, shapes))
    progress(0.96, "Running each variant under a limit")
    for record in records:
        if not record.get("error"):
            subject = next(one for one in (source, *variants) if one.name == record["variant"])
            record["ran_within"] = session.within(subject, record["threads"], record)
    return {"records": records, "device": machine.profile(), "drift": drift}


def _threads(wanted: list[int]) -> list[int]:
    """0 means all cores; a number of threads is measured once."""
    cores = machine.cores()
    return list(dict.fromkeys(min(cores, number) if number > 0 else cores for number in wanted))


class _Session:
    """Runs windows in fresh processes and keeps what they say."""

    def __init__(self, work: Path, seconds: float, seconds_cap: float | None) -> None:
        self.work = work
        self.seconds = seconds
        # Per window: half of the seconds, and up to three times that while the runs for p99 are not there.
        self.window_cap = (seconds_cap or 3 * seconds) / 2
        self.number = self.turns = 0
        self.empty_model = work / "empty.onnx"
        self.empty_model.write_bytes(EMPTY_MODEL)

    def run(self, source: Subject, variants: list[Subject], threads: int, progress: Progress) -> dict[str, Any]:
        """A B C … C B A with the source beside them; once more when it was disturbed. Returns the source's drift."""
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
        for subject in (source, *variants):
            subject.windows = []
        running = [subject for subject in variants if not subject.error]
        self._turn(source, running, threads, True, lambda done, message: progress(done / 2, message))
        self._turn(source, running[::-1], threads, False, lambda done, message: progress(0.5 + done / 2, message))
        odd = [one for one in running if not one.error and _mark_odd(one.windows, source.windows)]
        for _ in range(MORE_WINDOWS if odd else 0):
            self._turn(source, odd, threads, False, lambda _done, message: progress(1.0, message))
        for subject in odd:
            _mark_odd(subject.windows, source.windows)
        first, last = (_p50_ms(window) for window in source.windows[:2])
        change = last / first - 1
        return {"first_p50_ms": first, "last_p50_ms": last, "change": change, "noisy": abs(change) > DRIFT_LIMIT}

    def _turn(self, source: Subject, variants: list[Subject], threads: int, cold: bool, progress: Progress) -> None:
        """One more window of the source and of each variant; the cold ones are the first."""
        subjects = {subject.name: subject for subject in (source, *variants) if not subject.error}
        started: list[str] = []

        def started_one(name: str) -> None:
            started.append(name)
            words = f"Measuring {name} with {threads} thread{'s' if threads > 1 else ''}"
            progress(min(1.0, len(started) / len(subjects)), words)

        wanted = [
            Wanted(one.name, partial(self._start, one, threads, cold), one.most_bytes) for one in subjects.values()
        ]
        for name, found in windows.take(wanted[0], wanted[1:], started_one, yardstick_last=not cold).items():
            subject = subjects[name]
            if isinstance(found, WindowError):
                subject.error = str(found)
            else:
                subject.windows.append(found | {"turn": self.turns})
        self.turns += 1
        if source.error:
            raise SessionError(f"The source model cannot be measured: {source.error}")

    def _disturbance(
        self, source: Subject, variants: list[Subject], drift: dict[str, Any], kept: dict[str, Any] | None = None
    ) -> float:
        """How disturbed a pass was: the share of its windows with a sign of noise, drift counting like all of them."""
        taken = [w for s in (source, *variants) for w in (kept[s.name] if kept else s.windows)]
        return float(drift["noisy"]) + sum(bool(_window_noise(w)) for w in taken) / max(1, len(taken))

    def noise_of(self, subject: Subject, drift: dict[str, Any]) -> str:
        """Why the figures of a subject are noisy, "" when they are not."""
        reasons = [f"the source drifted by {drift['change']:+.1%}"] if drift["noisy"] else []
        reasons += [reason for window in subject.windows for reason in _window_noise(window)]
        return "; ".join(dict.fromkeys(reasons))

    def within(self, subject: Subject, threads: int, record: dict[str, Any]) -> dict[str, Any] | None:
        """{"bytes", "by"}: the limit under which it loaded and ran once more; None where it did not, or none holds.

        The limit is of the address space, which holds all that VmHWM counts and more: who runs within it needs no more.
        """
        spaces = [window["memory"]["end"].get("space") for window in subject.windows]
        if not spaces or None in spaces or record["peak_memory_bytes"] is None:
            return None
        limit = -(-max(spaces) // LIMIT_STEP_BYTES) * LIMIT_STEP_BYTES
        window = self.window(subject, threads, cold=False, limit_bytes=limit)
        return None if isinstance(window, str) else {"bytes": limit, "by": "rlimit of the address space"}

    def window(
        self, subject: Subject, threads: int, cold: bool, limit_bytes: int | None = None
    ) -> dict[str, Any] | str:
        """One window by itself; its result, or a sentence when it failed. Under a limit it runs a few times only."""
        wanted = Wanted(subject.name, partial(self._start, subject, threads, cold, limit_bytes), 0)
        found = windows.take(wanted, [], lambda _name: None)[subject.name]
        return str(found) if isinstance(found, WindowError) else found

    def _start(self, subject: Subject, threads: int, cold: bool, limit_bytes: int | None = None) -> Window:
        """A fresh process, loaded and warm. Raises WindowError."""
        self.number += 1
        short = min(1.0, self.seconds / 2)
        components = [
            {"path": str(path), "inputs": str(self.work / f"feeds-{i}.npz"),
             "carry": json.loads((self.work / f"carry-{i}.json").read_text(encoding="utf-8")),
             "session_options": component.get("session_options") or {}}
            for i, (path, component) in enumerate(zip(subject.paths, subject.components, strict=True))
        ]  # fmt: skip
        task: dict[str, Any] = {
            "components": components, "files": [str(path) for path in subject.model_files], "cold": cold,
            "empty_model": str(self.empty_model), "threads": threads, "cpus": _first_cpus(threads),
            "warmup": {"runs": 10, "seconds": short, "seconds_cap": max(5 * short, 0.5),
                       "window_runs": 5, "difference": 0.03},
            "limit_bytes": limit_bytes, "shift_bytes": self.number * SHIFT_STEP_BYTES % SHIFT_SPAN_BYTES,
        }  # fmt: skip
        path = self.work / f"window-{self.number}.json"
        if limit_bytes is not None:
            task["warmup"] = {"runs": 2, "seconds": 0.0, "seconds_cap": 0.0, "window_runs": 1, "difference": 1.0}
            return Window(task, path, seconds=0.0, least_runs=2, seconds_cap=0.0)
        least_runs = -(-statistics.RUNS_FOR["p99"] // 2)
        return Window(task, path, seconds=self.seconds / 2, least_runs=least_runs, seconds_cap=self.window_cap)


def _mark_odd(windows: list[dict[str, Any]], of_source: list[dict[str, Any]]) -> bool:
    """Set "odd" on windows whose median latency is not near the (lower) median of all; whether there are any.

    It is held against that of the source's window of the same turn, for what both have in common is no layout.
    """
    beside = {window["turn"]: _p50_ms(window) for window in of_source}
    ratios = [_p50_ms(window) / beside[window["turn"]] for window in windows]
    middle = sorted(ratios)[(len(ratios) - 1) // 2]
    for window, found in zip(windows, ratios, strict=True):
        window["odd"] = abs(found / middle - 1) > ODD_LAYOUT
    return any(window["odd"] for window in windows)


def _p50_ms(window: dict[str, Any]) -> float:
    return float(statistics.latency(window["samples_ms"])["p50"])


def _first_cpus(threads: int) -> list[int]:
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
    timed = [window for window in windows if not window.get("odd")]
    samples = [sample for window in timed for sample in window["samples_ms"]]
    latency = statistics.latency(samples)
    latency |= statistics.p90_range(samples, [count for window in timed for count in window["slices"]])
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
        "seconds": sum(window["seconds"] for window in timed),
        "cpu_ms": sum(window["cpu_ms"] for window in timed) / len(samples),
        "energy": _energy(timed, len(samples)),
        "windows": {"count": len(windows), "odd": len(windows) - len(timed)},
        "warmup": {
            "runs": sum(window["warmup"]["runs"] for window in windows),
            "seconds": sum(window["warmup"]["seconds"] for window in windows),
            "stable": all(window["warmup"]["stable"] for window in windows),
        },
        "session_options": windows[0]["session_options"],
        "provider": windows[0]["session_options"]["providers"][0],
    }


def _energy(windows: list[dict[str, Any]], runs: int) -> dict[str, Any] | None:
    """{"mj", "method", "watts_idle"} an inference from the processor's own meter; None where there is none to read."""
    found = [window["energy"] for window in windows]
    if any(one is None for one in found):
        return None
    joules = sum(one["joules"] - one["idle_watts"] * one["seconds"] for one in found)
    idle = sum(one["idle_watts"] for one in found) / len(found)
    return {"mj": max(0.0, joules) * 1000 / runs, "method": "rapl", "watts_idle": idle}


def _largest(values: Any) -> int | None:
    known = [value for value in values if value is not None]
    return max(known) if known else None
