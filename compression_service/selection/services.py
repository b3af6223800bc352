"""Answering budgets: from rows to the pure rules of choice.py, and back to a commit which holds while a pull runs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from compression_service.devices.energy import energy_of
from compression_service.devices.services import canonical_name, known_names
from compression_service.selection.budgets import PREFIX, Budget, BudgetError, parse_budget
from compression_service.selection.choice import Candidate, Figures, Fit, choose
from compression_service.selection.estimating import with_estimates
from compression_service.selection.memory import Kept, standing
from compression_service.selection.models import FitAnswer
from compression_service.variants.models import Footprint, SourceModel, Variant
from compression_service.variants.services import catalogue_version, current_source
from models_registry.accounts.actors import Actor
from models_registry.errors import BadRequest, RevisionNotFound
from models_registry.repos.models import Repository, RepoType

HOLDS = timedelta(hours=1)
MOST_ANSWERS = 500
_candidates: Kept[list[Candidate]] = Kept(200)
_fits: Kept[Fit] = Kept(2000)


@dataclass(frozen=True)
class Answer:
    """A fit in its JSON shape, and the commit to pull (None when nothing fits)."""

    body: dict[str, Any]
    commit: str | None


def resolve_fit(actor: Actor, repository: Repository, text: str) -> str | None:
    """The resolver of `fit@…` revisions. Raises RevisionNotFound with the sentence and the nearest miss."""
    if not text.startswith(PREFIX):
        return None
    if repository.kind is not RepoType.MODEL:
        raise RevisionNotFound(f"{PREFIX}… chooses variants of models; {repository.full_name} is a {repository.type}.")
    answer = answer_budget(repository, read_budget(text), remember=True)
    if answer.commit is None:
        raise RevisionNotFound(answer.body["sentence"])
    return answer.commit


def read_budget(text: str) -> Budget:
    """Raises BadRequest with what would have been understood."""
    try:
        return parse_budget(text)
    except BudgetError as error:
        raise bad_budget(error) from error


def bad_budget(error: BudgetError, also: Iterable[str] = ()) -> BadRequest:
    """`also`: what else would have been understood there."""
    known = f" Known: {', '.join(error.known)}." if error.known and error.known[0] not in str(error) else ""
    known += f" Filters here: {', '.join(also)}." if also else ""
    return BadRequest(f"{error}{known}")


def answer_budget(repository: Repository, budget: Budget, *, remember: bool = False) -> Answer:
    """The best variant for a budget. An answer which a pull got holds for an hour after a newer one appears.

    Only pulls `remember`: those who look around on pages and in the API see what a pull would get, and write nothing.
    """
    budget = with_known_device(budget)
    version, device, held_pk = standing(repository, budget.canonical)
    held = FitAnswer.objects.filter(pk=held_pk).first() if held_pk is not None else None
    if held and held.catalogue_version == version and held.superseded_at is None:
        return Answer(held.answer, held.commit)
    fit = _choose(repository, budget, version, device)
    body = _body(repository, fit)
    if held and fit.commit != held.commit and _still_stands(held):
        if held.superseded_at is None:
            held.superseded_at = timezone.now()
            held.save(update_fields=["superseded_at"])
        if timezone.now() - held.superseded_at < HOLDS:
            note = "A newer answer appeared; this one holds for an hour, so that no pull sees two variants."
            return Answer(held.answer | {"reasons": [*held.answer["reasons"], note]}, held.commit)
    if remember and fit.commit is not None and fit.answer == "proven":
        _remember(repository, budget, body, fit.commit, version)
    return Answer(body, fit.commit)


def choose_now(repository: Repository, budget: Budget) -> Fit:
    """The choice as the catalogue stands, whatever a pull under way still gets."""
    version, device, _ = standing(repository, budget.canonical)
    return _choose(repository, budget, version, device)


def _choose(repository: Repository, budget: Budget, version: int, device: str) -> Fit:
    """choose() for a catalogue as it stands, remembered."""
    today = timezone.now()
    key = (repository.pk, version, budget.canonical, device, today.date())
    if (fit := _fits.get(key)) is not None:
        return fit
    known = _candidates.get((repository.pk, version))
    if known is None:
        known = candidates_of(current_source(repository))
        if catalogue_version(repository) != version:  # it changed while it was read: remembered by the next one
            return choose(known, budget, str(version), default_device=device, now=today)
        _candidates.put((repository.pk, version), known)
    wanted = budget.place("device")
    if wanted is not None and wanted != device:
        # Estimates rest on other models' records too, so their answers are not remembered.
        known = with_estimates(known, wanted, budget.whole_number("threads") or 1)
        return choose(known, budget, str(version), default_device=device, now=today)
    fit = choose(known, budget, str(version), default_device=device, now=today)
    _fits.put(key, fit)
    return fit


def forget() -> None:
    """Drop what this process remembers (tests: versions and ids begin anew)."""
    _fits.clear()
    _candidates.clear()


def candidates_of(source: SourceModel | None) -> list[Candidate]:
    """The variants of a family as choice.py takes them."""
    if source is None:
        return []
    rows = Variant.objects.filter(source=source).prefetch_related("footprints__device")
    return [_candidate(variant) for variant in rows]


def _candidate(variant: Variant) -> Candidate:
    return Candidate(
        name=variant.name,
        commit=variant.commit,
        status=variant.status,
        size_bytes=variant.size_bytes,
        is_baseline=variant.name == "onnx",
        needs_options=any(component.get("session_options") for component in variant.components),
        footprints=tuple(_figures(variant, row) for row in variant.footprints.all()),
    )


def _figures(variant: Variant, row: Footprint) -> Figures:
    energy_mj, energy_method = energy_of(row.record, row.device)
    latency_ms = row.record.get("latency_ms") or {}
    return Figures(
        device=row.device.name,
        threads=row.threads,
        runtime=row.runtime,
        opset=row.opset,
        format="onnx",
        trust=row.trust,
        noisy=row.noisy,
        stale=row.stale,
        size_bytes=row.size_bytes,
        peak_memory_bytes=row.peak_memory_bytes,
        p90_ms=row.p90_ms,
        p90_low_ms=latency_ms.get("p90_low"),
        p90_high_ms=latency_ms.get("p90_high"),
        p50_ms=row.p50_ms,
        cpu_ms=row.record.get("cpu_ms"),
        load_warm_ms=row.load_warm_ms,
        throughput_per_s=row.throughput_per_s,
        fidelity=variant.fidelity,
        energy_mj=energy_mj,
        energy_method=energy_method,
        ran_within_bytes=(row.record.get("ran_within") or {}).get("bytes"),
        measured_at=row.measured_at,
    )


def _body(repository: Repository, fit: Fit) -> dict[str, Any]:
    sentence = fit.sentence(repository.full_name)
    if fit.commit is None:
        source = current_source(repository)
        if source is not None and source.status == SourceModel.Status.MAKING:
            sentence += " Its variants are still being made and measured: ask again later."
    return fit.to_json() | {"sentence": sentence, "repository": repository.full_name}


def _remember(repository: Repository, budget: Budget, body: dict[str, Any], commit: str, version: int) -> None:
    FitAnswer.objects.update_or_create(
        repository=repository,
        budget=budget.canonical,
        defaults={"answer": body, "commit": commit, "catalogue_version": version, "superseded_at": None},
    )
    # Anyone may pull by any budget: the oldest answers make room.
    kept = FitAnswer.objects.filter(repository=repository).order_by("-pk").values_list("pk", flat=True)
    if oldest := list(kept[MOST_ANSWERS:]):
        FitAnswer.objects.filter(pk__in=oldest).delete()


def _still_stands(held: FitAnswer) -> bool:
    """A variant which was quarantined since, or whose family is gone, holds for nobody."""
    return Variant.objects.filter(
        source__repository=held.repository_id, commit=held.commit, status=Variant.Status.READY
    ).exists()


def with_known_device(budget: Budget) -> Budget:
    """The budget with its device by its full name. Raises BadRequest with the list of known ones."""
    device = budget.place("device")
    if device is None:
        return budget
    try:
        budget.require_known("device", known_names())
    except BudgetError as error:
        raise bad_budget(error) from error
    return replace(budget, where=tuple(sorted({**dict(budget.where), "device": canonical_name(device)}.items())))
