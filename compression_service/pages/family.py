"""A model's variants with their figures in one place (a device, a number of threads), as its page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from compression_service.devices.services import default_device
from compression_service.selection.candidates import beaten_by
from compression_service.selection.services import candidates_of
from compression_service.variants.models import Footprint, SourceModel, Variant
from compression_service.variants.services import catalogue_version, current_source
from models_registry.pages.links import repository_link
from models_registry.repos.models import Repository

BASELINE = "onnx"
_METRICS = {
    "itself": "by definition",
    "top1_agreement": "same first answer",
    "agreement": "same answers",
    "agreement_at_half": "same answers at a threshold of ½",
    "cosine": "cosine of the outputs",
}


def variant_link(repository: Repository, name: str) -> str:
    return f"{repository_link(repository)}/variants/{quote(name, safe='')}"


@dataclass(frozen=True)
class Line:
    """One variant in the table. `footprint` is None where it was not measured in this place."""

    repository: Repository
    variant: Variant
    footprint: Footprint | None
    beaten_by: list[str]
    source_metric: dict[str, Any] | None  # for the baseline: the metric which the others name as their source's

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def is_baseline(self) -> bool:
        return self.variant.name == BASELINE

    @property
    def page_link(self) -> str:
        return variant_link(self.repository, self.name)

    @property
    def ratio(self) -> dict[str, float]:
        """Each figure over the source's in the same session: {"size", "peak_memory", "load", "p50", "p90"}."""
        return {} if self.footprint is None or self.is_baseline else self.footprint.record.get("ratio_to_source") or {}

    @property
    def noise(self) -> str:
        return str(self.footprint.record.get("noise") or "") if self.footprint else ""

    @property
    def inputs_count(self) -> int | None:
        """How many answers were counted; None where the fidelity is no count and its digits do not depend on one."""
        counted = "agreement" in self.variant.fidelity_metric
        return self.variant.fidelity_inputs.get("count") if counted else None

    @property
    def fidelity_basis(self) -> str:
        """What the fidelity was taken on, in a few words."""
        inputs, metric = self.variant.fidelity_inputs, _METRICS.get(self.variant.fidelity_metric, "")
        if not inputs.get("count"):
            return metric or self.variant.fidelity_metric
        kind = "rows of the dataset" if inputs.get("kind") == "dataset" else "generated inputs"
        return f"{metric or self.variant.fidelity_metric} on {inputs['count']:,} {kind}"

    @property
    def fidelity_source(self) -> str:
        """The whole statement of where those inputs came from."""
        inputs = self.variant.fidelity_inputs
        return " ".join([str(inputs.get("source") or ""), *map(str, inputs.get("notes") or [])]).strip()

    @property
    def metric(self) -> dict[str, Any] | None:
        return self.source_metric if self.is_baseline else self.variant.metric


@dataclass(frozen=True)
class Family:
    """The newest source model which answers, with its variants. `threads` is what the page shows now."""

    source: SourceModel
    version: int
    device: str
    threads: int
    thread_choices: list[int]
    lines: list[Line] = field(default_factory=list)  # ready ones, in the order of the recipes
    others: list[Variant] = field(default_factory=list)  # making, quarantined, failed, not applicable

    @cached_property
    def metric_name(self) -> str:
        return next((str(line.metric["name"]) for line in self.lines if line.metric), "")

    @cached_property
    def common_basis(self) -> str:
        """What every fidelity was taken on, when it is the same for all; else empty, and each line says its own."""
        found = {line.fidelity_basis for line in self.lines if not line.is_baseline}
        return found.pop() if len(found) == 1 else ""

    @property
    def is_measured(self) -> bool:
        return any(line.footprint for line in self.lines)

    @property
    def is_noisy(self) -> bool:
        return any(line.footprint and line.footprint.noisy for line in self.lines)

    def line(self, name: str | None) -> Line | None:
        return next((line for line in self.lines if line.name == name), None)


def family_of(request: HttpRequest, repository: Repository) -> Family | None:
    """None when nothing was pushed of which variants could be made. A fixed number of queries."""
    kept = request.__dict__.setdefault("_fithub_families", {})  # two sections of one page ask for it
    if repository.pk not in kept:
        source = current_source(repository)
        kept[repository.pk] = None if source is None else _family(request, repository, source)
    found: Family | None = kept[repository.pk]
    return found


def _family(request: HttpRequest, repository: Repository, source: SourceModel) -> Family:
    rows = Variant.objects.filter(source=source).defer("passes", "definition", "provenance")  # long, not shown here
    variants = list(rows.prefetch_related("footprints__device"))
    beaten = beaten_by(candidates_of(source))
    device = _device(variants)
    here = [row for variant in variants for row in variant.footprints.all() if row.device.name == device]
    choices = sorted({row.threads for row in here})
    asked = request.GET.get("threads", "")
    threads = int(asked) if asked.isdecimal() and len(asked) < 6 and int(asked) in choices else (choices or [1])[0]
    metric = _source_metric(variants)
    lines = [
        Line(repository, variant, _at(variant, device, threads), beaten.get(variant.name, []), metric)
        for variant in variants
        if variant.status == Variant.Status.READY
    ]
    others = [variant for variant in variants if variant.status != Variant.Status.READY]
    return Family(source, catalogue_version(repository), device, threads, choices, lines, others)


def _device(variants: Sequence[Variant]) -> str:
    """The device whose figures are shown: the one which answers budgets, else one which measured this model."""
    names = {row.device.name for variant in variants for row in variant.footprints.all()}
    preferred = default_device()
    return preferred if preferred in names or not names else min(names)


def _at(variant: Variant, device: str, threads: int) -> Footprint | None:
    """The newest record of this place, whatever the runtime was."""
    rows = [row for row in variant.footprints.all() if row.device.name == device and row.threads == threads]
    return max(rows, key=lambda row: row.measured_at, default=None)


def _source_metric(variants: Sequence[Variant]) -> dict[str, Any] | None:
    metric = next((variant.metric for variant in variants if variant.metric), None)
    if metric is None or metric.get("source_value") is None:
        return None
    return {
        "name": metric["name"],
        "value": metric["source_value"],
        "count": metric.get("count"),
        "unit": metric.get("unit"),
    }
