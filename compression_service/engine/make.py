"""Make one variant: run a recipe's passes over every component, then prove in a fresh process what it is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from compression_service.engine import fidelity, graph, memo, runner, steps, streamed
from compression_service.engine import inputs as inputs_module
from compression_service.engine.applicability import in_single, together, verdicts
from compression_service.engine.calibration import augment, roles
from compression_service.engine.errors import (
    FailedError,
    NotApplicableError,
    QuarantinedError,
)
from compression_service.engine.inputs import Inputs, Request
from compression_service.engine.measure.machine import has_vnni
from compression_service.engine.passes.base import PassContext
from compression_service.engine.recipes import Recipe, named_or_defined
from compression_service.engine.sharing import share_equal_weights
from compression_service.engine.steps import Done
from compression_service.engine.versions import versions

Progress = Callable[[float, str], None]


@dataclass
class Made:
    """One component of the variant: its files below the output folder and the passes that it went through."""

    name: str
    path: str
    files: list[str]
    passes: list[dict[str, Any]]
    changed: bool
    failure: str
    session_options: dict[str, Any]

    @property
    def as_component(self) -> dict[str, Any]:
        """How rows and records name it; session options only where it has some."""
        named = {"name": self.name, "path": self.path}
        return named | ({"session_options": self.session_options} if self.session_options else {})


def make(
    recipe: str | dict[str, Any],
    baseline: Path,
    out: Path,
    request: Request,
    work: Path,
    progress: Progress = lambda _f, _m: None,
) -> dict[str, Any]:
    """Apply a recipe (a name or a definition) to the components of `baseline` (the `out` of convert), into `out`.

    Returns the result of the act `make` (see __main__).
    Raises RefusedError (no such recipe), NotApplicableError, FailedError or QuarantinedError.
    """
    one = named_or_defined(recipe)
    began = steps.processor_s()
    if not one.steps:
        raise NotApplicableError("The baseline is what convert makes; there is nothing to apply.")
    paths = baseline_components(baseline)
    models = {name: (graph.load(path), path) for name, path in paths.items()}
    _check_applies(one, {name: model for name, (model, _) in models.items()})
    progress(0.05, "Preparing the inputs")
    prepared = inputs_module.prepare(models, request, work / "inputs")
    progress(0.15, f"Running the source on {prepared.evaluation_count} inputs")
    try:
        source_outputs, count = _source_outputs(paths, prepared, work / "source", request)
    except runner.RunError as error:
        raise FailedError(f"The source model does not run on its evaluation inputs: {error}") from error
    made = []
    for position, (name, (model, path)) in enumerate(models.items()):
        share = 0.3 + 0.4 * position / len(models)
        progress(share, f"Applying {one.title} to {name}")
        context = _context(name, model, path, prepared, request, work / "passes" / name)
        with streamed.watched(_read(model, share, f"Applying {one.title} to {name}", progress)):
            done = steps.walk(one, name, in_single(model), model, context, request.memo)
            made.append(_written(one, name, path, done, out, single=len(models) == 1))
    _check_changed(one, made)
    progress(0.75, "Comparing the variant with its source")
    result = _judged(one, made, paths, prepared, source_outputs, count, out, request, work)
    result["provenance"]["processor_s"] = round(steps.processor_s() - began, 2)
    progress(1.0, f"{one.title} is ready")
    return result


def _read(model: ModelProto, share: float, words: str, progress: Progress) -> Callable[[int], None]:
    """Tells the progress of a model whose weights are read one at a time, in bytes."""
    whole = sum(place[2] for tensor in graph.tensors(model) if (place := streamed.located(tensor)))
    done = told = 0

    def read(count: int) -> None:
        nonlocal done, told
        done += count
        if done - told > whole / 50:
            told = done
            progress(share, f"{words}: {done / 1e9:.2f} GB read of a model of {whole / 1e9:.2f} GB")

    return read


def baseline_components(baseline: Path) -> dict[str, Path]:
    """Component name → file of a baseline folder (onnx/*.onnx), in order of name."""
    found = sorted((baseline / "onnx").glob("*.onnx"))
    if not found:
        raise FailedError("The baseline folder holds no ONNX file; run convert first.")
    return {path.stem: path for path in found}


def _check_applies(one: Recipe, models: dict[str, ModelProto]) -> None:
    verdict = verdicts(models, [one])[0]
    if not verdict["applies"]:
        raise NotApplicableError(verdict["reason"])


def _context(name: str, model: ModelProto, path: Path, prepared: Inputs, request: Request, work: Path) -> PassContext:
    work.mkdir(parents=True, exist_ok=True)
    component = prepared.components[name]
    calibration = _with_real_state(name, path, prepared, work) if component.carry else component.calibration
    trial = calibration[-max(1, min(32, len(calibration) // 4)) :]
    run_cap = max(2, int(request.seconds_cap * 1000 / 10 / max(component.run_ms, 0.01)))
    trial = trial[-run_cap:]

    def runs_like(left: ModelProto, right: ModelProto) -> float:
        """Cosine of two models' outputs on a few calibration inputs; -1 when NaN appears. RunError when one fails."""
        trials: list[dict[str, Any]] = []
        runner.save_feeds(trial, work / "trial-in.npz")
        for number, model in enumerate((left, right)):
            file = work / f"trial-{number}.onnx"
            graph.save(model, file, scratch=True)
            trials.append({"path": str(file), "carry": {}, "inputs": str(work / "trial-in.npz")})
            trials[-1]["out"] = str(work / f"trial-{number}-out.npz")
        runner.in_fresh_process({"act": "run", "components": trials}, work, "trial")  # some models crash the runtime
        made = [runner.load_feeds(Path(one["out"])) for one in trials]
        agreement = fidelity.compare(made[0], made[1], set(), real_rows=False)
        return -1.0 if agreement.broken else agreement.fidelity

    def more(count: int) -> Sequence[dict[str, np.ndarray]]:
        given, wanted = calibration[:run_cap], min(count, run_cap)
        if component.carry or not given:  # a state belongs to the row that it came from
            return given
        rng = np.random.default_rng(request.seed)
        return augment.more(given, roles.specs(model, request.support), wanted, rng, across=True)[0]

    return PassContext(
        calibration=calibration[:run_cap], seed=request.seed, vnni=has_vnni(), work=work,
        seconds_cap=request.seconds_cap / 4, source=model, runs_like=runs_like, more=more, memo=request.memo,
    )  # fmt: skip


def _with_real_state(name: str, path: Path, prepared: Inputs, work: Path) -> list[dict[str, np.ndarray]]:
    """The calibration feeds with the recurrent state that the source itself carries from step to step."""
    feeds = work / "calibration.npz"
    runner.save_feeds(prepared.components[name].calibration, feeds)
    component = {"name": name, "path": str(path), "carry": prepared.components[name].carry, "inputs": str(feeds)}
    task = {
        "act": "run", "components": [{**component, "out": str(work / "calibration-out.npz")}],
        "steps": prepared.steps, "record_feeds": True,
    }  # fmt: skip
    try:
        runner.in_fresh_process(task, work, "calibration")
    except runner.RunError as error:
        raise FailedError(f"{name} does not run on its calibration inputs: {error}") from error
    return runner.load_feeds(feeds)


def _written(one: Recipe, name: str, path: Path, done: Done, out: Path, single: bool) -> Made:
    """The component's files below `out`; one to which no step applied is carried over as it is."""
    target = out / "onnx" / f"{'model' if single else path.stem}{one.suffix}.onnx"
    if done.changed:
        share_equal_weights(done.model)
    files = graph.save(done.model, target, done.external)
    names = [f"onnx/{file.name}" for file in files]
    return Made(name, f"onnx/{target.name}", names, done.passes, done.changed, done.failure, done.session_options)


def _check_changed(one: Recipe, made: list[Made]) -> None:
    """A recipe stands only when each of its steps did something somewhere."""
    for position in range(len(one.steps)):
        entries = [component.passes[position] for component in made]
        if all(entry["pass"] is None for entry in entries):
            reasons = together({entry["component"]: entry["changed"] for entry in entries})
            if any(component.failure for component in made):
                raise FailedError(reasons)
            raise NotApplicableError(reasons)


def _source_outputs(
    paths: dict[str, Path], prepared: Inputs, work: Path, request: Request
) -> tuple[dict[str, fidelity.Outputs], int]:
    """What every variant is compared with: the outputs of the source, run for the first recipe and kept for others."""
    if request.memo.folder is None:
        return outputs_on(paths, prepared, work, request.seconds_cap / 3)
    parts = [[name, memo.of_file(path), prepared.components[name].carry] for name, path in paths.items()]
    feeds = {name: memo.of_feeds(prepared.components[name].evaluation) for name in paths}
    key = memo.key("outputs", parts, feeds, prepared.steps)
    kept = request.memo.find(key)
    if kept is not None:
        outputs = {name: runner.load_feeds(kept / f"{number}.npz") for number, name in enumerate(paths)}
        return outputs, min(map(len, outputs.values()))
    outputs, count = outputs_on(paths, prepared, work, request.seconds_cap / 3)

    def write(folder: Path) -> None:
        for number, name in enumerate(paths):
            runner.save_feeds(outputs[name], folder / f"{number}.npz")

    request.memo.keep(key, write)
    return outputs, count


def outputs_on(
    paths: dict[str, Path], prepared: Inputs, work: Path, seconds_cap: float | None, count: int | None = None
) -> tuple[dict[str, fidelity.Outputs], int]:
    """Outputs of every component on the evaluation inputs, by a fresh process."""
    work.mkdir(parents=True, exist_ok=True)
    components: list[dict[str, Any]] = []
    for number, (name, path) in enumerate(paths.items()):
        feeds = work / f"{number}-in.npz"
        runner.save_feeds(prepared.components[name].evaluation, feeds)
        components.append(
            {"name": name, "path": str(path), "carry": prepared.components[name].carry, "inputs": str(feeds),
             "out": str(work / f"{number}-out.npz")}
        )  # fmt: skip
    task = {
        "act": "run",
        "components": components,
        "steps": prepared.steps,
        "seconds_cap": seconds_cap,
        "count_cap": count,
    }
    result = runner.in_fresh_process(task, work, "run")  # RunError: the caller knows whose fault it is
    return {c["name"]: runner.load_feeds(Path(c["out"])) for c in components}, result["count"]


def _judged(
    one: Recipe, made: list[Made], paths: dict[str, Path], prepared: Inputs,
    source: dict[str, fidelity.Outputs], count: int, out: Path, request: Request, work: Path,
) -> dict[str, Any]:  # fmt: skip
    result: dict[str, Any] = {
        "recipe": one.name,
        "version": one.version,
        "files": [file for component in made for file in component.files],
        "components": [component.as_component for component in made],
        "passes": [entry for component in made for entry in component.passes],
        "fidelity_inputs": {
            "count": count, "kind": prepared.kind, "source": prepared.source,
            "calibration_count": prepared.calibration_count, "notes": prepared.notes,
        },
        "provenance": {"versions": versions(), "seed": request.seed, "vnni": has_vnni(),
                       "calibration_sha256": prepared.digest(),
                       "dataset": _dataset_named(request), "evaluation_wanted": prepared.evaluation_count},
    }  # fmt: skip
    variant_paths = {component.name: out / component.path for component in made}
    try:
        variant, count = outputs_on(variant_paths, prepared, work / "variant", request.seconds_cap, count)
    except runner.RunError as error:
        raise QuarantinedError(f"The variant does not load or run: {error}", **result) from error
    agreements = {
        name: fidelity.compare(
            source[name],
            variant[name],
            set(prepared.components[name].carry.values()),
            real_rows=prepared.kind == "dataset",
            labelled=prepared.labels is not None,
            steps=prepared.steps,
        )
        for name in paths
    }
    worst = min(agreements, key=lambda name: agreements[name].fidelity)
    agreement = agreements[worst]
    metric = fidelity.pipeline_metric(source, variant, prepared.truth)
    result["fidelity_inputs"]["count"] = count
    result.update(
        fidelity=agreement.fidelity,
        fidelity_metric=agreement.metric,
        fidelity_detail={
            **agreement.detail, "worst_component": worst,
            "components": {name: found.fidelity for name, found in agreements.items()},
        },
        metric=metric,
        flagged=fidelity.flagged(agreement, metric),
    )  # fmt: skip
    broken = next((found.broken for found in agreements.values() if found.broken), None)
    if broken:
        raise QuarantinedError(broken, **result)
    if agreement.fidelity < fidelity.LEAST_FIDELITY:
        raise QuarantinedError(
            f"It agrees with its source only to {agreement.fidelity:.1%} ({agreement.metric.replace('_', ' ')}, {count}"
            f" {prepared.kind} inputs); at least {fidelity.LEAST_FIDELITY:.0%} is needed.",
            **result,
        )
    return result


def _dataset_named(request: Request) -> dict[str, Any] | None:
    info = request.dataset_info or {}
    return {key: info[key] for key in ("repository", "commit", "files") if key in info} or None
