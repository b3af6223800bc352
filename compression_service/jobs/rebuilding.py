"""Make a published variant again from its provenance, and compare the bytes: the proof that it is what it says."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

from compression_service.engine.definitions import BASELINE
from compression_service.engine.errors import RefusedError
from compression_service.engine.recipes import named_or_defined
from compression_service.jobs.files import checkout
from compression_service.jobs.runners.common import bring_inputs
from compression_service.jobs.sandbox import Sandbox, SandboxFailed
from compression_service.jobs.slot import machine_slot
from compression_service.variants.datasets import usable_dataset
from compression_service.variants.models import SourceModel, Variant
from compression_service.variants.services import current_source
from models_registry.errors import HubError
from models_registry.repos.models import Repository

ENGINE = "compression_service.engine"
Say = Callable[[float, str], None]
_OTHERS = {
    "calibration_sha256": "other calibration inputs",
    "seed": "another seed",
    "vnni": "a processor with other 8-bit products (VNNI)",
}


class CannotRebuild(Exception):
    """What is needed to make the variant again is not here; `reason` is the sentence to show."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Compared:
    """One file: its SHA-256 as published and as made again; "" where it is in one of both only."""

    path: str
    published: str
    rebuilt: str

    @property
    def same(self) -> bool:
        return self.published == self.rebuilt


@dataclass
class Rebuilt:
    """`differences`: what else is not as it was, e.g. `onnxruntime 1.30.0 then, 1.31.1 now`."""

    variant: Variant
    files: list[Compared] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        return all(file.same for file in self.files)


def published_variant(repository: Repository, name: str) -> Variant:
    """The variant of that name which is pulled now. Raises CannotRebuild."""
    source = current_source(repository)
    rows = Variant.objects.select_related("source__repository__namespace", "source__repository__creator")
    variant = rows.filter(source=source, name=name).first() if source else None
    if variant is None:
        raise CannotRebuild(f"{repository.full_name} has no variant {name}.")
    if variant.status != Variant.Status.READY:
        raise CannotRebuild(f"{name} was not published: it is {variant.get_status_display().lower()}. {variant.reason}")
    return variant


def rebuild(variant: Variant, folder: Path, stop: Event, say: Say) -> Rebuilt:
    """Convert the source again and make the variant of it, in the sandbox, below `folder`. Raises CannotRebuild."""
    source = variant.source
    recipe = _recipe_of(variant)
    if source.dataset and usable_dataset(source.repository, source.dataset) is None:
        raise CannotRebuild(f"The dataset {source.dataset}, which calibrated and judged it, is not here any more.")
    try:
        with machine_slot(stop):
            made, out = _converted(source, folder / "convert", stop, say)
            if variant.name != BASELINE:
                made, out = _made(source, recipe, out, folder / "make", stop, say)
    except SandboxFailed as refusal:
        raise CannotRebuild(f"Making it again ended with: {refusal.reason}") from refusal
    except HubError as error:
        raise CannotRebuild(f"Its files can not be fetched: {error.message}") from error
    files = _hashes(out, made["files"]) | _hashes(folder / "convert" / "source", source.detail.get("support_files", []))
    published = {file["path"]: file["sha256"] for file in variant.files}
    compared = [Compared(path, published.get(path, ""), files.get(path, "")) for path in sorted({*published, *files})]
    differences = _differences(variant.provenance, made.get("provenance") or made)
    return Rebuilt(variant, compared, differences + _other_choices(variant.passes, made.get("passes", [])))


def _recipe_of(variant: Variant) -> dict[str, Any]:
    """The definition which made it; for a variant of before definitions were kept, the engine's, if it is the same."""
    try:
        recipe = named_or_defined(variant.definition or variant.recipe)
    except RefusedError as error:
        raise CannotRebuild(error.reason) from error
    if recipe.version != variant.recipe_version:
        raise CannotRebuild(
            f"It was made by {variant.recipe} {variant.recipe_version}, whose definition was not kept; this hub has"
            f" {recipe.version}."
        )
    return recipe.as_json()


def _converted(source: SourceModel, folder: Path, stop: Event, say: Say) -> tuple[dict[str, Any], Path]:
    checkout(source.repository, source.commit, folder / "source", stop=stop)
    task = {"act": "convert", "source": "source", "out": "out"}
    return Sandbox(folder, stop).run(ENGINE, task, say), folder / "out"


def _made(
    source: SourceModel, recipe: dict[str, Any], baseline: Path, folder: Path, stop: Event, say: Say
) -> tuple[dict[str, Any], Path]:
    folder.mkdir(parents=True)
    task = {"act": "make", "recipe": recipe, "baseline": "baseline", "out": "out"}
    task |= bring_inputs(source, folder, stop)
    baseline.rename(folder / "baseline")
    return Sandbox(folder, stop).run(ENGINE, task, say), folder / "out"


def _hashes(folder: Path, paths: list[str]) -> dict[str, str]:
    found = {}
    for path in paths:
        with (folder / path).open("rb") as file:
            found[path] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _other_choices(then: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    """Passes which chose other parameters, e.g. because a slower machine left them less time."""
    found = []
    for old, new in zip(then, now, strict=False):
        params, others = old.get("params") or {}, new.get("params") or {}
        changed = sorted(key for key in {*params, *others} if params.get(key) != others.get(key))
        if old.get("pass") != new.get("pass"):
            found.append(f"{old.get('pass')} then, {new.get('pass')} now")
        found += [f"{old.get('pass')} with {key} {params.get(key)} then, {others.get(key)} now" for key in changed]
    return found


def _differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What was not the same when the variant was published, in words."""
    old, new = then.get("versions") or {}, now.get("versions") or {}
    found = [
        f"{name} {old.get(name, 'unknown')} then, {new.get(name, 'unknown')} now"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    return found + [text for key, text in _OTHERS.items() if then.get(key) != now.get(key)]
