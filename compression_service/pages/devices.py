"""The list of devices, and the page of one: what was measured there, and where each figure comes from."""

from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeGuard
from urllib.parse import quote

from django.db.models import QuerySet
from django.db.models.fields.json import KeyTransform

from compression_service.devices.energy import core_watts, energy_of
from compression_service.devices.models import Device
from compression_service.devices.services import KnownDevice, default_device, known_device, known_devices
from compression_service.devices.shipped import ALIASES
from compression_service.pages.family import variant_link
from compression_service.selection import ladders
from compression_service.variants.models import Footprint
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import readable_by
from models_registry.errors import NotFound
from models_registry.pages.templatetags.figures import digits, in_bytes

RECORDS_SHOWN = 100
LONGEST = 300  # characters of what somebody sent
ORIGINS = {
    "worker": ("measured by a worker", "proven", "A worker of this hub takes its profile and measures there."),
    "sent": ("sent in", "likely", "Somebody's machine, as `fithub measure --submit` described it."),
    "datasheet": ("datasheet", "unknown", "What its maker states; none of it was measured by this hub."),
}
_KERNEL = {"worker": "told by the machine's kernel", "sent": "as its sender's client read it", "datasheet": "datasheet"}
_PLAIN = (
    ("processor", "Processor"), ("architecture", "Architecture"), ("instruction_sets", "Instruction sets"),
    ("cores", "Cores"), ("memory_bytes", "Memory"), ("clock_mhz", "Clock"), ("system", "System"), ("kernel", "Kernel"),
    ("limits", "Limits of its container"),
)  # fmt: skip
_SPEEDS = (
    ("fp32_gflops", "fp32 matrix products", "GFLOP/s"), ("int8_gops", "int8 matrix products", "GOP/s"),
    ("copy_gb_s", "Copying memory", "GB/s"), ("dispatch_us", "One call of an empty session", "µs"),
    ("share", "Endless work runs for this share of the time", ""),
)  # fmt: skip
_SHEET = {
    "clock_ghz": ("Clock", "GHz"),
    "peak_fp32_gflops_a_core": ("Peak of fp32, a core", "GFLOP/s"),
    "peak_int8_gops_a_core": ("Peak of int8, a core", "GOP/s"),
    "peak_memory_gb_s": ("Peak of memory", "GB/s"),
}


@dataclass(frozen=True)
class Fact:
    """One figure of a profile, and where it comes from."""

    label: str
    text: str
    source: str


def device_link(name: str) -> str:
    return f"/devices/{quote(name, safe='')}"


def list_context() -> dict[str, Any]:
    rows = [(one, device_link(one.name), ORIGINS[one.origin], _brief(one.profile)) for one in known_devices()]
    return {"rows": rows, "default": default_device()}


def device_context(actor: Actor, name: str) -> dict[str, Any]:
    """Raises NotFound."""
    one = known_device(name)
    if one is None:
        raise NotFound(f"There is no device {name[:80]!r} here: /devices lists those which a budget can name.")
    records = _records(actor, one)
    own = Device.objects.filter(name=one.name).first()
    return {
        "device": one,
        "origin": ORIGINS[one.origin],
        "title": _text(one.profile.get("title")),
        "facts": facts_of(one),
        "speeds": speeds_of(one.profile),
        "aliases": sorted(short for short, full in ALIASES.items() if full == one.name),
        "core_watts": core_watts(own) if own else None,
        "is_default": one.name == default_device(),
        "records": [
            (
                row,
                row.variant.source.repository,
                variant_link(row.variant.source.repository, row.variant.name),
                *energy_of({"cpu_ms": row.cpu_ms, "energy": row.energy}, row.device),  # type: ignore[attr-defined]
            )
            for row in records[:RECORDS_SHOWN]
        ],
        "more": len(records) > RECORDS_SHOWN,
    }


def facts_of(one: KnownDevice) -> list[Fact]:
    """What is known of the machine itself. A sender's profile may hold anything: only plain values are shown."""
    found = [
        Fact(label, text, _KERNEL[one.origin]) for key, label in _PLAIN if (text := _shown(key, one.profile.get(key)))
    ]
    sheet: dict[str, Any] = one.profile["datasheet"] if one.origin == "datasheet" else {"sources": {}}
    for key, source in sheet["sources"].items():
        label, unit = _SHEET[key]
        found.append(Fact(label, f"{digits(sheet[key])} {unit}", source))
    return found


def speeds_of(profile: dict[str, Any]) -> dict[str, Any] | None:
    """Measured speeds as a table; None where none are.

    {"threads": [words], "rows": [(label, [(words of the column, text)])], "cold_read", "at"}.
    """
    measured = profile.get("measured")
    if not isinstance(measured, dict) or not isinstance(by_threads := measured.get("threads"), dict):
        return None
    columns = [(count, row) for count, row in by_threads.items() if count.isdecimal() and isinstance(row, dict)]
    columns.sort(key=lambda column: int(column[0]))
    rows = [(label, [_speed(row.get(key), unit) for _, row in columns]) for key, label, unit in _SPEEDS]
    rows += _networks([row for _, row in columns])
    cold = measured.get("cold_read_mb_s")
    threads = [f"{count} thread{'' if int(count) == 1 else 's'}" for count, _ in columns]
    return {
        "threads": threads, "rows": [(label, list(zip(threads, texts, strict=True))) for label, texts in rows],
        "at": _text(measured.get("measured_at")),
        "cold_read": f"{digits(cold)} MB/s" if _is_number(cold) else "",
    }  # fmt: skip


def _networks(columns: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """A row for each network of the ladder: the p50 and p90 of each column."""
    by_side = [{rung.side: rung for rung in ladders.known(column.get("ladder"))} for column in columns]
    found = []
    for side in sorted({side for column in by_side for side in column}):
        texts = [_typical_and_slow(column[side]) if side in column else "–" for column in by_side]
        found.append((f"A network, 8 layers of {side:g}: p50, p90", texts))
    return found


def _typical_and_slow(rung: ladders.Rung) -> str:
    return f"{digits(rung.typical_ms)}, {digits(rung.slow_ms)} ms"


def _records(actor: Actor, one: KnownDevice) -> list[Footprint]:
    """The newest of models which this actor may see; raw samples stay in the database."""
    rows: QuerySet[Footprint] = Footprint.objects.filter(
        readable_by(actor, "variant__source__repository__"), device__name=one.name
    )
    rows = rows.select_related("variant__source__repository__namespace", "device").defer(
        "record", "variant__passes", "variant__definition", "variant__provenance", "variant__source__detail"
    )
    rows = rows.annotate(cpu_ms=KeyTransform("cpu_ms", "record"), energy=KeyTransform("energy", "record"))
    return list(rows.order_by("-measured_at", "-pk")[: RECORDS_SHOWN + 1])


def _brief(profile: dict[str, Any]) -> str:
    parts = [_shown(key, profile.get(key)) for key in ("processor", "memory_bytes")]
    cores = profile.get("cores")
    return " · ".join(filter(None, [parts[0], f"{cores} cores" if _is_number(cores) else "", parts[1]]))


def _shown(key: str, value: Any) -> str:
    if key == "memory_bytes":
        return in_bytes(value) if _is_number(value) else ""
    if key == "clock_mhz":
        return f"{digits(value)} MHz" if _is_number(value) else ""
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))[:LONGEST]
    if isinstance(value, dict):
        return ", ".join(f"{_text(name)} {_text(one)}" for name, one in value.items())[:LONGEST]
    return _text(value)


def _speed(value: Any, unit: str) -> str:
    return f"{digits(value)} {unit}".rstrip() if _is_number(value) else "–"


def _text(value: Any) -> str:
    return str(value)[:LONGEST] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
