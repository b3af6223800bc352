"""Figures for people: units, honest precision, dates. A builtin library of every template (hub/settings.py)."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django import template
from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.errors import HubError

register = template.Library()
MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_BYTES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "KB"))
_AGES = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (30 * 86400, 86400, "d"))


@register.filter(name="bytes")
def in_bytes(value: Any) -> str:
    """Decimal units, as budgets use them, in three digits: 412 KB, 1.65 MB."""
    number = _number(value)
    if number is None:
        return MISSING
    for size, unit in _BYTES:
        # What would be rounded to 1000 is shown in the next unit.
        if number >= size * 0.9995:
            return f"{digits(number / size)} {unit}"
    return f"{number:.0f} B"


@register.filter
def amount(value: Any) -> str:
    """A number of parameters in three digits: 22.7M, 7.24B."""
    number = _number(value)
    if number is None:
        return MISSING
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size * 0.9995:
            return f"{digits(number / size)}{unit}"
    return f"{number:.0f}"


@register.filter
def ms(value: Any) -> str:
    """Milliseconds in three digits; below a tenth in µs, from ten thousand on in s."""
    number = _number(value)
    if number is None:
        return MISSING
    if number >= 10_000:
        return f"{digits(number / 1000)} s"
    return f"{digits(number)} ms" if number >= 0.1 else f"{digits(number * 1000)} µs"


@register.filter
def signed_bytes(value: Any) -> str:
    """As `bytes`, also below 0: −412 KB."""
    return _signed(value, in_bytes)


@register.filter
def signed_ms(value: Any) -> str:
    """As `ms`, also below 0."""
    return _signed(value, ms)


@register.filter
def seconds(value: Any) -> str:
    """Seconds in three digits; from two minutes on in minutes, from two hours on in hours."""
    number = _number(value)
    if number is None:
        return MISSING
    for size, unit in ((3600, "h"), (60, "min")):
        if abs(number) >= 2 * size:
            return f"{digits(number / size)} {unit}"
    return f"{digits(number)} s"


@register.filter
def joules(value: Any) -> str:
    """Energy in three digits: 3.2 mJ, 512 J, 1.4 kJ, 2.1 kWh."""
    number = _number(value)
    if number is None:
        return MISSING
    if abs(number) >= 3.6e6:
        return f"{digits(number / 3.6e6)} kWh"
    for size, unit in ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ")):
        if abs(number) >= size * 0.9995:
            return f"{digits(number / size)} {unit}"
    return f"{digits(number * 1e6)} µJ"


@register.filter
def millijoules(value: Any) -> str:
    """As `joules`, of a figure in mJ."""
    number = _number(value)
    return MISSING if number is None else joules(number / 1000)


@register.filter
def grams(value: Any) -> str:
    """Mass in three digits: 512 mg, 3.2 g, 1.4 kg."""
    number = _number(value)
    if number is None:
        return MISSING
    if abs(number) >= 999.5:
        return f"{digits(number / 1000)} kg"
    return f"{digits(number)} g" if abs(number) >= 0.9995 else f"{digits(number * 1000)} mg"


@register.filter
def times(value: Any) -> str:
    """A ratio to the source: ×0.26."""
    number = _number(value)
    return "" if number is None else f"×{number:.2f}" if number < 10 else f"×{digits(number)}"


@register.filter
def fidelity(value: Any, inputs: int | None = None) -> str:
    """From 0 to 1, rounded down, so that only what lost nothing is shown as 1. With few inputs, fewer digits."""
    number = _number(value)
    if number is None:
        return MISSING
    if number == 1:
        return "1"
    places = 4 if not inputs or inputs >= 1000 else 3
    return f"{math.floor(number * 10**places + 1e-9) / 10**places:.{places}f}"


@register.filter
def small(value: Any) -> str:
    """An error which may be tiny, in two digits: 0.012, 3.4 · 10⁻⁵."""
    number = _number(value)
    if number is None:
        return MISSING
    if number == 0 or number >= 0.001:
        return digits(number, 2)
    mantissa, exponent = f"{number:.1e}".split("e")
    return f"{mantissa} · 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


@register.filter
def percent(value: Any) -> str:
    number = _number(value)
    return MISSING if number is None else f"{number * 100:.1f} %"


@register.filter
def of_metric(metric: dict[str, Any], key: str) -> str:
    """A figure of a metric: a share as percent, what has another unit as it is."""
    number, unit = _number(metric.get(key)), metric.get("unit") or ""
    if number is None or metric.get("unit", "share") in ("share", None):
        return percent(number)
    return f"{number:,.2f} {unit}".strip()


@register.filter
def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    number = _number(value)
    return MISSING if number is None else f"{number:,.0f}"


@register.filter
def when(value: datetime | int | None) -> SafeString | str:
    """How long ago, with the exact time beneath: `3 h ago`, from a month on the day."""
    if value is None:
        return MISSING
    moment = datetime.fromtimestamp(value, UTC) if isinstance(value, int) else value.astimezone(UTC)
    seconds = max(0, (timezone.now() - moment).total_seconds())
    text = next((f"{seconds // unit:.0f} {name} ago" for limit, unit, name in _AGES if seconds < limit), "")
    text = "just now" if seconds < 5 else text or f"{moment.day} {moment:%b %Y}"
    iso = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return format_html('<time datetime="{}" title="{} UTC">{}</time>', iso, moment.strftime("%Y-%m-%d %H:%M:%S"), text)


@register.filter
def short(oid: str) -> str:
    """The first characters of a commit's name."""
    return str(oid)[:8]


@register.filter
def hue(name: str) -> int:
    """A colour's angle for a name: the same name always gets the same."""
    return sum(ord(character) * (n + 7) for n, character in enumerate(str(name))) * 37 % 360


@register.simple_tag
def actor_of(request: HttpRequest | str) -> Actor:
    """Who asks. A wrong token was refused already: the page which says so is shown as to anybody."""
    try:
        actor: Actor | None = getattr(request, "actor", None)
        return ANONYMOUS if actor is None or actor.is_anonymous else actor
    except HubError:
        return ANONYMOUS


@register.simple_tag
def hub_version() -> str:
    return str(settings.SPECTACULAR_SETTINGS["VERSION"])


def digits(number: float, wanted: int = 3) -> str:
    """A number in so many significant digits, never with an exponent: 0.0412, 4.12, 412, 4,120."""
    if number == 0:
        return "0"
    places = max(0, wanted - 1 - math.floor(math.log10(abs(number) * (1 + 5 * 10 ** -(wanted + 1)))))
    return f"{number:,.{places}f}"


def _signed(value: Any, shown: Callable[[Any], str]) -> str:
    number = _number(value)
    return f"−{shown(-number)}" if number is not None and number < 0 else shown(number)


def _number(value: Any) -> float | None:
    if value is None or isinstance(value, str | bool):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
