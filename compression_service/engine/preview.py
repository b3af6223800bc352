"""The act `preview`: what a dataset's rows become for a model, by the same way on which variants are calibrated and
judged, before anything is made with it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compression_service.engine import fidelity, graph, runner
from compression_service.engine import inputs as inputs_module
from compression_service.engine.calibration import roles, texts
from compression_service.engine.errors import RefusedError
from compression_service.engine.inputs import Inputs, Request
from compression_service.engine.make import baseline_components, outputs_on

ROWS = 4
SECONDS = 5.0  # of the source model on the evaluation rows, for the metric's value
_PICTURE_SIDE = 96
_WAVE = (240, 60)  # width and height of a drawn sound
_WAVE_FROM = 400  # numbers in a row
_TOKENS = 48
_NUMBERS = 8
_LONGEST_TRUTH = 120

Progress = Callable[[float, str], None]


def preview(baseline: Path, request: Request, work: Path, progress: Progress = lambda _f, _m: None) -> dict[str, Any]:
    """{"source", "notes", "evaluation", "calibration", "steps", "wanted_metric", "metric", "rows": [{"truth", "inputs":
    [{"name", "dtype", "shape", "words", "picture"}]}]}. RefusedError with the sentence when the rows do not fit.

    `metric` is the source model's own, None where its outputs can not be judged by the wanted one; pictures are
    PNGs in base64.
    """
    paths = baseline_components(baseline)
    models = {name: (graph.load(path), path) for name, path in paths.items()}
    specs = {name: roles.specs(model, request.support) for name, (model, _) in models.items()}
    progress(0.1, "Reading the rows")
    try:
        made = inputs_module.from_dataset(models, specs, request, work / "inputs")
    except ValueError as error:
        raise RefusedError(f"This data does not fit the model: {error}.") from error
    if made.missing:
        raise RefusedError(f"This data does not fit the model: it has no column {made.missing!r} for the label.")
    progress(0.6, "Running the model on them")
    try:
        outputs, _ = outputs_on(paths, made, work / "source", SECONDS)
    except runner.RunError as error:
        raise RefusedError(f"The model does not run on these rows: {error}.") from error
    known = {(name, spec["name"]): spec for name, found in specs.items() for spec in found}
    words = _token_names(request.support)
    return {
        "source": made.source,
        "notes": made.notes,
        "evaluation": made.evaluation_count,
        "calibration": made.calibration_count,
        "steps": made.steps,
        "wanted_metric": made.truth.metric if made.truth is not None else None,
        "metric": fidelity.pipeline_metric(outputs, outputs, made.truth),
        "rows": [_row(index, made, known, words) for index in range(min(ROWS, made.evaluation_count))],
    }


def _row(
    index: int,
    made: Inputs,
    specs: dict[tuple[str, str], dict[str, Any]],
    tokens: Callable[[np.ndarray], str] | None,
) -> dict[str, Any]:
    shown = []
    for component, one in made.components.items():
        for name, array in one.evaluation[index].items():
            spec = specs.get((component, name), {})
            if spec.get("role") == "state":
                continue
            shown.append({
                "name": name if len(made.components) == 1 else f"{component}: {name}",
                "dtype": "string" if array.dtype == object else array.dtype.name,
                "shape": list(array.shape),
                "words": tokens(array) if name == "input_ids" and tokens else in_words(array),
                "picture": picture(array, spec),
            })  # fmt: skip
    return {"inputs": shown, "truth": _truth(index, made)}


def _truth(index: int, made: Inputs) -> str | None:
    """What the row says is right, in a few words; None where it says nothing, or one thing for several rows."""
    truth = made.truth
    if truth is None or truth.steps > 1 or index // truth.group >= len(truth.values):
        return None
    value = truth.values[index // truth.group]
    if truth.kind in ("classes", "scores"):
        return f"{value:g}"
    if truth.kind == "texts":
        return str(value)[:_LONGEST_TRUTH]
    if truth.kind == "tokens":
        return "the text itself"
    return f"{truth.kind} of {' × '.join(map(str, np.shape(value)))} numbers"


def in_words(array: np.ndarray) -> str:
    """The first numbers, and between what they all lie."""
    flat = array.reshape(-1)
    if not flat.size:
        return "nothing"
    if array.dtype == object:
        return ", ".join(str(value)[:_LONGEST_TRUTH] for value in flat[:_NUMBERS])
    first = ", ".join(f"{value:.4g}" for value in flat[:_NUMBERS].astype(np.float64))
    if flat.size <= _NUMBERS:
        return first
    low, high = flat.min().astype(np.float64), flat.max().astype(np.float64)
    return f"{first}, … ({low:.4g} to {high:.4g}, mean {flat.mean(dtype=np.float64):.4g})"


def _token_names(support: Path | None) -> Callable[[np.ndarray], str] | None:
    path = inputs_module.tokenizer_of(support)
    if path is None:
        return None
    known = texts.tokenizer(path)

    def words(array: np.ndarray) -> str:
        ids = [int(number) for number in array.reshape(-1)]
        names = [known.id_to_token(number) or str(number) for number in ids[:_TOKENS]]
        return " ".join(names) + (f" … ({len(ids)} tokens)" if len(ids) > _TOKENS else "")

    return words


def picture(array: np.ndarray, spec: dict[str, Any]) -> str | None:
    """A small PNG in base64 of what is an image or a sound; None for all else. Values are stretched to 0…255."""
    from PIL import Image

    if array.dtype.kind not in "fui" or not array.size:
        return None
    values = array.astype(np.float32)
    if spec.get("role") == "image" and values.ndim == 4:
        pixels = values[0] if spec.get("channels_last") else values[0].transpose(1, 2, 0)
        if pixels.shape[2] not in (1, 3):
            return None
        drawn = Image.fromarray(_stretched(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels))
        factor = _PICTURE_SIDE / max(drawn.size)
        width, height = (max(1, round(side * factor)) for side in drawn.size)
        drawn = drawn.resize((width, height), Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX)
    elif array.dtype.kind == "f" and max(array.shape, default=0) == array.size >= _WAVE_FROM:
        drawn = Image.fromarray(_wave(values.reshape(-1)))
    else:
        return None
    stream = io.BytesIO()
    drawn.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255.0 / (high - low) if high > low else 0.0)).astype(np.uint8)


def _wave(samples: np.ndarray) -> np.ndarray:
    """Black where the sound is: from the lowest to the highest sample of each column."""
    width, height = _WAVE
    loudest = float(np.abs(samples).max()) or 1.0
    made = np.full((height, width), 255, np.uint8)
    for x, part in enumerate(np.array_split(samples / loudest, width)):
        top, bottom = ((1 - np.array([part.max(), part.min()])) / 2 * (height - 1)).round().astype(int)
        made[top : bottom + 1, x] = 0
    return made
