"""What the ledger is computed from, by a fixed number of queries: jobs, footprints, pulls, contents."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q, Sum
from django.db.models.fields.json import KeyTransform

from compression_service.devices.energy import energy_of
from compression_service.devices.models import Device
from compression_service.jobs.models import Job
from compression_service.ledger.arithmetic import Inference, Spent, Stated
from compression_service.ledger.models import PullCount, PushCount
from compression_service.variants.models import Footprint, SourceModel, Variant
from models_registry.repos.models import Repository

MAKING = ("convert", "make_variant", "measure")  # kinds of jobs
BASELINE = "onnx"
_SPENT = {
    "seconds": Sum("processor_seconds"),
    "unmetered": Sum("processor_seconds", filter=Q(energy_joules=None)),
    "joules": Sum("energy_joules"),
    "total": Count("pk", filter=~Q(started_at=None)),
    "unrecorded": Count("pk", filter=Q(processor_seconds=None, state__in=(Job.State.DONE, Job.State.FAILED))),
}


@dataclass(frozen=True)
class Moved:
    """Bytes of pulls of variants, and of pushes by Xet: `named` as files, of which `sent` ones travelled."""

    pulls: int = 0
    pulled: int = 0
    source: int = 0
    named: int = 0
    sent: int = 0

    @property
    def spared_by_variants(self) -> int:
        """Below 0 where variants which were pulled are larger than their source."""
        return self.source - self.pulled

    @property
    def spared_by_dedupe(self) -> int:
        """What was sent and never named by a file spares nothing."""
        return max(0, self.named - self.sent)


def stated() -> Stated:
    """The administrator's figures (hub/settings.py)."""
    return Stated(
        core_watts=settings.CORE_WATTS or None,
        efficiency=settings.POWER_EFFICIENCY,
        grams_a_kwh=settings.GRID_GRAMS_A_KWH or None,
        location=settings.GRID_LOCATION,
        core_hour_price=settings.CORE_HOUR_PRICE or None,
        currency=settings.CURRENCY,
    )


def spent_on(repositories: Q) -> Spent:
    """`repositories`: a filter on jobs, by `repository…`."""
    return _spent(Job.objects.filter(repositories, kind__in=MAKING).aggregate(**_SPENT))


def spent_in(repository: Repository) -> tuple[Spent, dict[str, Spent]]:
    """A model's sum, and what each recorded job spent, by its key. One query: a model has some hundred jobs at most."""
    rows = Job.objects.filter(repository=repository, kind__in=MAKING).exclude(started_at=None)
    each: dict[str, Spent] = {}
    seconds = unmetered = 0.0
    joules: float | None = None
    unrecorded = total = 0
    for key, state, used, metered in rows.values_list("key", "state", "processor_seconds", "energy_joules"):
        total += 1
        if used is None:
            unrecorded += state in (Job.State.DONE, Job.State.FAILED)
            continue
        each[key] = Spent(used, used if metered is None else 0.0, metered, 1)
        seconds, unmetered = seconds + used, unmetered + each[key].unmetered_seconds
        joules = joules if metered is None else (joules or 0.0) + metered
    return Spent(seconds, unmetered, joules, total, unrecorded), each


def spent_by_repository(repositories: Q, most: int) -> dict[int, Spent]:
    """The repositories on which most processor time was spent, first."""
    rows = Job.objects.filter(repositories, kind__in=MAKING, processor_seconds__gt=0).values("repository")
    ranked: Any = rows.annotate(**_SPENT)  # by names which only the database knows
    return {row["repository"]: _spent(row) for row in ranked.order_by("-seconds", "repository")[:most]}


def spent_by_job(variants: Iterable[Variant]) -> dict[str, Spent]:
    """What the jobs which made these variants spent, by their keys."""
    rows = Job.objects.filter(key__in=[job_key(variant) for variant in variants], processor_seconds__gt=0)
    columns = ("key", "processor_seconds", "energy_joules")
    return {
        key: Spent(seconds, seconds if joules is None else 0.0, joules, 1)
        for key, seconds, joules in rows.values_list(*columns)
    }


def job_key(variant: Variant) -> str:
    """Of the job which makes a variant, converting and measuring left out (jobs/runners/convert.py)."""
    return f"make_variant:{variant.pk}"


def moved_of(repositories: Q) -> Moved:
    """`repositories`: a filter by `repository…`."""
    rows = PullCount.objects.filter(repositories)
    pulls = rows.aggregate(n=Sum("pulls"), moved=Sum("moved_bytes"), source=Sum("source_bytes"))
    return Moved(pulls["n"] or 0, pulls["moved"] or 0, pulls["source"] or 0, *pushed_of(repositories))


def pushed_of(repositories: Q) -> tuple[int, int]:
    """Bytes which pushes by Xet named as files, and those which were sent for it."""
    sums = PushCount.objects.filter(repositories).aggregate(named=Sum("named_bytes"), sent=Sum("sent_bytes"))
    return sums["named"] or 0, sums["sent"] or 0


def pulls_of(repositories: Iterable[int]) -> dict[int, dict[str, PullCount]]:
    """By repository and variant."""
    found: dict[int, dict[str, PullCount]] = defaultdict(dict)
    for row in PullCount.objects.filter(repository__in=repositories):
        found[row.repository_id][row.variant] = row
    return found


def families_of(repositories: Iterable[int]) -> dict[int, list[Variant]]:
    """By repository: the ready variants of the newest family which is whole."""
    whole = SourceModel.objects.filter(repository__in=repositories, status=SourceModel.Status.READY)
    newest = dict(whole.values_list("repository").annotate(newest=Max("pk")))
    found: dict[int, list[Variant]] = defaultdict(list)
    rows = Variant.objects.filter(source__in=newest.values(), status=Variant.Status.READY).select_related("source")
    for variant in rows.only("name", "size_bytes", "fidelity", "flagged", "position", "source__repository"):
        found[variant.source.repository_id].append(variant)
    return found


def inferences_of(variants: Iterable[Variant], device: str) -> dict[int, Inference]:
    """By the variant's key: what one inference takes on a device with one thread. Samples stay in the database."""
    rows = Footprint.objects.filter(variant__in=list(variants), device__name=device, threads=1)
    rows = rows.select_related("device").defer("record").order_by("measured_at")
    rows = rows.annotate(cpu_ms=KeyTransform("cpu_ms", "record"), energy=KeyTransform("energy", "record"))
    return {row.variant_id: _inference(row, {"cpu_ms": row.cpu_ms, "energy": row.energy}) for row in rows}


def inferences_in(footprints: Iterable[Footprint]) -> dict[int, Inference]:
    """The same out of rows which were read already; the newest of each variant speaks."""
    ordered = sorted((row for row in footprints if row.threads == 1), key=lambda row: row.measured_at)
    return {row.variant_id: _inference(row, row.record) for row in ordered}


def _inference(row: Footprint, record: dict[str, Any]) -> Inference:
    return Inference(record.get("cpu_ms"), *energy_of(record, row.device))


def measured_hardware(repository: Repository) -> list[str]:
    """Names of the workers' devices on which the variants were measured: where they were made."""
    rows = Device.objects.filter(origin=Device.Origin.WORKER, footprints__variant__source__repository=repository)
    return list(rows.order_by("name").values_list("name", flat=True).distinct())


def _spent(row: dict[str, Any]) -> Spent:
    return Spent(row["seconds"] or 0.0, row["unmetered"] or 0.0, row["joules"], row["total"], row["unrecorded"])
