"""The ledger of one model, and of the whole hub: what making variants cost, and what they save."""

from dataclasses import dataclass, replace
from typing import Any

from django.core.cache import cache
from django.db.models import Q

from compression_service.devices.services import default_device
from compression_service.ledger import arithmetic, reading
from compression_service.ledger.arithmetic import Apart, Inference, Saving, Spent, Stated
from compression_service.ledger.models import PullCount
from compression_service.ledger.reading import Moved
from compression_service.selection.choice import DEFAULT_FIDELITY
from compression_service.variants.models import Variant
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import readable_by
from models_registry.repos.models import Repository, RepoType

HUB_KEPT_S = 60  # the sums over all of a large hub take a second
MOST_MODELS = 100


@dataclass(frozen=True)
class Totals:
    """What was spent on making variants and which bytes were not moved. Energy is from the wall, in joules."""

    spent: Spent
    moved: Moved
    energy: Apart
    emissions_g: Apart
    cost: float | None

    @classmethod
    def of(cls, spent: Spent, moved: Moved, stated: Stated) -> "Totals":
        energy = arithmetic.energy_of(spent, stated)
        return cls(spent, moved, energy, arithmetic.emissions_of(energy, stated), arithmetic.cost_of(spent, stated))


@dataclass(frozen=True)
class Entry:
    """One variant: what making it spent, what an inference saves, after how many it has paid for itself."""

    variant: Variant
    spent: Spent | None  # None: not recorded
    energy: Apart
    saving: Saving
    pays_back_after: int | None
    pays_back_by: str  # measured energy, processor time, never, unknown
    pulls: int = 0
    spared_bytes: int = 0


@dataclass(frozen=True)
class Known:
    """A family's ready variants, and what an inference of each takes on a device, by the variant's key."""

    device: str
    family: list[Variant]
    inferences: dict[int, Inference]


@dataclass(frozen=True)
class ModelLedger:
    totals: Totals
    stated: Stated
    device: str
    entries: list[Entry]  # without the baseline
    card_block: dict[str, Any] | None


@dataclass(frozen=True)
class Row:
    """A model in the hub's ledger, with that entry of it which saves most an inference and loses at most a point."""

    repository: Repository
    spent: Spent
    energy: Apart
    pulls: int
    spared_bytes: int
    best: Entry | None


@dataclass(frozen=True)
class HubLedger:
    totals: Totals
    stated: Stated
    device: str
    rows: list[Row]  # those on which most was spent


def ledger_of(repository: Repository, known: Known | None = None) -> ModelLedger:
    """The ledger of a model whose page the caller may see. `known`: what was read of its family already."""
    stated = reading.stated()
    if known is None:
        device = default_device()
        family = reading.families_of([repository.pk]).get(repository.pk, [])
        known = Known(device, family, reading.inferences_of(family, device))
    spent, by_job = reading.spent_in(repository)
    pulls = reading.pulls_of([repository.pk]).get(repository.pk, {})
    counts = [(row.pulls, row.moved_bytes, row.source_bytes) for row in pulls.values()]
    moved = Moved(*map(sum, zip(*counts, strict=True))) if counts else Moved()
    named, sent = reading.pushed_of(Q(repository=repository))
    totals = Totals.of(spent, replace(moved, named=named, sent=sent), stated)
    entries = _entries(known.family, pulls, by_job, known.inferences, stated)
    has_grams = totals.emissions_g != Apart()
    hardware = reading.measured_hardware(repository) if has_grams else []
    block = arithmetic.co2_block(totals.emissions_g, stated, hardware)
    return ModelLedger(totals, stated, known.device, entries, block)


def ledger_of_hub(actor: Actor, limit: int = 20) -> HubLedger:
    """Of public repositories; for the hub's administrators of all. At most a minute old."""
    sees_all = actor.is_superuser
    key = f"ledger:{'all' if sees_all else 'public'}:{limit}"
    found: HubLedger | None = cache.get(key)
    if found is None:
        found = _hub(Q() if sees_all else Q(repository__private=False), limit)
        cache.set(key, found, HUB_KEPT_S)
    seen = Repository.objects.filter(readable_by(actor), pk__in=[row.repository.pk for row in found.rows])
    still = set(seen.values_list("pk", flat=True))  # hidden or deleted within that minute
    return replace(found, rows=[row for row in found.rows if row.repository.pk in still])


def _hub(which: Q, limit: int) -> HubLedger:
    stated, device = reading.stated(), default_device()
    totals = Totals.of(reading.spent_on(which), reading.moved_of(which), stated)
    by_model = reading.spent_by_repository(which & Q(repository__type=RepoType.MODEL), limit)
    models = Repository.objects.select_related("namespace").in_bulk(list(by_model))
    families, pulls = reading.families_of(by_model), reading.pulls_of(by_model)
    everyone = [variant for family in families.values() for variant in family]
    by_job, inferences = reading.spent_by_job(everyone), reading.inferences_of(everyone, device)
    rows = []
    for pk, own in by_model.items():
        if pk not in models:  # deleted meanwhile
            continue
        entries = _entries(families.get(pk, []), pulls.get(pk, {}), by_job, inferences, stated)
        kept = pulls.get(pk, {}).values()
        rows.append(
            Row(
                models[pk], own, arithmetic.energy_of(own, stated), sum(row.pulls for row in kept),
                sum(row.source_bytes - row.moved_bytes for row in kept), _best(entries),
            )
        )  # fmt: skip
    return HubLedger(totals, stated, device, rows)


def _entries(
    family: list[Variant], pulls: dict[str, PullCount], by_job: dict[str, Spent], inferences: dict[int, Inference],
    stated: Stated,
) -> list[Entry]:  # fmt: skip
    source = next((inferences.get(variant.pk) for variant in family if variant.name == reading.BASELINE), None)
    entries = []
    for variant in family:
        if variant.name == reading.BASELINE:
            continue
        own, making = inferences.get(variant.pk), by_job.get(reading.job_key(variant))
        saving = arithmetic.saving_of(source, own, stated.efficiency) if source and own else Saving()
        after, by = arithmetic.pays_back(making or Spent(), saving, stated.efficiency)
        count = pulls.get(variant.name)
        entries.append(
            Entry(
                variant, making, arithmetic.energy_of(making, stated) if making else Apart(), saving, after, by,
                count.pulls if count else 0, count.source_bytes - count.moved_bytes if count else 0,
            )
        )  # fmt: skip
    return entries


def _best(entries: list[Entry]) -> Entry | None:
    whole = [one for one in entries if not one.variant.flagged and (one.variant.fidelity or 0) >= DEFAULT_FIDELITY]
    saving = [one for one in whole if (one.saving.cpu_ms or 0) > 0]
    return max(saving, key=lambda one: (one.saving.cpu_ms or 0, one.variant.name), default=None)
