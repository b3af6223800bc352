"""Convert a source: find what it is, judge it, write the ONNX baseline, say which recipes apply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from compression_service.engine import graph, planner, runner
from compression_service.engine.convert import (
    keras_files,
    onnx_files,
    saved_model,
    tflite_files,
    transformers_folder,
    unsupported,
)
from compression_service.engine.convert.formats import Component, Progress, SourceFormat
from compression_service.engine.errors import RefusedError
from compression_service.engine.recipes import RECIPES, from_json
from compression_service.engine.versions import versions

# The first of which something is there: a repository may hold the same network in several formats.
FORMATS: tuple[SourceFormat, ...] = (onnx_files, transformers_folder, keras_files, saved_model, tflite_files)
SUPPORT_NAMES = re.compile(
    r"^(config\.json|generation_config\.json|preprocessor_config\.json|processor_config\.json|tokenizer.*|vocab.*"
    r"|merges\.txt|special_tokens_map\.json|added_tokens\.json|spiece\.model|sentencepiece.*\.model|.*labels?.*\.json"
    r"|.*labels?.*\.txt|modules\.json|config\.min\.json)$",
    re.IGNORECASE,
)
SUPPORT_LIMIT_BYTES = 64 * 1024 * 1024


def convert(
    source: Path,
    out: Path,
    work: Path,
    progress: Progress = lambda _fraction, _message: None,
    plan: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the baseline of `source` to `out`; returns the result of the act `convert`. Raises RefusedError.

    `plan`: {"pin", "exclude", "goal", "recipes": definitions beside the engine's own, "allowance_s"}.
    """
    components, evidence, source_format = _baseline(source, out, progress)
    for position, component in enumerate(components):
        progress(0.6 + 0.3 * position / len(components), f"Loading {component.source_path}")
        _check_loads(component, out, work, position)
    models = {component.name: graph.load(out / component.path) for component in components}
    added = [from_json(definition) for definition in (plan or {}).get("recipes", [])]
    recipes = planner.plan(models, [*RECIPES, *added], plan)
    progress(1.0, "The ONNX baseline is ready")
    return {
        "format": source_format,
        "components": [_described(component, out) for component in components],
        "files": [file for component in components for file in component.files],
        "support_files": support_files(source),
        "recipes": recipes,
        "evidence": evidence,
        "versions": versions(),
    }


def _baseline(source: Path, out: Path, progress: Progress) -> tuple[list[Component], dict[str, Any], str]:
    for source_format in FORMATS:
        found = source_format.find(source)
        if found:
            return *source_format.convert(source, found, out, progress), source_format.NAME
    raise unsupported.refusal(source)


def support_files(source: Path) -> list[str]:
    """Files of the source which a loader needs beside the graph: tokenizer, configuration, labels."""
    return sorted(
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and ".git" not in path.parts
        and SUPPORT_NAMES.match(path.name)
        and path.stat().st_size <= SUPPORT_LIMIT_BYTES
    )


def _check_loads(component: Component, out: Path, work: Path, position: int) -> None:
    task = {"act": "load", "path": str(out / component.path)}
    try:
        runner.in_fresh_process(task, work / "load", str(position))
    except runner.RunError as error:
        raise RefusedError(f"onnxruntime cannot load {component.source_path}: {error}") from error


def _described(component: Component, out: Path) -> dict[str, Any]:
    return {
        "name": component.name,
        "path": component.path,
        "source_path": component.source_path,
        "size_bytes": sum((out / file).stat().st_size for file in component.files),
        **graph.describe(component.model),
    }
