"""One line a figure, from what is kept: points, share matched, hypervolumes, processor time."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.benchmarks.compression import environments, family, measuring, points, store
from tests.benchmarks.compression.points import Point


def evaluated(task: dict[str, Any], sha256: str, paths: list[str]) -> dict[str, Any]:
    """Fidelity of some bytes to the source, from the cache or by a fresh process; {"error"} when it does not run."""
    path = store.model_folder(task["model"]) / "fidelity" / f"{sha256}.json"
    known = store.read(path)
    if known and known["digest"] == task["digest"]:
        return known
    components = [
        {"path": file, "inputs": one["evaluation"], "carry": one["carry"]}
        for file, one in zip(paths, task["components"], strict=True)
    ]
    result_path = path.with_suffix(".result.json")
    result_path.parent.mkdir(parents=True, exist_ok=True)
    result_path.unlink(missing_ok=True)
    own = paths == [one["path"] for one in task["components"]]
    wanted = {
        "judged": task["judged"], "components": components, "reference": task["reference"], "write": own,
        "result": str(result_path), "labels": task["labels"],
    }  # fmt: skip
    wanted_path = path.with_suffix(".task.json")
    wanted_path.write_text(json.dumps(wanted), encoding="utf-8")
    argv = [sys.executable, "-m", "tests.benchmarks.compression.evaluation", str(wanted_path)]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, cwd=store.CHECKOUT, env=environments.outer()
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    found = store.read(result_path) or {"error": lines[-1][:300] if lines else f"code {done.returncode}"}
    result = {**found, "digest": task["digest"]}
    for used in (result_path, wanted_path):
        used.unlink(missing_ok=True)
    store.write(path, result)
    return result


def ensure_reference(task: dict[str, Any]) -> dict[str, Any]:
    """The source's own outputs, written once; its own figures (accuracy)."""
    paths = [one["path"] for one in task["components"]]
    digest = store.sha256([Path(path) for path in paths])
    if not Path(task["reference"]).is_file():
        (store.model_folder(task["model"]) / "fidelity" / f"{digest}.json").unlink(missing_ok=True)
    found = evaluated(task, digest, paths)
    if "error" in found:
        raise RuntimeError(f"the source does not run on the evaluation rows: {found['error']}")
    return found


def as_point(task: dict[str, Any], made: dict[str, Any]) -> tuple[Point | None, dict[str, Any]]:
    """(the point, its raw figures); no point when making, running or measuring failed, with "error"."""
    if made["error"]:
        return None, {"error": made["error"]}
    sha256 = store.sha256([Path(path) for path in made["files"]])
    fidelity = evaluated(task, sha256, made["paths"])
    record = store.read(measuring.measured_path(task["model"], sha256))
    problem = fidelity.get("error") or (record["error"] if record else "not measured yet")
    if problem or record is None:
        return None, {"error": problem}
    found = measuring.figures(record)
    size = sum(Path(path).stat().st_size for path in made["files"])
    source_size = source_bytes(task)
    raw = {**found, **fidelity, "bytes": size, "effort": record["effort"], "error": None}
    place = (size / source_size, found["memory"], found["p90"], points.loss(fidelity["fidelity"]))
    return Point(made["tool"], made["recipe"], *place), raw


def source_bytes(task: dict[str, Any]) -> int:
    """Bytes of the baseline with its external data."""
    return sum(path.stat().st_size for path in (Path(task["baseline"]) / "onnx").rglob("*") if path.is_file())


def source_point() -> Point:
    """FitHub publishes the baseline too."""
    return Point(family.TOOL, "onnx", 1.0, 1.0, 1.0, 0.0)


def model_lines(task: dict[str, Any], made: list[dict[str, Any]], reference: dict[str, Any]) -> float | None:
    """Print the figures of a model; returns its ratio of hypervolumes, None where there is nothing to compare."""
    model, ours, theirs = task["model"], [source_point()], []
    accuracy = f", accuracy {reference['accuracy']:.4f}" if "accuracy" in reference else ""
    print(
        f"\n{model}: source {source_bytes(task):,} bytes{accuracy}; judged by {task['judged']} {task['notes']}".rstrip()
    )
    print(
        f"{'':<2}{'tool':<8} {'recipe':<34} {'bytes':>11} {'size':>6} {'memory':>6} {'p90':>6} {'loss':>6} {'fidelity':>8}  notes"
    )
    for one in made:
        point, raw = as_point(task, one)
        cpu = f"{one['cost']['cpu_s']:.1f} s"
        if point is None:
            print(f"  {one['tool']:<8} {one['recipe']:<34} failed: {raw['error']} ({cpu})")
            continue
        (ours if one["tool"] == family.TOOL else theirs).append(point)
        print(
            f"  {point.tool:<8} {point.recipe:<34} {raw['bytes']:>11,} {point.size:>6.3f} {point.memory:>6.3f} {point.p90:>6.3f}"
            f" {point.loss:>6.3f} {raw['fidelity']:>8.4f}  made in {cpu}{_notes(one, point, raw)}"
        )
    if not theirs:
        print(f"{model}: no peer's point to compare with")
        return None
    missed = [point for point in theirs if not points.matched(point, ours)]
    for point in missed:
        found = points.nearest(point, ours)
        if found:
            print(
                f"{model}: not matched {point.tool} {point.recipe}: nearest {found[0].recipe}, {found[1]} by {found[2]:.1f} spreads"
            )
    share = 1 - len(missed) / len(theirs)
    print(f"{model}: matched {len(theirs) - len(missed)} of {len(theirs)} peers' points ({share:.0%}; bar 95 %)")
    volumes = points.hypervolume(ours), points.hypervolume(theirs)
    ratio = volumes[0] / volumes[1] if volumes[1] else float("inf")
    front = ", ".join(point.recipe for point in points.front([one for one in ours if one.counts]))
    print(f"{model}: FitHub's front: {front or 'empty'}")
    by_tool = {
        tool: points.hypervolume([p for p in theirs if p.tool == tool]) for tool in sorted({p.tool for p in theirs})
    }
    print(f"{model}: hypervolume of each tool: {', '.join(f'{tool} {volume:.4f}' for tool, volume in by_tool.items())}")
    print(f"{model}: hypervolume FitHub {volumes[0]:.4f}, all peers {volumes[1]:.4f}, ratio {ratio:.2f} (bar 1.10)")
    # What a peer spent on a recipe that failed is no part of its family; FitHub's own failures are paid for by users.
    counted = [one for one in made if one["tool"] == family.TOOL or not one["error"]]
    spent = [
        sum(one["cost"]["cpu_s"] for one in counted if (one["tool"] == family.TOOL) == own) for own in (True, False)
    ]
    print(
        f"{model}: processor time FitHub {spent[0]:.1f} s, peers {spent[1]:.1f} s, ratio {spent[0] / max(spent[1], 1e-9):.2f} (bar 1.00)"
    )
    return ratio


def _notes(made: dict[str, Any], point: Point, raw: dict[str, Any]) -> str:
    notes = "" if point.counts else ", outside the box"
    notes += f", agreement {raw['agreement']:.4f}" if raw.get("agreement") is not None else ""
    notes += f", accuracy {raw['accuracy']:.4f}" if "accuracy" in raw else ""
    notes += ", noisy" if raw["noisy"] else ""
    notes += f", {raw['effort']}" if raw["effort"] != measuring.FULL.name else ""
    if made["tool"] == family.TOOL and made["engine"] != family.engine_digest():
        notes += ", by an earlier state of the engine"
    return notes


def closing_lines(ratios: dict[str, float | None]) -> None:
    """The geometric mean over the models for which the peers have any volume."""
    known = {model: ratio for model, ratio in ratios.items() if ratio is not None and math.isfinite(ratio)}
    alone = [model for model, ratio in ratios.items() if ratio is not None and math.isinf(ratio)]
    if alone:
        print(f"\nno peer has a point inside the box, and FitHub has: {', '.join(alone)}; left out of the mean")
    if known:
        each = ", ".join(f"{model} {ratio:.2f}" for model, ratio in known.items())
        print(
            f"\nhypervolume FitHub ÷ peers: {each}; geometric mean {points.geometric_mean(list(known.values())):.2f} (bar 1.30)"
        )
