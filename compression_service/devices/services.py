"""Acts on devices."""

from typing import Any

from compression_service.devices.models import Device


def record_device(name: str, profile: dict[str, Any]) -> Device:
    """The device which a measuring session ran on, with its newest profile."""
    device, _ = Device.objects.update_or_create(name=name[:100], defaults={"profile": profile})
    return device


def default_device() -> str:
    """The device whose figures answer a budget which names none: the one which measured last."""
    return Device.objects.order_by("-seen_at").values_list("name", flat=True).first() or ""
