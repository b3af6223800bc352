"""What a choice is made from: variants with their figures, and which of them another one beats. Pure: no Django."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

PROVEN_TRUST = ("verified", "confirmed")
AXES = ("size_bytes", "peak_memory_bytes", "p90_ms", "fidelity")  # fidelity: more is better, the others: less


@dataclass(frozen=True)
class Figures:
    """One footprint of a variant in one place. None where something was not measured (measuring.md §3.8)."""

    device: str
    threads: int = 1
    runtime: str | None = None  # e.g. "onnxruntime 1.31.0"
    opset: int | None = None
    format: str | None = None  # e.g. "onnx"
    trust: str = "verified"  # verified, confirmed, reported, estimated
    noisy: bool = False
    stale: bool = False
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None
    p90_ms: float | None = None
    p90_low_ms: float | None = None  # of the quietest and of the busiest slice of its session
    p90_high_ms: float | None = None
    p50_ms: float | None = None
    cpu_ms: float | None = None  # processor time of an inference, of all threads
    load_warm_ms: float | None = None
    throughput_per_s: float | None = None
    fidelity: float | None = None  # 0..1
    energy_mj: float | None = None
    energy_method: str | None = None  # meter, rapl, nvml, estimate
    estimated_from: str | None = None  # the device whose record was scaled
    estimated_by: str | None = None  # a variant of the same model which was measured in both places
    estimate_error: float | None = None  # p90 of it on devices left out; None: never measured
    ran_within_bytes: int | None = None  # a limit under which it really ran
    measured_at: datetime | None = None

    def __post_init__(self) -> None:
        # NaN compares with nothing: such a figure was not measured, and must neither win nor pass a limit.
        for name, value in vars(self).copy().items():
            if isinstance(value, float) and not isfinite(value):
                object.__setattr__(self, name, None)

    def to_json(self) -> dict[str, Any]:
        """All of it; moments as ISO 8601."""
        at = self.measured_at
        return {**vars(self), "measured_at": at.isoformat() if at is not None else None}

    @property
    def is_proven(self) -> bool:
        """Fresh, quiet, and measured here or by senders who agree."""
        return self.trust in PROVEN_TRUST and not self.noisy and not self.stale

    @property
    def _estimate_in_words(self) -> str:
        if self.estimated_from is None:
            return "they are estimated from another device"
        by = f" by the ratio of {self.estimated_by}" if self.estimated_by else ""
        if self.estimate_error is None:
            return f"they are estimated from {self.estimated_from}{by}, and nobody measured how wrong that is"
        return f"they are estimated from {self.estimated_from}{by}, 9 of 10 within {self.estimate_error:.0%} in tests"

    @property
    def doubt(self) -> str:
        """Why these figures are not proven, as half a sentence; empty when they are."""
        doubts = {
            "they were reported by one sender only": self.trust == "reported",
            self._estimate_in_words: self.trust not in (*PROVEN_TRUST, "reported"),
            "the machine was not quiet while measuring": self.noisy,
            "they are older than the runtime in use": self.stale,
        }
        return " and ".join(text for text, holds in doubts.items() if holds)


@dataclass(frozen=True)
class Candidate:
    """A variant, at the commit which a budget would resolve to."""

    name: str
    commit: str
    status: str = "ready"  # ready, making, quarantined, failed, not_applicable
    footprints: tuple[Figures, ...] = ()
    size_bytes: int | None = None  # of its files: known before anything was measured
    is_baseline: bool = False  # the converted source model itself: by definition nothing is lost
    needs_options: bool = False  # its figures hold with session options which whoever loads it has to set


def best_record(records: Iterable[Figures]) -> Figures:
    """Of records (at least one) of one variant in one place: a proven one, else the newest, else the slowest."""
    records = list(records)
    if len(records) == 1:
        return records[0]
    return max(
        records,
        key=lambda record: (
            record.is_proven,
            record.measured_at.timestamp() if record.measured_at else float("-inf"),
            record.p90_ms or 0.0,
            repr(record),
        ),
    )


def beaten_by(candidates: Sequence[Candidate]) -> dict[str, list[str]]:
    """For every candidate the names of those which beat it: no worse in size, memory, p90 and fidelity and better in
    one, on every device and thread count where both have proven and complete figures (and there is such a place)."""
    places = {candidate.name: _proven_places(candidate) for candidate in candidates}
    result: dict[str, list[str]] = {}
    for candidate in candidates:
        mine = places[candidate.name]
        result[candidate.name] = sorted(
            other.name
            for other in candidates
            if other.name != candidate.name
            and other.needs_options <= candidate.needs_options
            and (shared := mine.keys() & places[other.name].keys())
            and all(dominates(places[other.name][place], mine[place]) for place in shared)
        )
    return result


def pareto_front(candidates: Sequence[Candidate], device: str, threads: int = 1) -> list[str]:
    """The names of ready candidates with proven and complete figures in this place which no other one dominates."""
    records = {c.name: record for c in candidates if (record := _proven_places(c).get((device, threads))) is not None}
    return sorted(
        name for name, record in records.items() if not any(dominates(other, record) for other in records.values())
    )


def dominates(one: Figures, other: Figures, axes: Sequence[str] = AXES) -> bool:
    """True when `one` is no worse than `other` on every axis and better on one. A missing figure proves nothing."""
    better = False
    for axis in axes:
        left, right = getattr(one, axis), getattr(other, axis)
        if left is None or right is None:
            return False
        if axis == "fidelity":
            left, right = -left, -right
        if left > right:
            return False
        better = better or left < right
    return better


def _proven_places(candidate: Candidate) -> dict[tuple[str, int], Figures]:
    if candidate.status != "ready":
        return {}
    by_place: dict[tuple[str, int], list[Figures]] = {}
    for record in candidate.footprints:
        if record.is_proven and all(getattr(record, axis) is not None for axis in AXES):
            by_place.setdefault((record.device, record.threads), []).append(record)
    return {place: best_record(records) for place, records in by_place.items()}
