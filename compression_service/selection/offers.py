"""What every model offers in every place, kept flat while catalogues change, so that a budget is met across all."""

from django.db import transaction
from django.db.models import F

from compression_service.selection.candidates import Candidate, Figures
from compression_service.selection.choice import measured_options
from compression_service.selection.estimating import Ground, ground, with_all_estimates
from compression_service.selection.models import Offer
from compression_service.variants.models import Catalogue
from models_registry.repos.models import Repository

MOST_LAGGING = 100  # repositories which one sweep catches up


def refresh_offers(repository: Repository, on: Ground | None = None) -> None:
    """Write a repository's offers anew, as its catalogue and what estimates rest on stand."""
    from compression_service.selection.services import candidates_of
    from compression_service.variants.services import current_source

    with transaction.atomic():
        on = on or ground()
        version = Catalogue.objects.filter(repository=repository).values_list("version", flat=True).first() or 0
        candidates = with_all_estimates(candidates_of(current_source(repository)), on)
        rows = without_beaten([row for candidate in candidates for row in _rows(repository, candidate)])
        Offer.objects.filter(repository=repository).delete()
        Offer.objects.bulk_create(rows)
        Catalogue.objects.filter(repository=repository).update(offered_version=version, offered_ground=on.digest)


def refresh_lagging() -> int:
    """Catch up with catalogues whose offers are older than they, or than what estimates rest on. Returns how many.

    So it is after an upgrade, a restored dump, a new fit of the model of speeds, or a new profile of a worker.
    """
    on = ground()
    behind = Catalogue.objects.exclude(offered_version=F("version"), offered_ground=on.digest)
    found = list(behind.select_related("repository__namespace")[:MOST_LAGGING])
    for catalogue in found:
        refresh_offers(catalogue.repository, on)
    return len(found)


def without_beaten(rows: list[Offer]) -> list[Offer]:
    """Leave out what can be no budget's answer: another one there passes wherever it does, and ranks first."""

    def place(row: Offer) -> tuple[str, int, str, int]:
        return (row.device, row.threads, row.runtime, row.level)

    places: dict[tuple[str, int, str, int], list[Offer]] = {}
    for row in rows:
        places.setdefault(place(row), []).append(row)
    return [row for row in rows if not any(_beats(one, row) for one in places[place(row)])]


def _beats(one: Offer, other: Offer) -> bool:
    ranks, others = _ranks(one), _ranks(other)
    passes = all(left <= right for left, right in zip((*ranks, *_gates(one)), (*others, *_gates(other)), strict=True))
    return passes and (ranks != others or one.variant < other.variant)


def _ranks(row: Offer) -> tuple[float, ...]:
    return (row.loss, row.p90_ms, row.peak_memory_bytes, row.size_bytes)


def _gates(row: Offer) -> tuple[float, ...]:
    return (row.load_warm_ms, -row.throughput_per_s, row.opset, row.energy_is_estimated, row.energy_mj)


def _rows(repository: Repository, candidate: Candidate) -> list[Offer]:
    if candidate.status != "ready" or candidate.needs_options:  # across models nobody knows who sets which
        return []
    bare = Figures("", 0, size_bytes=candidate.size_bytes, fidelity=1.0 if candidate.is_baseline else None)
    rows = [_row(repository, candidate, bare, Offer.UNMEASURED)]
    for device, threads in sorted({(figures.device, figures.threads) for figures in candidate.footprints}):
        for figures in measured_options(candidate, device, threads):
            level = Offer.PROVEN if figures.is_proven else Offer.LIKELY
            rows.append(_row(repository, candidate, figures, level))
    return rows


def _row(repository: Repository, candidate: Candidate, figures: Figures, level: int) -> Offer:
    def known(value: float | None) -> float:
        return Offer.UNKNOWN if value is None else value

    return Offer(
        repository=repository,
        variant=candidate.name,
        commit=candidate.commit,
        device=figures.device,
        threads=figures.threads,
        runtime=(figures.runtime or "").lower().replace(" ", "-"),
        opset=known(figures.opset),
        level=level,
        loss=Offer.UNKNOWN if figures.fidelity is None else 1.0 - figures.fidelity,
        p90_ms=known(figures.p90_ms),
        peak_memory_bytes=known(figures.peak_memory_bytes),
        size_bytes=known(figures.size_bytes),
        load_warm_ms=known(figures.load_warm_ms),
        throughput_per_s=figures.throughput_per_s or 0.0,
        energy_mj=known(figures.energy_mj),
        energy_is_estimated=figures.energy_method == "estimate",
        trust=figures.trust,
        measured_at=figures.measured_at,
        estimated_from=figures.estimated_from or "",
        estimate_error=figures.estimate_error,
    )
