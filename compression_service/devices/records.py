"""What a record that somebody sends must say, and which figures cannot be true. Pure: no Django here."""

import hashlib
import json
import re
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any, TypeGuard

from compression_service.devices import contents, profiles

MOST_RECORDS = 64  # of one sending
MOST_SAMPLES = 2000  # the harness keeps no more of a record
LEAST_SAMPLES = 64  # for a p90 (measuring.md §1.4)
HARNESSES = ("4", "5", "6")  # whose records are understood; the newest is the one of this hub's client
OLDEST = timedelta(days=30)
CLOCKS_APART = timedelta(minutes=10)
FASTEST_MS = 1e-4  # an empty session takes longer than 100 ns on anything
LEAST_MEMORY_BYTES = 5 * 1024 * 1024  # an interpreter with numpy and a runtime takes more anywhere
ROUNDED = 0.02  # how far the stated percentiles may lie from those of the samples that were kept
METERS = ("meter", "rapl", "nvml")
LEAST_WATTS = 1e-4  # above rest: the smallest microcontroller takes more
MOST_WATTS = 2000.0  # a thread: no machine draws more
MOST_NESTED = 24  # a curve in a profile is six deep
SAME_RUN = 0.005
MOST_COUNTED = 2**63  # more no database keeps, nor does a float take any whole number
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,79}")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+_-]{0,39}")


class RecordError(ValueError):
    """The record is refused. The message is one sentence which says what to do."""


@dataclass(frozen=True)
class Sent:
    """One record that can be true. `files`: path → sha256 of what was measured."""

    variant: str
    threads: int
    files: dict[str, str]
    p50_ms: float
    p90_ms: float
    peak_memory_bytes: int
    digest: str
    record: dict[str, Any]


@dataclass(frozen=True)
class Sending:
    """What one request brings."""

    device: str
    profile: dict[str, Any]
    runtime: str
    measured_at: datetime
    records: list[Sent]


def read(body: dict[str, Any], now: datetime) -> Sending:
    """A sending as it may be kept. Raises RecordError for the first thing which is missing, forged or impossible."""
    profile, identity, records = body.get("device"), body.get("identity"), body.get("records")
    if not (isinstance(profile, dict) and isinstance(identity, dict) and isinstance(records, list)):
        raise RecordError("Send an object with device, identity and records, as `fithub measure --submit` does.")
    _require_plain(body)
    harness = identity.get("harness")
    if harness not in HARNESSES:
        known = ", ".join(HARNESSES)
        raise RecordError(
            f"The harness {str(harness)[:20]!r} is not known here ({known} is): use the client of this hub."
        )
    name, cores, memory = profile.get("name"), profile.get("cores"), profile.get("memory_bytes")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecordError("The device's name must be 2 to 80 lower-case letters, digits, dots, dashes: give --device.")
    if not _is_count(cores, 4096) or not _is_count(memory, 2**50):
        raise RecordError(
            "The device's profile must state its cores and memory_bytes: send what `fithub device` prints."
        )
    if problem := profiles.problem_of(profile):
        raise RecordError(f"The device's profile is none of a machine, {problem}: send what `fithub device` prints.")
    versions = identity.get("versions")
    version = versions.get("onnxruntime") if isinstance(versions, dict) else None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise RecordError("The record must name the version of onnxruntime in identity.versions.")
    if not 1 <= len(records) <= MOST_RECORDS:
        raise RecordError(f"Send 1 to {MOST_RECORDS} records at a time, not {len(records)}.")
    measured = identity.get("variants")
    sent = [_record(one, measured if isinstance(measured, dict) else {}, cores, memory) for one in records]
    if len({(one.variant, one.threads) for one in sent}) != len(sent):
        raise RecordError("A variant appears twice with the same number of threads: send one record of each.")
    return Sending(name, profile, f"onnxruntime {version}", _moment(identity.get("measured_at"), now), sent)


def _require_plain(body: dict[str, Any]) -> None:
    """RecordError for what no database keeps: NUL characters, numbers which are none or too large, endless nesting."""
    level: list[Any] = [body]
    for _ in range(MOST_NESTED):
        if any(isinstance(value, int) and abs(value) >= MOST_COUNTED for value in level):
            raise RecordError("The record holds whole numbers which no machine counts to: measure again.")
        boxes = [
            value.values() if isinstance(value, dict) else value for value in level if isinstance(value, dict | list)
        ]
        level = [one for box in boxes for one in box]
    if level:
        raise RecordError("The record is nested deeper than any of the harness: send what `fithub measure` took.")
    try:
        text = json.dumps(body, allow_nan=False)
    except ValueError as error:
        raise RecordError("The record holds numbers which are not finite: measure again.") from error
    if "\\u0000" in text:
        raise RecordError("The record holds NUL characters: send what `fithub measure` took, unchanged.")


def resembles(samples: list[float], others: list[float]) -> bool:
    """Whether samples are another run's in another order, in part, scaled, shifted or with a little noise.

    Two runs of the same machine never have the same distribution to half a percent of its spread: of 2,000 samples of
    each, percentiles lie a few percent of it apart by chance alone.
    """
    distinct = set(samples)
    if len(distinct) > 0.9 * len(samples) and len(distinct.intersection(others)) > 0.5 * len(distinct):
        return True  # parts of it: a clock which tells all inferences apart seldom shows the same time again
    own, theirs = (statistics.quantiles(one, n=100, method="inclusive") for one in (samples, others))
    spreads = [found[89] - found[9] for found in (own, theirs)]
    if not all(spreads):
        return own == theirs
    return all(
        abs((mine - own[49]) / spreads[0] - (other - theirs[49]) / spreads[1]) < SAME_RUN
        for mine, other in zip(own, theirs, strict=True)
    )


def _record(one: Any, measured: dict[str, Any], cores: int, memory: int) -> Sent:
    if not isinstance(one, dict) or not isinstance(one.get("variant"), str) or len(one["variant"]) > 80:
        raise RecordError("Each record must name its variant.")
    name = one["variant"]
    if one.get("error"):
        raise RecordError(f"The record of {name} is of a run which failed: send only what was measured.")
    if not _is_count(one.get("threads"), 4096) or one["threads"] > cores:
        raise RecordError(
            f"The record of {name} must say how many threads it took, at most the device's {cores} cores."
        )
    own = measured.get(name)
    files = own.get("files") if isinstance(own, dict) else None
    if not isinstance(files, dict) or not files or not all(_is_sha256(value) for value in files.values()):
        raise RecordError(f"identity.variants must name every measured file of {name} with its sha256.")
    samples = _samples(name, one.get("samples_ms"))
    p50, p90 = (_percentile(name, one, samples, which) for which in (50, 90))
    peak, baseline = one.get("peak_memory_bytes"), one.get("baseline_memory_bytes")
    if not _is_count(peak, 2**50) or not LEAST_MEMORY_BYTES <= peak <= memory:
        raise RecordError(f"The peak memory of {name} is not possible on a machine with {memory:,} bytes.")
    if not _is_count(baseline, 2**50) or baseline > peak:
        raise RecordError(f"The runtime alone took more memory than all of {name}: the record is not whole.")
    _require_energy(name, one, min(samples), max(samples) * one["threads"])
    kept, problem = contents.kept_of(one)
    if problem:
        raise RecordError(f"The record of {name} is none of the harness, {problem}: send what `fithub measure` took.")
    text = json.dumps([sorted(samples), sorted(files.items())], separators=(",", ":"))  # in whatever order they come
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Sent(name, one["threads"], files, p50, p90, peak, digest, kept)


def _require_energy(name: str, one: dict[str, Any], least_ms: float, most_cpu_ms: float) -> None:
    """What energy is told by: joules of a meter, or the processor time of an inference."""
    cpu_ms, energy = one.get("cpu_ms"), one.get("energy")
    # Threads which wait for work spin between inferences too: a little more than all of the time of the slowest one.
    if cpu_ms is not None and not (_is_amount(cpu_ms) and 0 < cpu_ms <= 2 * most_cpu_ms):
        raise RecordError(f"The processor time of {name} is not possible: more than its threads had, or none.")
    if energy is not None and not (
        isinstance(energy, dict) and _is_amount(energy.get("mj")) and energy.get("method") in METERS
        and energy["mj"] <= most_cpu_ms * MOST_WATTS
        and (energy["mj"] == 0 or energy["mj"] >= least_ms * LEAST_WATTS)
    ):  # fmt: skip
        raise RecordError(f"The energy of {name} must be mj, 0 or more, by one of {', '.join(METERS)}, or left out.")


def _samples(name: str, given: Any) -> list[float]:
    if not isinstance(given, list) or not LEAST_SAMPLES <= len(given) <= MOST_SAMPLES:
        raise RecordError(f"The record of {name} must carry {LEAST_SAMPLES} to {MOST_SAMPLES:,} raw samples_ms.")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        raise RecordError(f"The samples of {name} must be numbers.")
    samples = [float(value) for value in given]
    if not all(isfinite(value) and FASTEST_MS <= value < 1e9 for value in samples):
        raise RecordError(f"The samples of {name} hold times which no machine takes.")
    if len(set(samples)) < len(samples) // 100 + 2:
        raise RecordError(f"The samples of {name} are all alike: no clock measures that.")
    return samples


def _percentile(name: str, one: dict[str, Any], samples: list[float], which: int) -> float:
    """What the samples say; the stated figure has to agree with it."""
    ordered = sorted(samples)
    place = which / 100 * (len(ordered) - 1)
    low = int(place)
    own = ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])
    latency = one.get("latency_ms")
    stated = latency.get(f"p{which}") if isinstance(latency, dict) else None
    if not isinstance(stated, int | float) or isinstance(stated, bool) or not isfinite(stated):
        raise RecordError(f"The record of {name} must state latency_ms.p{which}.")
    count = latency.get("count") if isinstance(latency, dict) else None
    # Of many runs the record keeps some: their percentiles lie a little apart.
    apart = ROUNDED if count == len(samples) else 0.10
    if abs(stated - own) > apart * own:
        raise RecordError(f"The p{which} of {name} is not that of its samples: the record was changed.")
    return float(stated)


def _moment(text: Any, now: datetime) -> datetime:
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise RecordError("identity.measured_at must be a moment like 2026-11-22T10:00:00Z.") from error
    if moment > now + CLOCKS_APART:
        raise RecordError("The record comes from the future: set the clock of the machine, and measure again.")
    if moment < now - OLDEST:
        raise RecordError(f"The record is older than {OLDEST.days} days: measure again.")
    return moment


def _is_count(value: Any, most: int) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_amount(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
