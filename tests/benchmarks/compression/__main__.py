"""FitHub's families of variants beside the best tools, counted as compression.md says. Nothing passes or fails on time.

python -m tests.benchmarks.compression [--models mnist_mlp,…] [--peers ort,…] [--quick] [--short] [--report] [--remeasure]
"""

import argparse
import contextlib
from pathlib import Path
from typing import Any

from compression_service.engine import planner
from tests.benchmarks.compression import family, measuring, peers, report, store, tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(tasks.MODELS), help="some of " + ", ".join(tasks.MODELS))
    parser.add_argument(
        "--peers", default=",".join(peers.TOOLS), help="some of " + ", ".join(peers.TOOLS) + ", or none"
    )
    parser.add_argument("--recipes", default="", help="only these recipes of FitHub, by name")
    parser.add_argument(
        "--quick", action="store_true", help="fewer recipes of the peers, short windows: a feedback loop"
    )
    parser.add_argument("--short", action="store_true", help="every recipe of the peers, but short windows")
    parser.add_argument("--report", action="store_true", help="print what is kept, make and measure nothing")
    parser.add_argument("--remeasure", action="store_true", help="time everything again, on a quiet machine")
    parser.add_argument("--fresh", action="store_true", help="make FitHub's variants again, whatever is kept")
    options = parser.parse_args()
    ratios: dict[str, float | None] = {}
    for model in _listed(options.models, tuple(tasks.MODELS), parser):
        try:
            task = tasks.prepare(model)
            reference = report.ensure_reference(task)
        except (tasks.MissingAssetError, RuntimeError) as error:
            print(f"\n{model}: left out: {error}", flush=True)
            continue
        made = _made(task, _listed(options.peers, peers.TOOLS, parser), options)
        if not options.report:
            _measure(task, made, options)
        ratios[model] = report.model_lines(task, made, reference)
    report.closing_lines(ratios)


def _listed(text: str, known: tuple[str, ...], parser: argparse.ArgumentParser) -> list[str]:
    found = [name for name in text.split(",") if name and name != "none"]
    for name in found:
        if name not in known:
            parser.error(f"{name} is not one of {', '.join(known)}")
    return found


def _made(task: dict[str, Any], tools: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """All points, the peers' first."""
    wanted = [(tool, name) for tool in tools for name in peers.recipes(tool, task["kind"], options.quick)]
    if options.report:
        return [
            point for point in _kept(task) if (point["tool"], point["recipe"]) in wanted or point["tool"] == family.TOOL
        ]
    made = []
    for tool, name in wanted:
        made.append(peers.make(task, tool, name))
        _say(task, made[-1])
    only = [name for name in options.recipes.split(",") if name]
    came_to: dict[str, float | None] = {}
    for recipe in family.offered(task):
        name = recipe["name"]
        if only and name not in only:
            continue
        if not only and (why := planner.no_longer_worth(name, came_to)):
            print(f"# {task['model']}: {family.TOOL} {name}: not made: {why}", flush=True)
            family.drop(task, name)
            continue
        made.append(family.make(task, recipe, options.fresh))
        came_to[name] = made[-1].get("claimed_fidelity")
        _say(task, made[-1])
    return made


def _say(task: dict[str, Any], point: dict[str, Any]) -> None:
    outcome = point["error"] or f"{point['cost']['cpu_s']:.1f} s"
    print(f"# {task['model']}: {point['tool']} {point['recipe']}: {outcome}", flush=True)


def _kept(task: dict[str, Any]) -> list[dict[str, Any]]:
    folders = sorted((store.model_folder(task["model"]) / "points").glob("*"))
    found = [store.read(folder / "point.json") for folder in folders]
    return [point for point in found if point]


def _measure(task: dict[str, Any], made: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Measure in one session whatever has no figures yet; the same bytes only once."""
    effort = measuring.QUICK if options.quick or options.short else measuring.FULL
    files: dict[str, dict[str, Any]] = {}
    for point in made:
        if not point["error"]:
            sha256 = store.sha256([Path(path) for path in point["files"]])
            if "error" not in report.evaluated(task, sha256, point["paths"]):
                files[sha256] = point
    wanted = list(files) if options.remeasure else measuring.missing(task, files, effort)
    if wanted:
        print(f"# {task['model']}: measuring {len(wanted)} files ({effort.name})", flush=True)
        measuring.session(task, {sha256: files[sha256] for sha256 in wanted}, effort)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
