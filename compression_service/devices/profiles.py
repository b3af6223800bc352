"""What the profile of a sender's machine may hold. Pure: it is listed to everybody, and estimates read it."""

import json
from math import isfinite
from typing import Any

MOST_CHARACTERS = 16_384  # as JSON: a profile with speeds of two numbers of threads takes about 4,000
MOST_TEXT, MOST_NAMES = 200, 64
_TEXTS = ("processor", "vendor", "architecture", "kernel", "system")
_NUMBERS = ("clock_mhz", "cores", "memory_bytes")
_OF_TEXTS = ("family", "limits")


def problem_of(profile: dict[str, Any]) -> str:
    """Which part of a profile is none of a machine's, in words; "" when all of it may be kept."""
    for key in _TEXTS:
        if not _is_text(profile.get(key, "")) and profile[key] is not None:
            return f"{key} is no text of up to {MOST_TEXT} characters"
    for key in _NUMBERS:
        if not _is_number(profile.get(key, 0)) and profile[key] is not None:
            return f"{key} is no number"
    for key in _OF_TEXTS:
        found = profile.get(key, {})
        if not isinstance(found, dict) or not all(map(_is_text, found.values())):
            return f"{key} does not hold texts by name"
    sets = profile.get("instruction_sets", [])
    if not isinstance(sets, list) or len(sets) > MOST_NAMES or not all(map(_is_text, sets)):
        return f"instruction_sets is no list of up to {MOST_NAMES} names"
    if not _are_speeds(profile.get("measured")):
        return "measured does not hold speeds by number of threads"
    if len(json.dumps(profile)) > MOST_CHARACTERS:
        return f"it is longer than {MOST_CHARACTERS:,} characters"
    return ""


def _are_speeds(measured: Any) -> bool:
    if measured is None:
        return True
    by_threads = measured.get("threads") if isinstance(measured, dict) else None
    return isinstance(by_threads, dict) and all(
        isinstance(speeds, dict)
        and all(_is_number(value) for key, value in speeds.items() if key not in ("stretch", "ladder"))
        for speeds in by_threads.values()
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
