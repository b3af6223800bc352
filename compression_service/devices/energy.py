"""Energy of one inference: what a meter said, else processor time times the watts which the administrator states."""

from typing import Any

from django.conf import settings

from compression_service.devices.models import Device

ESTIMATE = "estimate"


def core_watts(device: Device) -> float | None:
    """Watts of one busy core of a device; None where the administrator stated none."""
    own = settings.DEVICE_WATTS.get(device.name)
    if own is None and device.origin == Device.Origin.WORKER:
        own = settings.CORE_WATTS or None
    return own


def energy_of(record: dict[str, Any], device: Device) -> tuple[float | None, str | None]:
    """(mJ an inference, method) of a footprint's record: `rapl`, … is measured, `estimate` is not (measuring.md §1.9).

    Computed when shown: the administrator's figure may change, the record does not.
    """
    metered = record.get("energy")
    if metered and metered["mj"] > 0:  # 0: lost in what the machine draws at rest
        return float(metered["mj"]), str(metered["method"])
    watts, cpu_ms = core_watts(device), record.get("cpu_ms")
    if watts is None or cpu_ms is None:
        return None, None
    return float(cpu_ms) * watts, ESTIMATE  # ms × W = mJ
