"""Estimates out of rows: which devices have records and speeds, the fitted model, and candidates with its figures."""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

from django.utils import timezone

from compression_service.devices.models import Device
from compression_service.devices.services import known_device
from compression_service.selection import estimates
from compression_service.selection.candidates import PROVEN_TRUST, Candidate, Figures, best_record
from compression_service.selection.models import SpeedModel
from compression_service.variants.models import Footprint, Variant

REFIT_EVERY = timedelta(hours=1)
MOST_RECORDS = 4000  # of which a model is fitted, the newest
KEPT = 20


def with_estimates(candidates: list[Candidate], device: str, threads: int) -> list[Candidate]:
    """The candidates; those without a record in this place have an estimated one, where another device has records.

    A device whose own speeds nobody measured is estimated by its datasheet, and says so.
    """
    target = known_device(device)
    if target is None:
        return candidates
    model = current_model()
    profiles = dict(Device.objects.values_list("name", "profile"))
    speeds = {name: found for name, profile in profiles.items() if (found := estimates.speeds_of(profile, threads))}
    return [_with_estimate(one, target.name, target.profile, threads, model, profiles, speeds) for one in candidates]


def _with_estimate(
    candidate: Candidate, device: str, profile: dict[str, Any], threads: int, model: estimates.Model,
    profiles: dict[str, dict[str, Any]], speeds: dict[str, estimates.Speeds],
) -> Candidate:  # fmt: skip
    places: dict[str, list[Figures]] = {}
    for record in candidate.footprints:
        if record.threads == threads and record.is_proven and record.device in speeds:
            places.setdefault(record.device, []).append(record)
    if any((one.device, one.threads) == (device, threads) for one in candidate.footprints) or not places:
        return candidate
    own = speeds.get(device)
    ranked = []
    for name, records in places.items():
        here = own or _by_datasheet(profile, threads, profiles[name])
        if here is not None:
            ranked.append((estimates.apart(speeds[name], here), name, best_record(records), here))
    if not ranked:
        return candidate
    _, name, there, here = min(ranked, key=lambda one: one[:2])
    made = estimates.estimated(candidate, model, device, there, (speeds[name], here))
    return replace(candidate, footprints=(*candidate.footprints, made))


def _by_datasheet(profile: dict[str, Any], threads: int, reference: dict[str, Any]) -> estimates.Speeds | None:
    sheet = profile.get("datasheet")
    if not sheet or threads > (profile.get("cores") or 1):
        return None
    return estimates.datasheet_speeds(sheet, threads, reference)


def current_model() -> estimates.Model:
    """The newest fitted model; without one, latencies go by the ratio of computing speeds alone."""
    row = SpeedModel.objects.order_by("-pk").first()
    return estimates.Model(**row.fitted) if row is not None else estimates.Model()


def refit() -> estimates.Model | None:
    """Fit the model anew when there are newer records and the last one is an hour old. None: nothing to do."""
    last = SpeedModel.objects.order_by("-pk").first()
    newest = Footprint.objects.order_by("-measured_at").values_list("measured_at", flat=True).first()
    if newest is None or (last and (last.newest_record == newest or timezone.now() - last.created_at < REFIT_EVERY)):
        return None
    records, speeds = _records()
    if len({record.device for record in records}) < 2:
        return None
    model = estimates.fit(records, speeds)
    SpeedModel.objects.create(fitted=asdict(model), newest_record=newest)
    SpeedModel.objects.filter(
        pk__in=list(SpeedModel.objects.order_by("-pk").values_list("pk", flat=True)[KEPT:])
    ).delete()
    return model


def _records() -> tuple[list[estimates.Taken], dict[tuple[str, int], estimates.Speeds]]:
    """Quiet, fresh records of variants which more than one device has."""
    rows = Footprint.objects.filter(
        trust__in=PROVEN_TRUST, noisy=False, stale=False, disputed=False, variant__status=Variant.Status.READY,
        p90_ms__gt=0, peak_memory_bytes__gt=0,
    ).order_by("-measured_at")  # fmt: skip
    found: dict[tuple[int, str, int], estimates.Taken] = {}
    columns = ("variant_id", "variant__name", "device__name", "threads", "size_bytes", "p90_ms", "peak_memory_bytes")
    for pk, name, device, threads, size, p90_ms, memory in rows.values_list(*columns)[:MOST_RECORDS]:
        taken = estimates.Taken(str(pk), estimates.is_int8(name), device, threads, size, p90_ms, memory)
        found.setdefault((pk, device, threads), taken)
    shared: dict[tuple[int, int], set[str]] = {}
    for pk, device, threads in found:
        shared.setdefault((pk, threads), set()).add(device)
    kept = [one for (pk, _, threads), one in found.items() if len(shared[pk, threads]) > 1]
    speeds = {}
    for name, profile in Device.objects.values_list("name", "profile"):
        for threads in {one.threads for one in kept}:
            if (known := estimates.speeds_of(profile, threads)) is not None:
                speeds[name, threads] = known
    return kept, speeds
