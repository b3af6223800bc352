"""How far a repeated record lies from the first: the ratio to the source of each variant of a family, measured twice.

python -m tests.benchmarks.repeats [--seconds 2] [--recipes int8-dynamic fp16] [MODEL.onnx …]

Real models of ../shared/assets (mnist and SqueezeNet 1.1 when none is named), their variants made and measured by the
engine as a worker does it, with one thread. MEMORY is the peak's ratio. BAR is what issue 5 allows. Records which the harness
itself calls noisy are counted: on a busy machine the figure says little.
"""

import argparse
import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compression_service.engine.convert.act import convert
from compression_service.engine.errors import EngineError
from compression_service.engine.inputs import Request
from compression_service.engine.make import make
from compression_service.engine.measuring import measure

ASSETS = Path(__file__).resolve().parents[3] / "shared" / "assets"
MODELS = ("models/mnist-classic-ml/mnist.onnx", "trained/squeezenet1.1-fp32/model.onnx")
RECIPES = ("fp16", "int8-dynamic", "int8-static", "prune-50")
RATIOS = {"p50": "3 %", "p90": "", "peak_memory": ""}  # of a record -> BAR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", type=Path, default=[ASSETS / name for name in MODELS])
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a variant is timed in a session")
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    options = parser.parse_args()
    apart: dict[str, list[float]] = {name: [] for name in RATIOS}
    for path in options.models:
        with tempfile.TemporaryDirectory(prefix="fithub-repeats-") as folder:
            sessions = _twice(path, Path(folder), options)
        for first, second in _pairs(*sessions):
            noisy = " noisy" * (first["noisy"] or second["noisy"])
            own = {name: _apart(first, second, name) for name in RATIOS}
            words = ", ".join(f"{name} {change:.1%}" for name, change in own.items() if change is not None)
            ratio = first["ratio_to_source"]["p50"]
            print(
                f"{path.parent.name:<24}{first['variant']:<22}{ratio:>7.3f} of the source; apart: {words}{noisy}",
                flush=True,
            )
            for name, change in own.items():
                if change is not None:
                    apart[name].append(change)
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, windows of {options.seconds / 2:g} s")
    for name, bar in RATIOS.items():
        if apart[name]:
            words = f"median {statistics.median(apart[name]):.1%}, most {max(apart[name]):.1%} of {len(apart[name])}"
            print(f"a record repeated, ratio to the source in {name:<12} {words} {'BAR ' * bool(bar)}{bar}")


def _twice(path: Path, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    source = folder / "source"
    source.mkdir()
    shutil.copy(path, source / "model.onnx")
    baseline = folder / "onnx"
    found = convert(source, baseline, folder / "work")
    task: dict[str, Any] = {
        "source": {"root": str(baseline), "components": found["components"]}, "variants": [], "seconds": options.seconds,
        "seconds_cap": options.seconds, "threads": [1],
    }  # fmt: skip
    for name in options.recipes:
        try:
            made = make(name, baseline, folder / name, Request(seconds_cap=10), folder / "work" / name)
        except EngineError as error:
            print(f"{path.parent.name:<24}{name:<22}left out: {error}"[:140], flush=True)
            continue
        task["variants"].append({"name": name, "root": str(folder / name), "components": made["components"]})
    first, second = (measure(task, Request(), folder / f"session-{number}") for number in (1, 2))
    return first, second


def _pairs(first: dict[str, Any], second: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The two records of each variant (not of the source: its ratio is 1)."""
    again = {record["variant"]: record for record in second["records"]}
    for record in first["records"][1:]:
        if not record.get("error") and not again[record["variant"]].get("error"):
            yield record, again[record["variant"]]


def _apart(first: dict[str, Any], second: dict[str, Any], name: str) -> float | None:
    one, other = (record["ratio_to_source"][name] for record in (first, second))
    return abs(other / one - 1) if one and other else None


if __name__ == "__main__":
    main()
