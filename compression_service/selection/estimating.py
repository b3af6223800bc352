"""Estimates out of rows: which devices have records and speeds, the fitted model, and candidates with its figures."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import product
from typing import Any

from django.utils import timezone

from compression_service.devices.models import Device
from compression_service.devices.services import canonical_name, default_device
from compression_service.devices.shipped import SHIPPED
from compression_service.selection import estimates
from compression_service.selection.candidates import PROVEN_TRUST, Candidate, Figures, best_record
from compression_service.selection.models import SpeedModel
from compression_service.variants.models import Footprint, Variant

REFIT_EVERY = timedelta(hours=1)
MOST_RECORDS = 4000  # of which a model is fitted, the newest
KEPT = 20
OF_SPEEDS = ("measured", "datasheet", "cores", "clock_mhz", "instruction_sets")  # of a profile: what estimates read


@dataclass(frozen=True)
class Ground:
    """What estimates rest on, read once: the fitted model, and what is known of devices."""

    model: estimates.Model
    profiles: dict[str, dict[str, Any]]  # of devices with rows
    targets: tuple[str, ...]  # devices for which every family is estimated: shipped ones and workers'
    default_device: str

    def profile(self, device: str) -> dict[str, Any] | None:
        return self.profiles.get(device) or SHIPPED.get(device)

    @property
    def digest(self) -> str:
        """Changes with all that would change estimates of the targets, but for the records of the family itself."""
        fitted = {key: value for key, value in asdict(self.model).items() if key != "pairs"}
        known = {name: self.profile(name) or {} for name in (*self.targets, self.default_device)}
        speeds = {name: {key: one[key] for key in OF_SPEEDS if key in one} for name, one in known.items()}
        for one in speeds.values():
            if isinstance(one.get("clock_mhz"), int | float):
                one["clock_mhz"] = round(one["clock_mhz"], -2)  # some kernels state the clock of this moment only
        text = json.dumps([fitted, speeds, self.default_device], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def ground() -> Ground:
    """As it is now."""
    rows = list(Device.objects.values_list("name", "profile", "origin"))
    workers = {name for name, _, origin in rows if origin == Device.Origin.WORKER}
    default = default_device()
    targets = tuple(sorted({*SHIPPED, *workers} - {default}))
    return Ground(current_model(), {name: profile for name, profile, _ in rows}, targets, default)


def with_estimates(candidates: list[Candidate], device: str, threads: int, on: Ground | None = None) -> list[Candidate]:
    """The candidates; those without a record in this place have an estimated one, where another device has records.

    A device whose own speeds nobody measured is estimated by its datasheet, and says so.
    """
    on = on or ground()
    device = canonical_name(device)
    profile = on.profile(device)
    if profile is None:
        return candidates
    found = ((name, estimates.speeds_of(one, threads)) for name, one in on.profiles.items())
    speeds = {name: known for name, known in found if known}
    measured = _measured_there(candidates, device, threads)
    made = []
    for one in candidates:
        by_ratio = (
            None
            if one.name in measured
            else _by_sibling(one, candidates, measured, (device, threads), on.model, speeds)
        )
        if by_ratio is not None:
            made.append(replace(one, footprints=(*one.footprints, by_ratio)))
        else:
            made.append(_with_estimate(one, device, profile, threads, on.model, on.profiles, speeds))
    return made


def with_all_estimates(candidates: list[Candidate], on: Ground) -> list[Candidate]:
    """The candidates with estimates for the targets and for each device on which one of the family was measured.

    None for the default device: a budget which names no device is answered by records only.
    """
    records = [record for one in candidates for record in one.footprints]
    devices = {*on.targets, *(record.device for record in records)} - {on.default_device}
    more: dict[str, list[Figures]] = {}
    for device, threads in product(sorted(devices), sorted({record.threads for record in records})):
        for before, after in zip(candidates, with_estimates(candidates, device, threads, on), strict=True):
            more.setdefault(before.name, []).extend(after.footprints[len(before.footprints) :])
    return [replace(one, footprints=(*one.footprints, *more.get(one.name, ()))) for one in candidates]


def _measured_there(candidates: list[Candidate], device: str, threads: int) -> dict[str, Figures]:
    """By name: quiet and fresh records of this place, whoever took them."""
    found: dict[str, list[Figures]] = {}
    for one in candidates:
        for record in one.footprints:
            usable = record.p90_ms and not record.noisy and not record.stale
            if usable and (record.device, record.threads) == (device, threads):
                found.setdefault(one.name, []).append(record)
    return {name: best_record(records) for name, records in found.items()}


def _by_sibling(
    candidate: Candidate, candidates: list[Candidate], measured: dict[str, Figures], place: tuple[str, int],
    model: estimates.Model, speeds: dict[str, estimates.Speeds],
) -> Figures | None:  # fmt: skip
    """By the ratio of a variant which was measured here and where this one was: the source if it can be, else the first
    by name; the device on which both have records, the first by name."""
    if candidate.status != "ready" or any((one.device, one.threads) == place for one in candidate.footprints):
        return None
    own = _proven(candidate, place[1])
    siblings = sorted((one for one in candidates if one.name in measured), key=lambda s: (not s.is_baseline, s.name))
    for sibling in siblings:
        theirs = _proven(sibling, place[1])
        for device in sorted(own.keys() & theirs.keys()):
            here = measured[sibling.name]
            mine, other, own_here = (
                _taken(name, figures)
                for name, figures in (
                    (candidate.name, own[device]),
                    (sibling.name, theirs[device]),
                    (sibling.name, here),
                )
            )
            ratio = estimates.speed_ratio(mine, other, speeds.get(device), speeds.get(here.device), model.int8_share)
            p90_ms = estimates.by_sibling(mine, other, own_here, ratio, speeds.get(device), speeds.get(here.device))
            on = speeds.get(here.device)
            return estimates.estimated_by_sibling(own[device], sibling.name, here.device, p90_ms, model, on)
    return None


def _proven(candidate: Candidate, threads: int) -> dict[str, Figures]:
    found: dict[str, list[Figures]] = {}
    for record in candidate.footprints:
        if record.threads == threads and record.is_proven and record.p90_ms:
            found.setdefault(record.device, []).append(record)
    return {device: best_record(records) for device, records in found.items()}


def _taken(name: str, figures: Figures) -> estimates.Taken:
    return estimates.Taken(
        name, estimates.is_int8(name), figures.device, figures.threads, figures.size_bytes or 0, figures.p90_ms or 0.0,
        figures.peak_memory_bytes or 0, cpu_ms=figures.cpu_ms, p50_ms=figures.p50_ms,
    )  # fmt: skip


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
    more = ("variant__source_id", "record__cpu_ms", "p50_ms")
    for pk, name, device, threads, size, p90_ms, memory, family, cpu_ms, p50_ms in rows.values_list(*columns, *more)[
        :MOST_RECORDS
    ]:
        taken = estimates.Taken(
            str(pk),
            estimates.is_int8(name),
            device,
            threads,
            size,
            p90_ms,
            memory,
            str(family),
            name == "onnx",
            cpu_ms,
            p50_ms,
        )
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
