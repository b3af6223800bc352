"""How wrong estimates are on a device which was left out.

python -m tests.benchmarks.estimates [--seconds 1] [--models 6] [--stand-ins "one core" "half a core" …] [--each] [--keep FILE]

Real models of ../shared/assets of mixed sizes with their int8 variants, by the hub's own harness and bench. Stand-ins make
this machine several devices: one core, two cores (left out where it may use one only), shares of a core which a cgroup gives
in short and in long periods, a neighbour which computes on the same core, another one which moves memory there, and another
instruction set by an emulator (qemu-user), which is hundreds of times slower. What can not be had here is left out, and said.
BAR is what issue 5 allows; --each prints every estimate. THE FLOOR is how far the p90 of one window lies from that of the next, of the same variant on
the same stand-in: no estimate can be better. Everything runs in a cgroup which the kernel prefers to other work
of the machine, where one may be made: figures taken beside other work are noise, and the load is printed beside them.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from compression_service.engine import graph, inputs
from compression_service.engine.convert.act import convert
from compression_service.engine.errors import EngineError
from compression_service.engine.make import make
from compression_service.engine.measure import feeds, machine, session
from compression_service.engine.measure import statistics as figures
from compression_service.engine.measuring import _one_shape
from compression_service.selection import estimates

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
MODELS = (
    "models/mnist-classic-ml/mnist.onnx", "models/cifar10-cnn-winml/ImageClassifier.onnx",
    "trained/squeezenet1.1-fp32/model.onnx", "models/ppocr-v2-cls/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "models/silero-vad/silero_vad_16k_op15.onnx", "models/dtln-denoise/model_1.onnx",
    "models/ultraface-rfb-320/version-RFB-320.onnx", "models/mnist-classic-ml/cnn_mnist_pytorch.onnx",
    "models/magika-standard-v3_3/model.onnx", "models/dtln-denoise/model_2.onnx",
)  # fmt: skip
RECIPES = ("int8-dynamic", "int8-static")
SECONDS_CAP = 12.0  # of both windows: 64 inferences for a p90, also where each takes 100 ms
CGROUP = Path("/sys/fs/cgroup/cpu")
MANY_SHARES = 262_144  # the most there is: 256 times what one other process gets
BENCH = (
    "import json, sys; from compression_service.engine.measure import bench;"
    "print(json.dumps(bench.speeds(int(sys.argv[1]))))"
)
NEIGHBOURS = {
    "computing": "while True: pass",
    "memory": "a = bytearray(1 << 28)\nb = memoryview(bytearray(1 << 28))\nwhile True: a[:] = b",
}
EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")  # AVX2, no AVX-512, no dot products


@dataclass(frozen=True)
class StandIn:
    name: str
    threads: int = 1
    share: float = 1.0
    period_ms: float = 10.0
    neighbour: str = ""
    is_emulated: bool = False


STAND_INS = (
    StandIn("one core"),
    StandIn("two cores", threads=2),
    StandIn("half a core, 10 ms", share=0.5),
    StandIn("a fifth, 10 ms", share=0.2),
    StandIn("half a core, 100 ms", share=0.5, period_ms=100),
    StandIn("a quarter, 100 ms", share=0.25, period_ms=100),
    StandIn("a neighbour", neighbour="computing"),
    StandIn("a neighbour, memory", neighbour="memory"),
    StandIn("emulated AVX2", is_emulated=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for which a variant is timed on each stand-in")
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--stand-ins", nargs="+", default=[one.name for one in STAND_INS if not one.is_emulated])
    parser.add_argument("--runs", type=int, default=1, help="so often, each fitted by itself")
    parser.add_argument("--each", action="store_true", help="print every estimate")
    parser.add_argument("--keep", type=Path, help="a file which gets all that was measured, as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fithub-estimates-") as folder:
        subjects = [
            subject
            for number, name in enumerate(MODELS[: options.models])
            for subject in _subjects(ASSETS / name, Path(folder) / str(number))
        ]
        print(f"{len(subjects)} variants of {options.models} models", flush=True)
        for number in range(1, options.runs + 1):
            kept: dict[str, Any] = {"speeds": {}, "taken": []}
            for stand_in in (one for one in STAND_INS if one.name in options.stand_ins):
                why_not = _measure(stand_in, subjects, options.seconds, kept)
                found = kept["speeds"].get(stand_in.name, {})
                print(f"{stand_in.name}: {why_not or {k: v for k, v in found.items() if k != 'stretch'}}", flush=True)
            if options.keep:
                options.keep.with_suffix(f".{number}.json").write_text(json.dumps(kept))
            print(f"run {number}:")
            report(kept, options.each)


def report(kept: dict[str, Any], each: bool) -> None:
    """Fit, and print how wrong it is."""
    speeds = {
        (device, 1): known
        for device, found in kept["speeds"].items()
        if (known := estimates.speeds_of({"measured": {"threads": {"1": found}}}, 1))
    }
    taken = [
        estimates.Taken(**{key: value for key, value in one.items() if key != "p90_by_window"})
        for one in kept["taken"]
        if one["p90_ms"]
    ]
    model = estimates.fit(taken, speeds)
    print(f"load average {os.getloadavg()[0]:.1f}; {len(taken)} records of {len(speeds)} stand-ins; {model}")
    windows = [one["p90_by_window"] for one in kept["taken"]]
    apart = sorted(abs(first / second - 1) for first, second in windows if first and second)
    print(f"the floor, a p90 from one window to the next: median {statistics.median(apart):.1%}, p90 {_p90(apart):.1%}")
    if each:
        for name, error in sorted(_errors(taken, speeds).items()):
            print(f"left out, {name:<24} median {statistics.median(error):.1%}, p90 {_p90(error):.1%}")
    for name, error, bar in (
        ("latency", model.latency_error, "15 % / 35 %"),
        ("by its source", model.sibling_error, ""),
        ("memory", model.memory_error, "5 % / 10 %"),
    ):
        if error:
            words = f"median {error['median']:.1%}, p90 {error['p90']:.1%} of {error['count']} estimates"
            print(f"one device left out, {name:<14} {words:<50} {'BAR ' * bool(bar)}{bar}")


def _errors(taken: list[estimates.Taken], speeds: dict[tuple[str, int], estimates.Speeds]) -> dict[str, list[float]]:
    """Of each device that is left out, as `fit` does it; every estimate is printed."""
    found: dict[str, list[float]] = {}
    for device in sorted({one.device for one in taken}):
        rest = [one for one in taken if one.device != device]
        blind, here = estimates.fit(rest, speeds), speeds[device, 1]
        for one in (one for one in taken if one.device == device):
            other = estimates.nearest((r for r in rest if r.variant == one.variant), speeds, here)
            if other is not None:
                there = speeds[other.device, 1]
                guess, own = estimates.latency_ms(blind, other, there, here), estimates.own_ms(other, there)
                found.setdefault(device, []).append(abs(guess / one.p90_ms - 1))
                print(
                    f"{one.variant[-50:]:<52}{device:<22} measured {one.p90_ms:.3f} ms, estimated {guess:.3f} ms"
                    f" ({guess / one.p90_ms - 1:+.0%}), {own:.3f} ms of processor time at {other.device}"
                )
    return found


def _p90(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.9 * len(values)))]


def _measure(stand_in: StandIn, subjects: list[session.Subject], seconds: float, kept: dict[str, Any]) -> str:
    """Add the stand-in's speeds and records; why not, in words, else ""."""
    if stand_in.threads > machine.cores():
        return f"left out, this process may use {machine.cores()} only"
    if stand_in.is_emulated and shutil.which(EMULATOR[0]) is None:
        return "left out, qemu-user is not installed"
    with ExitStack() as stack:
        if not stack.enter_context(limited(stand_in.share, stand_in.period_ms)):
            return "left out, no cgroup may be made here"
        stack.enter_context(neighbour(stand_in.neighbour))
        if stand_in.is_emulated:
            stack.enter_context(emulated())
        done = subprocess.run(
            [sys.executable, "-c", BENCH, str(stand_in.threads)], capture_output=True, text=True, check=True
        )
        kept["speeds"][stand_in.name] = json.loads(done.stdout)
        windows: dict[int, list[dict[str, Any]]] = {}
        order = list(range(len(subjects)))
        for number in (*order, *reversed(order)):
            subject = subjects[number]
            run = session._Session(subject.root.parent, seconds, SECONDS_CAP)
            window = run.window(subject, stand_in.threads, cold=False)
            assert isinstance(window, dict), window
            windows.setdefault(number, []).append(window)
        for number, subject in enumerate(subjects):
            kept["taken"].append(_taken(stand_in, subject, windows[number]))
    return ""


def _taken(stand_in: StandIn, subject: session.Subject, windows: list[dict[str, Any]]) -> dict[str, Any]:
    samples = [sample for window in windows for sample in window["samples_ms"]]
    latency = figures.latency(samples)
    family, _, recipe = subject.name.rpartition(" ")
    peak = max(window["memory"]["warmed"]["peak"] for window in windows)
    own_ms = sum(window["cpu_ms"] for window in windows) / len(samples)
    taken = estimates.Taken(
        subject.name, estimates.is_int8(recipe), stand_in.name, 1, subject.size_bytes, latency["p90"] or 0.0, peak,
        family, recipe == session.SOURCE, own_ms if stand_in.threads == 1 else None, latency["p50"],
    )  # fmt: skip
    return asdict(taken) | {"p90_by_window": [figures.latency(window["samples_ms"])["p90"] for window in windows]}


@contextmanager
def limited(share: float, period_ms: float) -> Iterator[bool]:
    """This process and its children get this share of one processor, before others; False where that is not possible."""
    group = CGROUP / f"fithub-estimates-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.shares").write_text(str(MANY_SHARES))
        if share < 1:
            (group / "cpu.cfs_period_us").write_text(str(int(period_ms * 1e3)))
            (group / "cpu.cfs_quota_us").write_text(str(int(period_ms * 1e3 * share)))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        yield share == 1
        return
    try:
        yield True
    finally:
        (CGROUP / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


@contextmanager
def neighbour(kind: str) -> Iterator[None]:
    """Another process on the first core, as eager as this one."""
    if not kind:
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", NEIGHBOURS[kind]])
    os.sched_setaffinity(other.pid, session._first_cpus(1))
    try:
        yield
    finally:
        other.kill()
        other.wait()


@contextmanager
def emulated() -> Iterator[None]:
    """Windows and bench run through the emulator."""
    python = sys.executable
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "python"
        path.write_text(f'#!/bin/sh\nexec {" ".join(EMULATOR)} {python} "$@"\n')
        path.chmod(0o755)
        sys.executable = str(path)
        try:
            yield
        finally:
            sys.executable = python


def _subjects(path: Path, work: Path) -> list[session.Subject]:
    """The model and its int8 variants, each with the feeds beside its folder."""
    source = work / "source"
    source.mkdir(parents=True)
    shutil.copy(path, source / "model.onnx")
    label = f"{path.parent.name}/{path.stem}"
    baseline = work / session.SOURCE
    components = {session.SOURCE: convert(source, baseline, work / "work")["components"]}
    for recipe in RECIPES:
        try:
            made = make(recipe, baseline, work / recipe, inputs.Request(seconds_cap=10), work / "work" / recipe)
            components[recipe] = made["components"]
        except EngineError as error:
            print(f"{label} {recipe}: left out, {error}"[:160], flush=True)
    (whole,) = components[session.SOURCE]
    loaded = {whole["name"]: (graph.load(baseline / whole["path"]), baseline / whole["path"])}
    fed = inputs.prepare(loaded, inputs.Request(), work / "inputs").components[whole["name"]]
    feeds.save(_one_shape(fed.evaluation), work / "feeds-0.npz")
    (work / "carry-0.json").write_text(json.dumps(fed.carry))
    return [
        session.Subject(f"{label} {recipe}", work / recipe, parts, [], [work / recipe / one["path"] for one in parts])
        for recipe, parts in components.items()
    ]


if __name__ == "__main__":
    main()
