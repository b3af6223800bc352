"""FitHub's own variants: the engine called as a worker calls it, one process an act, every recipe that it offers."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compression_service.engine import recipes
from compression_service.engine.versions import versions
from tests.benchmarks.compression import environments, store

TOOL = "fithub"
ENGINE = "compression_service.engine"
SECONDS_CAP = 300.0
PATIENCE_S = 3600
# What every variant passes through; a change of any other file of the engine is told, and makes nothing anew.
COMMON = ("make", "steps", "graph", "sharing")


def act(
    task: dict[str, Any], work: Path, python: Path | str = sys.executable
) -> tuple[dict[str, Any], dict[str, float]]:
    """One act of the engine in `work`: (its result, {"cpu_s", "wall_s"}). A result with "error" tells a refusal."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "task.json").write_text(json.dumps(task), encoding="utf-8")
    environment = {**environments.outer(), "PYTHONPATH": str(store.CHECKOUT)}
    began = time.perf_counter()
    with (work / "log.txt").open("w", encoding="utf-8") as log:
        child = subprocess.Popen(
            [str(python), "-m", ENGINE, str(work / "task.json")], cwd=work, env=environment, stdout=log, stderr=log
        )
        cost = {"cpu_s": waited_cpu_s(child), "wall_s": time.perf_counter() - began}
    result = store.read(work / "result.json")
    if result is None:
        lines = (work / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
        result = {"error": {"kind": "crash", "reason": lines[-1][:300] if lines else f"code {child.returncode}"}}
    return result, cost


def waited_cpu_s(child: subprocess.Popen[Any]) -> float:
    """Wait for a process; processor seconds of it and of those that it waited for."""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def convert(source: Path, out: Path, work: Path) -> dict[str, Any]:
    """The engine's own baseline of a source, which is what every tool starts from. RuntimeError with its reason."""
    needs_torch = any(source.glob("*.safetensors"))
    python = environments.python("convert") if needs_torch else sys.executable
    result, _ = act({"act": "convert", "source": str(source), "out": str(out)}, work, python)
    if "error" in result:
        raise RuntimeError(f"convert: {result['error']['reason']}")
    return result


def offered(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The recipes which the engine, as it is now, says apply, in its own order: it converts the baseline again.

    What an earlier family kept for its recipes is thrown away, as a worker does: each family pays for itself.
    """
    shutil.rmtree(_memo(task["model"]), ignore_errors=True)
    work = store.model_folder(task["model"]) / "plan"
    baseline = Path(task["baseline"]) / "onnx"
    result, _ = act({"act": "convert", "source": str(baseline), "out": str(work / "out")}, work)
    if "error" in result:
        raise RuntimeError(f"convert: {result['error']['reason']}")
    return [one for one in result["recipes"] if one["applies"] and one["name"] != "onnx"]


def _memo(model: str) -> Path:
    return store.model_folder(model) / "memo"


def key_of(definition: dict[str, Any]) -> str:
    """What the bytes of a variant depend on: its recipe, the code of its passes, the versions."""
    passes = {alternative[0] for step in definition["steps"] for alternative in step}
    names = {f"passes.{name}" for name in passes} | set(COMMON)
    return store.text_digest([definition, versions(), {name: _source(name) for name in sorted(_reached(names))}])


def engine_digest() -> str:
    """The state of all of the engine's code."""
    root = store.CHECKOUT.joinpath(*ENGINE.split("."))
    return store.sha256(sorted(root.rglob("*.py")))[:16]


def _path(name: str) -> Path | None:
    base = store.CHECKOUT.joinpath(*ENGINE.split("."), *name.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


def _source(name: str) -> str:
    path = _path(name)
    return path.read_text(encoding="utf-8") if path else ""


def _reached(names: set[str]) -> set[str]:
    """The passes with everything below passes/ and calibration/activations that they import."""
    found, left = set(), list(names)
    while left:
        name = left.pop()
        if name in found:
            continue
        found.add(name)
        for node in ast.walk(ast.parse(_source(name))) if name.startswith("passes.") else ():
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith(ENGINE):
                continue
            inside = (node.module or "")[len(ENGINE) :].strip(".")
            wanted = [inside, *(f"{inside}.{alias.name}".strip(".") for alias in node.names)]
            left += [one for one in wanted if one and _path(one) and not one.startswith(("fidelity", "runner"))]
    return found


def drop(task: dict[str, Any], recipe: str) -> None:
    """Forget a recipe's point, which an earlier state of the planner had made."""
    shutil.rmtree(store.point_folder(task["model"], TOOL, recipe), ignore_errors=True)


def make(task: dict[str, Any], recipe: dict[str, Any], fresh: bool = False) -> dict[str, Any]:
    """The point of one recipe: {"tool", "recipe", "key", "files", "paths", "cost", "error", …}, made or from the cache."""
    folder = store.point_folder(task["model"], TOOL, recipe["name"])
    definition = recipe.get("definition") or recipes.recipe(recipe["name"]).as_json()
    key = store.text_digest([key_of(definition), task["digest"]])
    known = store.read(folder / "point.json")
    if known and known["key"] == key and not fresh:
        return known
    shutil.rmtree(folder, ignore_errors=True)
    wanted = {
        "act": "make", "recipe": recipe["name"], "baseline": task["baseline"], "out": str(folder / "files"),
        "source": task["source"], "dataset": task["dataset"], "dataset_info": task["dataset_info"], "seed": 0,
        "seconds_cap": SECONDS_CAP, "memo": str(_memo(task["model"])),
    }  # fmt: skip
    result, cost = act(wanted, folder / "work")
    point: dict[str, Any] = {
        "tool": TOOL, "recipe": recipe["name"], "key": key, "engine": engine_digest(), "cost": cost, "error": None
    }  # fmt: skip
    if "error" in result:
        point["error"] = f"{result['error']['kind']}: {result['error']['reason']}"
        point["claimed_fidelity"] = result.get("fidelity")
    else:
        by_name = {Path(one["path"]).stem: one for one in result["components"]}
        ordered = [next(v for k, v in by_name.items() if k.startswith(c["name"])) for c in task["components"]]
        point["paths"] = [str(folder / "files" / one["path"]) for one in ordered]
        point["files"] = [str(folder / "files" / name) for name in result["files"]]
        point["session_options"] = result.get("session_options") or {}
        point["claimed_fidelity"] = result.get("fidelity")
        shutil.rmtree(folder / "work", ignore_errors=True)
    store.write(folder / "point.json", point)
    return point
