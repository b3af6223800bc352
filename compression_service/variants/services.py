"""Acts on source models and variants. Publishing is idempotent: a second worker finds it done and changes nothing."""

import hashlib
import json
import logging
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import F, Max, QuerySet

from compression_service.devices.models import Device
from compression_service.engine.measure import options
from compression_service.variants.datasets import dataset_of, named_datasets
from compression_service.variants.events import catalogue_changed
from compression_service.variants.models import Catalogue, Footprint, SourceModel, Variant
from models_registry.cards.services import card_at
from models_registry.repos.commits import AddContent, AddFile, Copy, Operation, write_commit
from models_registry.repos.entries import entry_at, list_entries, read_small
from models_registry.repos.models import Repository
from models_registry.repos.revisions import items_at
from models_registry.repos.services import grant_blob
from models_registry.storage.services import take_file

logger = logging.getLogger(__name__)
AUTHOR = "fithub"
CONVERT_REF = "refs/convert/onnx"
PROVENANCE = "fithub.json"
_NOT_OF_THE_MODEL = ("README.md", ".gitattributes", ".gitignore", "LICENSE", "LICENSE.txt", "LICENSE.md", PROVENANCE)


def begin_source(repository: Repository, commit: str) -> SourceModel | None:
    """The source model at a commit, or None when it is the one of an earlier commit with another README."""
    dataset, dataset_commit = dataset_of(repository, commit) or ("", "")
    digest = _digest(repository, commit, dataset)
    waits_for = "" if dataset else _lines(named_datasets(card_at(repository, commit)))
    defaults = {"commit": commit, "dataset": dataset, "dataset_commit": dataset_commit, "waits_for": waits_for}
    source, created = SourceModel.objects.get_or_create(repository=repository, digest=digest, defaults=defaults)
    newest = SourceModel.objects.filter(repository=repository).latest("pk")
    if not created and newest.pk == source.pk:
        SourceModel.objects.filter(pk=source.pk).update(waits_for=waits_for)
        return None
    if not created:
        # The contributor went back to what was there before: make it the newest again.
        SourceModel.objects.filter(pk=source.pk).delete()
        source = SourceModel.objects.create(repository=repository, digest=digest, **defaults)
    return source


def waiting_for(dataset: Repository) -> QuerySet[Repository]:
    """Models whose card names this dataset, and which were pushed before it had rows."""
    waiting = SourceModel.objects.filter(dataset="", waits_for__contains=_lines([dataset.full_name]))
    models = Repository.objects.filter(pk__in=waiting.values("repository"))
    return models.select_related("namespace", "creator").order_by("pk")


def _lines(names: list[str]) -> str:
    return "".join(f"\n{name.strip().lower()}\n" for name in names)


def current_source(repository: Repository) -> SourceModel | None:
    """The family which answers: the newest with all its figures, else the newest with a variant, else the newest."""
    rows = SourceModel.objects.filter(repository=repository).order_by("-pk")
    ready = rows.filter(variants__status=Variant.Status.READY)
    return rows.filter(status=SourceModel.Status.READY).first() or ready.first() or rows.first()


def plan_variants(source: SourceModel, recipes: Iterable[dict[str, Any]], detail: dict[str, Any], format_: str) -> None:
    """Record what will be made, and why the rest will not."""
    SourceModel.objects.filter(pk=source.pk).update(detail=detail, format=format_)
    for position, recipe in enumerate(recipes):
        add_variant(source, recipe, position)
    _bump(source.repository)


def add_variant(source: SourceModel, recipe: dict[str, Any], position: int) -> Variant:
    """A row for what will be made of a planned recipe, or for why it will not; the one which is there stays."""
    status = Variant.Status.MAKING if recipe["applies"] else Variant.Status.NOT_APPLICABLE
    return Variant.objects.get_or_create(
        source=source,
        name=recipe["name"],
        defaults={
            "recipe": recipe["name"],
            "recipe_version": str(recipe["version"]),
            "definition": recipe.get("definition") or {},
            "title": recipe.get("title", ""),
            "position": position,
            "status": status,
            "reason": "" if recipe["applies"] else recipe.get("reason", ""),
        },
    )[0]


def refuse_source(source: SourceModel, reason: str, *, failed: bool = False) -> None:
    """There will be no variants, and the contributor is told why."""
    status = SourceModel.Status.FAILED if failed else SourceModel.Status.REFUSED
    SourceModel.objects.filter(pk=source.pk, status=SourceModel.Status.MAKING).update(status=status, reason=reason)
    rows = Variant.objects.filter(source=source, status=Variant.Status.MAKING)
    rows.update(status=Variant.Status.FAILED, reason=reason)
    _bump(source.repository)


def publish_variant(variant: Variant, folder: Path, made: dict[str, Any]) -> Variant:
    """Commit a variant's files to its ref and to `refs/convert/onnx`. Called inside the job's publishing transaction.

    `made` is the engine's result: files (relative to `folder`), components, passes, fidelity, provenance.
    """
    variant = Variant.objects.select_for_update().select_related("source__repository__namespace").get(pk=variant.pk)
    if variant.status == Variant.Status.READY:
        return variant
    source = variant.source
    repository = source.repository
    files = []
    for path in sorted(made["files"]):
        blob = take_file(folder / path)
        grant_blob(repository, blob, by_hub=True)
        files.append({"path": path, "size_bytes": blob.size_bytes, "sha256": blob.sha256})
    support = _support_operations(source)
    variant.files = files + _support_files(source)
    variant.size_bytes = sum(file["size_bytes"] for file in variant.files)
    variant.components = [_component(one) for one in made["components"]]
    variant.passes = made.get("passes", [])
    variant.fidelity = made.get("fidelity")
    variant.fidelity_metric = made.get("fidelity_metric") or ""
    variant.fidelity_inputs = made.get("fidelity_inputs") or {}
    variant.metric = made.get("metric")
    variant.flagged = bool(made.get("flagged"))
    variant.provenance = _provenance(variant, made)
    statement = AddFile(PROVENANCE, json.dumps(variant.provenance, indent=2, sort_keys=True).encode() + b"\n")
    operations: list[Operation] = [*support, *(_content(file) for file in files), statement]
    variant.commit = write_commit(
        repository,
        variant.ref,
        operations,
        f"{variant.name}: {variant.title or 'variant'}",
        f"Made from {source.commit} by the recipe {variant.recipe} {variant.recipe_version}.",
        author=AUTHOR,
        create=True,
        from_nothing=True,
    )
    variant.status, variant.reason = Variant.Status.READY, ""
    variant.save()
    _gather(source, support)
    _bump(repository)
    logger.info("published %s of %s as %s", variant.name, repository.path, variant.commit)
    return variant


def _component(one: dict[str, Any]) -> dict[str, Any]:
    """A component as it is kept. The child which made it is not trusted with what others' runtimes are told."""
    wanted = one.get("session_options")
    if wanted and options.problem(wanted):
        raise ValueError(options.problem(wanted))
    return {"name": str(one["name"]), "path": str(one["path"])} | ({"session_options": wanted} if wanted else {})


def end_variant(variant: Variant, status: Variant.Status, reason: str, made: dict[str, Any] | None = None) -> None:
    """A variant which nobody may pull: not applicable, quarantined or failed, with the reason."""
    made = made or {}
    Variant.objects.filter(pk=variant.pk).exclude(status=Variant.Status.READY).update(
        status=status,
        reason=reason,
        fidelity=made.get("fidelity"),
        fidelity_metric=made.get("fidelity_metric") or "",
        fidelity_inputs=made.get("fidelity_inputs") or {},
        metric=made.get("metric"),
        passes=made.get("passes", []),
    )
    _bump(variant.source.repository)


def quarantine(variant: Variant, reason: str) -> None:
    """Take a published variant out of every answer: it broke while it was measured."""
    Variant.objects.filter(pk=variant.pk).update(status=Variant.Status.QUARANTINED, reason=reason)
    _bump(variant.source.repository)


def record_footprint(
    variant: Variant, device: Device, record: dict[str, Any], runtime: str, measured_at: datetime,
    *, trust: str = "verified",
) -> None:  # fmt: skip
    """Keep the newest record of a variant on a device with a number of threads."""
    latency, load = record.get("latency_ms") or {}, record.get("load_ms") or {}
    opsets = [component.get("opset") for component in variant.source.detail.get("components", [])]
    if trust == "verified":  # what an older runtime gave here is no figure of this device any more
        older = Footprint.objects.filter(variant=variant, device=device, threads=record["threads"], trust=trust)
        older.exclude(runtime=runtime).delete()
    Footprint.objects.update_or_create(
        variant=variant,
        device=device,
        threads=record["threads"],
        runtime=runtime,
        defaults={
            "opset": max((opset for opset in opsets if opset), default=None),
            "trust": trust,
            "noisy": bool(record.get("noisy")),
            "stale": False,
            "size_bytes": variant.size_bytes or record["size_bytes"],
            "wire_bytes": variant.size_bytes or record["size_bytes"],
            "peak_memory_bytes": record.get("peak_memory_bytes"),
            "added_memory_bytes": record.get("added_memory_bytes"),
            "load_cold_ms": load.get("cold"),
            "load_warm_ms": load.get("warm"),
            "p50_ms": latency.get("p50"),
            "p90_ms": latency.get("p90"),
            "throughput_per_s": record.get("throughput_per_s"),
            "record": record,
            "measured_at": measured_at,
        },
    )


def finish_source(source: SourceModel) -> None:
    SourceModel.objects.filter(pk=source.pk, status=SourceModel.Status.MAKING).update(status=SourceModel.Status.READY)
    _bump(source.repository)


def catalogue_version(repository: Repository) -> int:
    return Catalogue.objects.filter(repository=repository).aggregate(Max("version"))["version__max"] or 0


def _digest(repository: Repository, commit: str, dataset: str) -> str:
    """What the variants depend on. A folder's oid stands for all that is in it, so only the root is read."""
    card = card_at(repository, commit)
    parts = [json.dumps([card.datasets, card.fithub, dataset], sort_keys=True, default=str)]
    for name, item in items_at(repository, commit).items():
        if name not in _NOT_OF_THE_MODEL:
            parts.append(f"{name}\0{item.mode:o}\0{item.oid}")
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _support_files(source: SourceModel) -> list[dict[str, Any]]:
    rows = []
    for path in source.detail.get("support_files", []):
        entry = entry_at(source.repository, source.commit, path)
        sha256 = entry.sha256 or hashlib.sha256(read_small(source.repository, entry)).hexdigest()
        rows.append({"path": path, "size_bytes": entry.size_bytes, "sha256": sha256})
    return rows


def _support_operations(source: SourceModel) -> list[Operation]:
    """The files which travel with every variant: what loaders need, and the card."""
    there = {entry.path for entry in list_entries(source.repository, source.commit)}
    paths = [*source.detail.get("support_files", []), *({"README.md", "LICENSE"} & there)]
    return [Copy(path, path, source.commit) for path in dict.fromkeys(paths)]


def _content(file: dict[str, Any]) -> AddContent:
    return AddContent(file["path"], file["sha256"], file["size_bytes"])


def _gather(source: SourceModel, support: list[Operation]) -> None:
    """`refs/convert/onnx` holds every ready variant's files together, as the ecosystem's loaders look for them."""
    operations: dict[str, Operation] = {op.path: op for op in support}
    support_paths = set(operations)
    for variant in Variant.objects.filter(source=source, status=Variant.Status.READY):
        for file in variant.files:
            if file["path"] not in support_paths:
                operations[file["path"]] = _content(file)
    write_commit(
        source.repository,
        CONVERT_REF,
        list(operations.values()),
        "All variants",
        f"Made from {source.commit}.",
        author=AUTHOR,
        create=True,
        from_nothing=True,
    )


def _provenance(variant: Variant, made: dict[str, Any]) -> dict[str, Any]:
    source = variant.source
    return {
        "variant": variant.name,
        "recipe": {
            "name": variant.recipe,
            "version": variant.recipe_version,
            "definition": variant.definition,
            "passes": made.get("passes", []),
        },
        "source": {"repository": source.repository.full_name, "commit": source.commit, "format": source.format},
        "dataset": {"repository": source.dataset, "commit": source.dataset_commit} if source.dataset else None,
        "fidelity": {key: made.get(key) for key in ("fidelity", "fidelity_metric", "fidelity_inputs", "metric")},
        "components": variant.components,
        "files": variant.files,
        **(made.get("provenance") or {}),
    }


def catalogue_grew(repository: Repository) -> None:
    """Footprints came from elsewhere: budgets are to be answered anew."""
    _bump(repository)


@transaction.atomic
def _bump(repository: Repository) -> None:
    Catalogue.objects.get_or_create(repository=repository)
    Catalogue.objects.filter(repository=repository).update(version=F("version") + 1)
    catalogue_changed.send(sender=Catalogue, repository=repository)
