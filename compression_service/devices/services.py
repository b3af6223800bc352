"""Acts on devices, and the ones which budgets can name."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Count

from compression_service.devices.models import Device
from compression_service.devices.shipped import ALIASES, SHIPPED


@dataclass(frozen=True)
class KnownDevice:
    """A device as it is listed: a row with its records, or a target that is only known by its datasheet."""

    name: str
    profile: dict[str, Any]
    origin: str  # worker, sent, datasheet
    records: int = 0

    @property
    def is_measured(self) -> bool:
        """Its speeds were measured; a datasheet never is."""
        return bool(self.profile.get("measured"))


def record_device(name: str, profile: dict[str, Any], origin: str = Device.Origin.WORKER) -> Device:
    """The device which a measuring session ran on, with its newest profile. What a worker took, nobody overwrites.

    Measured speeds stay when the new profile has none.
    """
    device, created = Device.objects.get_or_create(name=name[:100], defaults={"profile": profile, "origin": origin})
    if created or (origin == Device.Origin.SENT and device.origin == Device.Origin.WORKER):
        return device
    device.origin = origin
    device.profile = {key: device.profile[key] for key in ("measured",) if key in device.profile} | profile
    device.save()
    return device


def has_measured_speeds(name: str) -> bool:
    """A worker measured the speeds of this device before, and what limits it."""
    profile = Device.objects.filter(name=name, origin=Device.Origin.WORKER).values_list("profile", flat=True).first()
    by_threads = ((profile or {}).get("measured") or {}).get("threads") or {}
    return bool(by_threads) and all("share" in speeds for speeds in by_threads.values())


def default_device() -> str:
    """The device whose figures answer a budget which names none: the one on which a worker measured last."""
    rows = Device.objects.filter(origin=Device.Origin.WORKER).order_by("-seen_at")
    return rows.values_list("name", flat=True).first() or ""


def canonical_name(name: str) -> str:
    """The full name behind a short one (`rpi5`)."""
    return ALIASES.get(name, name)


def known_names() -> set[str]:
    """What `device=` takes: devices with rows, shipped targets, and short names."""
    return {*Device.objects.values_list("name", flat=True), *SHIPPED, *ALIASES}


def known_devices() -> list[KnownDevice]:
    """All of them, those with most records first."""
    rows = Device.objects.annotate(records=Count("footprints")).order_by("-records", "name")
    found = [KnownDevice(row.name, row.profile, row.origin, row.records) for row in rows]
    taken = {one.name for one in found}
    return found + [KnownDevice(name, dict(one), "datasheet") for name, one in SHIPPED.items() if name not in taken]


def known_device(name: str) -> KnownDevice | None:
    """One of them, also by its short name."""
    wanted = canonical_name(name)
    return next((one for one in known_devices() if one.name == wanted), None)
