"""The inputs which calibrate, evaluate and measure a model: rows of a linked dataset, or stated generated ones.

Calibration and evaluation rows are never the same rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

from compression_service.engine import fidelity, graph, memo, runner
from compression_service.engine.calibration import generated, linked, roles
from compression_service.engine.errors import RefusedError
from compression_service.engine.memo import Memo

GENERATED_EVALUATION = 256
GENERATED_CALIBRATION = 64
SEQUENCE_STEPS = 32
NOT_TENSORS = ("optional", "sequence", "map", "sparse_tensor", "opaque", "unknown")
FEEDS_LIMIT_BYTES = 192 * 1024 * 1024
IMAGES_NOTE = (
    "Images were generated in the range named above: when your pixels lie elsewhere, link a dataset in the card, above"
    " all for int8-static."
)

Feed = dict[str, np.ndarray]


@dataclass
class ComponentInputs:
    """Feeds of batch 1 for one component; `carry` is recurrent state, input name → output name."""

    calibration: list[Feed]
    evaluation: list[Feed]
    carry: dict[str, str]
    run_ms: float


@dataclass
class Inputs:
    """The inputs of all components, and how to tell people about them."""

    components: dict[str, ComponentInputs]
    kind: str  # dataset | generated
    source: str
    steps: int = 1
    truth: fidelity.Truth | None = None
    notes: list[str] = field(default_factory=list)
    missing: str = ""  # the card's label, which is no column of the dataset

    @property
    def labels(self) -> np.ndarray | None:
        """Integer classes of the evaluation rows, where they have such."""
        return np.asarray(self.truth.values) if self.truth is not None and self.truth.kind == "classes" else None

    @property
    def evaluation_count(self) -> int:
        return min(len(one.evaluation) for one in self.components.values())

    @property
    def calibration_count(self) -> int:
        return min(len(one.calibration) for one in self.components.values())

    def digest(self) -> str:
        """sha256 over every calibration array: the same rows, the same digest."""
        hasher = hashlib.sha256()
        for name, one in sorted(self.components.items()):
            for feed in one.calibration:
                for key, array in sorted(feed.items()):
                    hasher.update(f"{name}/{key}/{array.dtype}/{array.shape}".encode())
                    hasher.update(memo.content(array))
        return hasher.hexdigest()


@dataclass(frozen=True)
class Request:
    """Where inputs may come from: `support` holds tokenizer and configurations, `dataset` the linked dataset."""

    support: Path | None = None
    dataset: Path | None = None
    dataset_info: dict[str, Any] | None = None
    seed: int = 0
    seconds_cap: float = 60.0
    notes: tuple[str, ...] = ()  # what whoever asks has to say about the inputs
    memo: Memo = field(default_factory=Memo)  # what other recipes of the same source have computed


def prepare(models: dict[str, tuple[ModelProto, Path]], request: Request, work: Path) -> Inputs:
    """Inputs for the components {name: (graph, file)}. Probes in a fresh process; RefusedError when nothing runs."""
    specs = {name: roles.specs(model, request.support) for name, (model, _) in models.items()}
    notes = list(request.notes)
    made: Inputs | None = None
    if request.dataset is not None:
        try:
            made = from_dataset(models, specs, request, work)
        except ValueError as error:
            notes.append(f"The linked dataset was not used: {error}.")
    if made is None:
        made = _generated(models, specs, request, work)
    made.notes = [*notes, *made.notes]
    return made


def from_dataset(
    models: dict[str, tuple[ModelProto, Path]], specs: dict[str, list[dict[str, Any]]], request: Request, work: Path
) -> Inputs:
    """The inputs out of the request's dataset. A ValueError ends the sentence "the linked dataset was not used"."""
    assert request.dataset is not None
    info = request.dataset_info or {}
    components = {
        name: linked.Component(specs[name], [graph.value_spec(out) for out in model.graph.output], roles.carry(model))
        for name, (model, _) in models.items()
    }
    found = linked.read(
        request.dataset, components, info.get("config") or {}, request.seed, tokenizer_of(request.support),
        roles.read_json(request.support, "config.json"), roles.read_json(request.support, "preprocessor_config.json"),
        info.get("splits"),
    )  # fmt: skip
    origin = "@".join(
        str(info[key])[:12] if key == "commit" else str(info[key]) for key in ("repository", "commit") if key in info
    )
    made = {
        name: ComponentInputs(calibration, evaluation, components[name].carry,
                              _timed(name, models[name][1], evaluation[:2], work))
        for name, (calibration, evaluation) in found.feeds.items()
    }  # fmt: skip
    source = f"{origin or 'linked dataset'}, {found.words}"
    return Inputs(made, "dataset", source, found.steps, found.truth, found.notes, found.missing)


def _generated(
    models: dict[str, tuple[ModelProto, Path]], specs: dict[str, list[dict[str, Any]]], request: Request, work: Path
) -> Inputs:
    components: dict[str, ComponentInputs] = {}
    described = []
    steps = SEQUENCE_STEPS if any(roles.carry(model) for model, _ in models.values()) else 1
    for number, (name, (model, path)) in enumerate(models.items()):
        for spec in specs[name]:
            if spec["dtype"] in NOT_TENSORS:
                raise RefusedError(
                    f"The input {spec['name']} of {name} is of the kind {spec['dtype']}, for which no inputs can be"
                    " made yet: export the model with tensors as inputs."
                )
        candidates = generated.shape_candidates(specs[name], roles.hints(request.support))
        task = {"act": "probe", "path": str(path), "specs": specs[name], "candidates": candidates, "seed": request.seed}
        try:
            probed = runner.in_fresh_process(task, work, f"probe-{number}")
        except runner.RunError as error:
            raise RefusedError(f"onnxruntime cannot run {name} with any input that was tried: {error}") from error
        shapes = candidates[probed["choice"]]
        counts = _generated_counts(specs[name], shapes, probed, request.seconds_cap, steps)
        rng = np.random.default_rng([request.seed, number])
        made = [generated.feed(specs[name], shapes, rng, step) for step in range(sum(counts))]
        components[name] = ComponentInputs(
            made[: counts[0]], made[counts[0] :], roles.carry(model), float(probed["run_ms"])
        )
        words = generated.in_words(specs[name], shapes)
        described.append(words if len(models) == 1 else f"{name}: {words}")
    source = "generated: " + " | ".join(described)
    images = any(spec["role"] == "image" for found in specs.values() for spec in found)
    notes = [IMAGES_NOTE] if images else []
    if steps > 1:
        source += f"; sequences of {steps} steps"
    return Inputs(components, "generated", source, steps, notes=notes)


def _generated_counts(
    specs: list[dict[str, Any]], shapes: dict[str, list[int]], probed: dict[str, Any], seconds_cap: float, steps: int
) -> tuple[int, int]:
    """(calibration, evaluation): fewer for heavy models, so that feeds fit into memory and runs into the cap."""
    numbers = sum(int(np.prod(shapes[spec["name"]], dtype=np.int64)) * 8 for spec in specs)
    numbers += sum(int(np.prod(made["shape"], dtype=np.int64)) * 4 for made in probed["outputs"].values())
    affordable = min(FEEDS_LIMIT_BYTES // max(1, numbers), int(seconds_cap * 1000 / 4 / max(probed["run_ms"], 1e-3)))
    evaluation = max(4, min(GENERATED_EVALUATION, affordable))
    calibration = max(4, min(GENERATED_CALIBRATION, affordable // 2))
    return (-(-calibration // steps) * steps, -(-evaluation // steps) * steps)


def _timed(name: str, path: Path, feeds: list[Feed], work: Path) -> float:
    """Milliseconds of one run on real rows; ValueError when the model refuses them."""
    work.mkdir(parents=True, exist_ok=True)
    runner.save_feeds(feeds, work / "trial.npz")
    component = {"name": name, "path": str(path), "carry": {}, "inputs": str(work / "trial.npz")}
    task = {"act": "run", "components": [{**component, "out": str(work / "trial-out.npz")}]}
    try:
        result = runner.in_fresh_process(task, work, "trial")
    except runner.RunError as error:
        raise ValueError(f"the model does not take its rows ({error})") from error
    return float(result["seconds"]) * 1000 / len(feeds)


def tokenizer_of(support: Path | None) -> Path | None:
    """The repository's own tokenizer.json, where it has one."""
    path = support / "tokenizer.json" if support is not None else None
    return path if path is not None and path.is_file() and not path.is_symlink() else None
