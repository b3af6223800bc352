"""How wrong estimates are on a device which was left out, and how far a repeated record lies from the first.

python -m tests.benchmarks.estimates [--seconds 1] [--models 4]

Real models of ../shared/assets, by the hub's own harness and bench. Stand-ins make this machine several devices: one core,
two cores (left out where it may use one only), and one core of which a cgroup gives a share (where one may be made). BAR is what issue 5 allows.
Figures taken on a busy machine are noise: the load is printed beside them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compression_service.engine import graph, inputs
from compression_service.engine.measure import feeds, machine, session
from compression_service.engine.measure import statistics as figures
from compression_service.engine.measuring import _one_shape
from compression_service.selection import estimates

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
STAND_INS = {"one core": (1, 1.0), "two cores": (2, 1.0), "a half core": (1, 0.5), "a fifth of a core": (1, 0.2)}
CGROUP, PERIOD_US = Path("/sys/fs/cgroup/cpu"), 10_000
BENCH = (
    "import json, sys; from compression_service.engine.measure import bench;"
    "bench.SECONDS_EACH = 0.4; print(json.dumps(bench.speeds(int(sys.argv[1]))))"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each window")
    parser.add_argument("--models", type=int, default=4)
    options = parser.parse_args()
    models = sorted(ASSETS.glob("models/*/*.onnx"), key=lambda path: path.stat().st_size)[: options.models]
    taken: list[estimates.Taken] = []
    speeds: dict[tuple[str, int], estimates.Speeds] = {}
    repeats: list[float] = []
    with tempfile.TemporaryDirectory(prefix="fithub-estimates-") as folder:
        prepared = {path: _prepare(path, Path(folder) / str(number)) for number, path in enumerate(models)}
        for device, (threads, share) in STAND_INS.items():
            if threads > machine.cores():
                print(f"{device}: left out, this process may use {machine.cores()} only")
                continue
            with limited(share) as possible:
                if not possible:
                    print(f"{device}: left out, no cgroup may be made here")
                    continue
                done = subprocess.run(
                    [sys.executable, "-c", BENCH, str(threads)], capture_output=True, text=True, check=True
                )
                speeds[device, 1] = estimates.speeds_of({"measured": {"threads": {"1": json.loads(done.stdout)}}}, 1)  # type: ignore[assignment]
                ratios: dict[int, list[float]] = {0: [], 1: []}
                for path, work in prepared.items():
                    for turn in (0, 1):
                        window = _window(path, work, threads, options.seconds)
                        latency = figures.latency(window["samples_ms"])
                        ratios[turn].append(latency["p50"])
                    memory = window["memory"]["warmed"]["peak"]
                    size = path.stat().st_size
                    taken.append(
                        estimates.Taken(str(path), False, device, 1, size, latency["p90"] or latency["p50"], memory)
                    )
                first = [value / ratios[0][0] for value in ratios[0][1:]]
                second = [value / ratios[1][0] for value in ratios[1][1:]]
                repeats += [abs(one / other - 1) for one, other in zip(second, first, strict=True)]
    model = estimates.fit(taken, speeds)
    print(
        f"load average {os.getloadavg()[0]:.1f}; {len(models)} models on {len(speeds)} stand-ins, {model.pairs} pairs"
    )
    for name, error, bar in (
        ("latency", model.latency_error, "15 % / 35 %"),
        ("memory", model.memory_error, "5 % / 10 %"),
    ):
        if error:
            words = f"median {error['median']:.1%}, p90 {error['p90']:.1%} of {error['count']} estimates"
            print(f"one device left out, {name:<10} {words:<50} BAR {bar}")
    if repeats:
        print(f"a record repeated, ratio to the source: median difference {statistics.median(repeats):.1%}  BAR 3 %")


@contextmanager
def limited(share: float) -> Iterator[bool]:
    """This process and its children get this share of one processor; False where that is not possible."""
    if share == 1.0:
        yield True
        return
    group = CGROUP / f"fithub-estimates-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(int(PERIOD_US * share)))
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        if group.is_dir():
            group.rmdir()
        yield False
        return
    try:
        yield True
    finally:
        (CGROUP / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _prepare(path: Path, work: Path) -> Path:
    work.mkdir(parents=True)
    made = inputs.prepare({"model": (graph.load(path), path)}, inputs.Request(), work / "inputs").components["model"]
    feeds.save(_one_shape(made.evaluation), work / "feeds-0.npz")
    (work / "carry-0.json").write_text(json.dumps(made.carry))
    return work


def _window(path: Path, work: Path, threads: int, seconds: float) -> dict[str, Any]:
    subject = session.Subject("onnx", path.parent, [{"name": "model", "path": path.name}], [], [path])
    window = session._Session(work, 2 * seconds, None).window(subject, threads, cold=False)
    assert isinstance(window, dict), window
    return window


if __name__ == "__main__":
    main()
