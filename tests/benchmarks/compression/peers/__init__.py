"""The best other tools, each in its own environment: which recipes they have, and the points which these make."""

import importlib
import json
import resource
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.compression import environments, family, store
from tests.benchmarks.compression.peers.base import Recipe

TOOLS = ("ort", "optimum", "inc", "nncf", "olive")
PATIENCE_S = (
    300  # of processor time, which other work on the machine does not shorten; a whole family of FitHub takes less
)
WALL_S = 4 * PATIENCE_S
ENDED = (124, 128 + signal.SIGXCPU, -signal.SIGXCPU)
VERSION = "1"  # raise it when the calls change


def recipes(tool: str, kind: str, quick: bool) -> dict[str, Recipe]:
    """The recipes of a tool for a kind of model."""
    found: dict[str, Recipe] = importlib.import_module(f"{__name__}.{tool}").RECIPES
    return {name: one for name, one in found.items() if kind in one.kinds and (one.quick or not quick)}


def make(task: dict[str, Any], tool: str, recipe: str) -> dict[str, Any]:
    """The point of one recipe, made or from the cache; a failure is a point with an error."""
    folder = store.point_folder(task["model"], tool, recipe)
    key = store.text_digest([VERSION, environments.wanted(tool).calls, task["digest"]])
    known = store.read(folder / "point.json")
    if known and known["key"] == key:
        return known
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    point: dict[str, Any] = {
        "tool": tool,
        "recipe": recipe,
        "key": key,
        "error": None,
        "cost": {"cpu_s": 0.0, "wall_s": 0.0},
    }
    try:
        python = environments.python(tool)
    except environments.MissingError as error:
        return {**point, "error": str(error)}
    config = Path(task["source"]) / "config.json"
    components = [
        {"source": one["path"], "out": str(folder / "files" / one["name"] / f"{one['name']}.onnx"),
         "calibration": one["calibration"]}
        for one in task["components"]
    ]  # fmt: skip
    wanted = {
        "tool": tool, "recipe": recipe, "kind": task["kind"], "components": components,
        "config": str(config) if config.is_file() else None, "scratch": str(folder / "scratch"),
    }  # fmt: skip
    (folder / "task.json").write_text(json.dumps(wanted), encoding="utf-8")
    point["error"], point["cost"] = _run(python, folder)
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    if point["error"] is None:
        point["paths"] = [one["out"] for one in components]
        point["files"] = sorted(str(path) for path in (folder / "files").rglob("*") if path.is_file())
    store.write(folder / "point.json", point)
    return point


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (PATIENCE_S, PATIENCE_S + 10))


def _run(python: Path, folder: Path) -> tuple[str | None, dict[str, float]]:
    """(why it failed or None, what it cost)."""
    began = time.perf_counter()
    log_path = folder / "log.txt"
    with log_path.open("w", encoding="utf-8") as log:
        child = subprocess.Popen(
            ["timeout", "--kill-after=10", str(WALL_S), str(python), "-m", "tests.benchmarks.compression.peers.run",
             str(folder / "task.json")],
            cwd=store.CHECKOUT, env=environments.outer(), stdout=log, stderr=log, preexec_fn=_limited,
        )  # fmt: skip
        cost = {"cpu_s": family.waited_cpu_s(child), "wall_s": time.perf_counter() - began}
    if child.returncode == 0:
        return None, cost
    if child.returncode in ENDED:
        return f"it had not ended after {PATIENCE_S} s of processor time", cost
    lines = [line for line in log_path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return (lines[-1][:300] if lines else f"code {child.returncode}"), cost
