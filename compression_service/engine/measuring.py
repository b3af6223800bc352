"""The act `measure`: what is measured, with which inputs; the session itself is `measure/`, which the client shares."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from compression_service.engine import graph
from compression_service.engine import inputs as inputs_module
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Inputs, Request
from compression_service.engine.measure import bench, feeds, session
from compression_service.engine.measure.session import SOURCE, Progress, Subject
from compression_service.engine.versions import HARNESS_VERSION, versions

FEEDS_KEPT = 8
FEEDS_KEPT_BYTES = 4 * 1024 * 1024  # what the measuring process holds beside the model


def measure(
    task: dict[str, Any], request: Request, work: Path, progress: Progress = lambda _f, _m: None
) -> dict[str, Any]:
    """Measure task["source"] and task["variants"]; returns the result of the act `measure` (see __main__)."""
    work.mkdir(parents=True, exist_ok=True)
    source = _subject({"name": SOURCE, **task["source"]})
    variants = [_subject(entry) for entry in task.get("variants", [])]
    progress(0.02, "Preparing the inputs")
    shapes = _prepare_inputs(source, request, work)
    try:
        taken = session.take(
            source, variants, shapes, work, seconds=float(task.get("seconds", 10)), seconds_cap=task.get("seconds_cap"),
            threads=task.get("threads") or [1, 0], progress=progress,
        )  # fmt: skip
    except session.SessionError as error:
        raise RefusedError(str(error)) from error
    if task.get("bench"):
        progress(0.98, "Measuring the machine")
        try:
            taken["device"]["measured"] = bench.measure(work)
        except RuntimeError as error:  # the records are taken: they are worth more, and the next job tries again
            progress(0.99, str(error))
    progress(1.0, "Measured")
    return {**taken, "identity": _identity([source, *variants], task)}


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
        fed = _one_shape(component.evaluation)
        feeds.save(fed, work / f"feeds-{number}.npz")
        (work / f"carry-{number}.json").write_text(json.dumps(component.carry), encoding="utf-8")
        shapes[name] = {key: feeds.described(array, [feed[key] for feed in fed]) for key, array in fed[0].items()}
    carried = {name: one.carry for name, one in prepared.components.items() if one.carry}
    shapes["_"] = {"carry": carried, "kind": prepared.kind, "source": prepared.source, "notes": prepared.notes}
    return shapes


def _one_shape(feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Up to FEEDS_KEPT feeds with the shapes of the feed of median size: mixed lengths would mix latencies."""
    ordered = sorted(feeds, key=lambda feed: sum(array.size for array in feed.values()))
    median = {name: array.shape for name, array in ordered[len(ordered) // 2].items()}
    same = [feed for feed in feeds if {name: array.shape for name, array in feed.items()} == median]
    size_bytes = sum(array.nbytes for array in same[0].values())
    return same[: max(1, min(FEEDS_KEPT, FEEDS_KEPT_BYTES // max(1, size_bytes)))]


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
