"""Acts on devices, and the ones which budgets can name."""

import re
from dataclasses import dataclass
from itertools import count
from typing import Any

from django.db.models import Count

from compression_service.devices.models import Device
from compression_service.devices.shipped import ALIASES, SHIPPED
from compression_service.engine.measure import machine
from models_registry.accounts.actors import Actor
from models_registry.accounts.models import User
from models_registry.accounts.policies import can_change_device
from models_registry.errors import Conflict

MOST_CHARACTERS = 80  # of a name which somebody sends


@dataclass(frozen=True)
class KnownDevice:
    """A device as it is listed: a row with its records, or a target that is only known by its datasheet."""

    name: str
    profile: dict[str, Any]
    origin: str  # worker, sent, datasheet
    records: int = 0
    sender_id: int | None = None  # of a profile which was sent

    @property
    def is_measured(self) -> bool:
        """Its speeds were measured; a datasheet never is."""
        return bool(self.profile.get("measured"))


def record_device(
    name: str, profile: dict[str, Any], origin: str = Device.Origin.WORKER, sender: User | None = None
) -> Device:
    """The device which a measuring session ran on, with its newest profile. What a worker took, nobody overwrites.

    Measured speeds stay when the new profile has none and is of the same machine, taken by the same hands.
    """
    defaults = {"profile": profile, "origin": origin, "sender": sender}
    device, created = Device.objects.get_or_create(name=name[:100], defaults=defaults)
    if created or (origin == Device.Origin.SENT and device.origin == Device.Origin.WORKER):
        return device
    if device.origin == origin and "measured" in device.profile and not machine.differs(profile, device.profile):
        profile = {"measured": device.profile["measured"]} | profile
    device.sender = None if origin == Device.Origin.WORKER else device.sender or sender
    device.origin, device.profile = origin, profile
    device.save()
    return device


def take_in_device(actor: Actor, name: str, profile: dict[str, Any]) -> Device:
    """The device of records which somebody sends, by its full name.

    Its profile is theirs who sent it first, and the administrators'; a worker's and a shipped target's stay what they
    are. Others may send records of the same class of machine. Raises Conflict for those of another one.
    """
    name = canonical_name(name)
    device = Device.objects.filter(name=name).first()
    is_free = device is None and name not in SHIPPED
    if is_free or (actor.is_superuser if device is None else can_change_device(actor, device)):
        return record_device(name, profile, Device.Origin.SENT, actor.user)
    known = _profile_of(name, device.profile if device else {})
    # Makers and kernels call the same processor by different names.
    stated = {key: value for key, value in known.items() if key != "processor" or "datasheet" not in known}
    if machine.differs(profile, stated):
        raise Conflict(
            f"{name} is another machine here ({machine.in_words(known)}) than yours ({machine.in_words(profile)}): name"
            f" yours otherwise, for example {_free_name(actor, name)} (fithub measure --device)."
        )
    if device is None:
        return Device.objects.get_or_create(name=name, defaults={"origin": Device.Origin.SENT})[0]
    if device.origin == Device.Origin.SENT and device.profile and device.sender_id is None:
        return record_device(name, profile, Device.Origin.SENT, actor.user)  # its sender's account is gone
    return device


def _free_name(actor: Actor, name: str) -> str:
    """The first of `name-alice`, `name-alice-2`, … under which this actor may send any profile."""
    user = re.sub("[^a-z0-9]+", "-", actor.name.lower()).strip("-") or "mine"
    ends = (f"-{user}" + (f"-{number}" if number > 1 else "") for number in count(1))
    names = (name[: MOST_CHARACTERS - len(end)] + end for end in ends)
    return next(one for one in names if _is_free_for(actor, one))


def _is_free_for(actor: Actor, name: str) -> bool:
    device = Device.objects.filter(name=name).first()
    return device is None or can_change_device(actor, device)


def has_measured_speeds(name: str) -> bool:
    """A worker measured the speeds of this device before, with a bench which runs networks too."""
    profile = Device.objects.filter(name=name, origin=Device.Origin.WORKER).values_list("profile", flat=True).first()
    by_threads = ((profile or {}).get("measured") or {}).get("threads") or {}
    return bool(by_threads) and all("ladder" in speeds for speeds in by_threads.values())


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
    found = [_known(row, row.records) for row in rows]
    taken = {one.name for one in found}
    return found + [KnownDevice(name, dict(one), "datasheet") for name, one in SHIPPED.items() if name not in taken]


def known_device(name: str) -> KnownDevice | None:
    """One of them, also by its short name."""
    wanted = canonical_name(name)
    return next((one for one in known_devices() if one.name == wanted), None)


def _known(row: Device, records: int) -> KnownDevice:
    profile = _profile_of(row.name, row.profile)
    origin = row.origin if row.profile or row.name not in SHIPPED else "datasheet"
    return KnownDevice(row.name, profile, origin, records, row.sender_id)


def _profile_of(name: str, own: dict[str, Any]) -> dict[str, Any]:
    """The row's own; of a shipped target of which only records were sent, its datasheet."""
    return own or dict(SHIPPED.get(name, {}))
