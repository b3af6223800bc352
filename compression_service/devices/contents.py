"""Of a record that somebody sends, what is kept: the harness's own keys, each of the right kind. Pure.

Footprints, pages, ledger and other people's clients read records, so that nothing else may get into one.
"""

import json
from math import isfinite, prod
from typing import Any

MOST_TEXT = 2000  # the reasons for noise, one a window, are the longest
MOST_ENTRIES = 64
MOST_CHARACTERS = 32_768  # of a part which is kept as it is, as JSON
LONGEST_MS = 24 * 3600 * 1000.0  # of a session, and so of all in it
ROUNDED_UP = 1.001
RUNS_FOR = {"p95": 130, "p99": 662}  # measuring.md §1.4; the p90 is checked against the samples
MOST_ELEMENTS = 10**8  # of one input: whoever measures again makes inputs by these shapes
_NUMBERS = (
    "throughput_per_s", "peak_memory_bytes", "baseline_memory_bytes", "added_memory_bytes", "anonymous_bytes",
    "file_backed_bytes", "size_bytes", "wire_bytes", "seconds", "cpu_ms", "threads",
)  # fmt: skip
_TEXTS = ("variant", "load_note", "samples_note", "noise", "provider")
_BY_NAME = ("load_ms", "latency_ms", "ratio_to_source", "windows", "warmup", "ran_within", "energy")
_WITH_WORDS = ("ran_within", "energy")  # by which means
_WHOLE = ("session_options", "inputs", "input_shapes")


def kept_of(record: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """(what is kept of a record, which part is of the wrong kind in words, or "")."""
    kept: dict[str, Any] = {"noisy": bool(record.get("noisy")), "samples_ms": record.get("samples_ms")}
    for key in (*_NUMBERS, *_TEXTS, *_BY_NAME, *_WHOLE):
        value = record.get(key)
        if value is None:
            continue
        if key in _NUMBERS:
            problem = "" if _is_amount(value) else "is no number from 0 on"
        elif key in _TEXTS:
            problem = "" if _is_text(value) else f"is no text of up to {MOST_TEXT} characters"
        elif key in _BY_NAME:
            problem = "" if _are_figures(value, with_words=key in _WITH_WORDS) else "does not hold figures by name"
        else:
            problem = "" if isinstance(value, dict) and len(json.dumps(value)) <= MOST_CHARACTERS else "is too long"
        if not problem and key == "input_shapes" and not _are_inputs(value):
            problem = "does not describe inputs by component and name"
        if problem:
            return {}, f"{key} {problem}"
        kept[key] = value
    return kept, _impossible(kept)


def _impossible(kept: dict[str, Any]) -> str:
    """Figures which contradict others of the same record."""
    peak = kept["peak_memory_bytes"]
    fastest = min(kept["samples_ms"])
    if (kept.get("throughput_per_s") or 0) * fastest > 1000 * 1.001:
        return "throughput_per_s is higher than that of its fastest sample"
    if any((kept.get(key) or 0) > peak for key in ("added_memory_bytes", "baseline_memory_bytes")):
        return "added_memory_bytes is more than the peak"
    limit = (kept.get("ran_within") or {}).get("bytes")
    if kept.get("ran_within") is not None and (not _is_amount(limit) or limit is None or limit < peak):
        return "ran_within is no limit in bytes, or lies below the peak"
    if any(not _is_amount(value) or value > LONGEST_MS for value in _stated(kept, "load_ms").values()):
        return "load_ms holds what is no time"
    if any(not _is_amount(value) or not value for value in _stated(kept, "ratio_to_source").values()):
        return "ratio_to_source holds what is no ratio"
    return _impossible_latency(_stated(kept, "latency_ms"), kept["samples_ms"], kept.get("throughput_per_s"))


def _impossible_latency(latency: dict[str, Any], samples: list[float], throughput: float | None) -> str:
    if not all(map(_is_amount, latency.values())):
        return "latency_ms holds what is no time"
    ordered = [latency[key] for key in ("min", "p50", "p90", "p95", "p99") if key in latency]
    count = latency.get("count", len(samples))
    if ordered != sorted(ordered) or ordered[0] <= 0 or latency.get("min", 0) > min(samples) * ROUNDED_UP:
        return "latency_ms holds percentiles which are not in order"
    reach = [latency[key] for key in ("p90_low", "p90", "p90_high") if key in latency]
    if reach != sorted(reach):
        return "latency_ms holds a p90 which lies outside of its range"
    if not isinstance(count, int) or count < len(samples) or count * latency.get("p50", 0) > LONGEST_MS:
        return "latency_ms.count is not how many runs there were"
    if any(key in latency and count < runs for key, runs in RUNS_FOR.items()):
        return "latency_ms holds percentiles for which its runs are too few"
    if not ordered[0] <= latency.get("mean", ordered[0]) <= LONGEST_MS:
        return "latency_ms.mean lies below its fastest run"
    if throughput is not None and throughput * latency.get("mean", 2 * max(samples)) < 1000 * 0.99:
        return "throughput_per_s is lower than that of its samples"
    return ""


def _stated(kept: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in (kept.get(key) or {}).items() if value is not None}


def _are_figures(value: Any, *, with_words: bool) -> bool:
    return (
        isinstance(value, dict)
        and len(value) <= MOST_ENTRIES
        and all(
            one is None or (isinstance(one, int | float) and isfinite(one)) or (with_words and _is_text(one))
            for one in value.values()
        )
    )


def _are_inputs(value: dict[str, Any]) -> bool:
    return all(
        isinstance(inputs, dict) and all(_is_input(described) for described in inputs.values())
        for inputs in value.values()
    )


def _is_input(described: Any) -> bool:
    shape = described.get("shape") if isinstance(described, dict) else None
    return (
        isinstance(shape, list)
        and all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= MOST_ELEMENTS for one in shape)
        and len(shape) <= MOST_ENTRIES
        and prod(shape) <= MOST_ELEMENTS
        and _is_text(described.get("dtype", ""))
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MOST_TEXT


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0
