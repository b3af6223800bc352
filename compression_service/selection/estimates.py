"""Figures of a device without records, from those of another one: a model of compute and bandwidth. Pure.

Both devices ran reference networks of rising size (`ladders`): a model is taken for the network which needs as long as
it does there, and needs here what that network needs here; so do its slow runs. A profile of an older bench has none,
nor has a datasheet: then processor time is taken for calls + computing. With S = speed there / speed here:
    t_here = (t_there - c * call_there - b * size / copy_there) * S + c * call_here + b * size / copy_here
c (calls an inference; none with ladders, which hold them) and b (how often the weights are moved) are fitted on
variants which were measured on several devices, by least squares of the relative error; so is the share of int8 speed
in S for quantized variants. A latency becomes processor time there, and a latency again here, by what limits each
device (`stretches`). The error is measured by leaving one device out at a time. Memory is carried over as it is.

Where another variant of the same model was measured in both places, its ratio is taken instead (`by_sibling`): it holds
all that the law above leaves out. Its own error is measured by leaving each variant out.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product
from math import log
from statistics import median
from typing import Any

from compression_service.selection import ladders, stretches
from compression_service.selection.candidates import Candidate, Figures

INT8_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
LEAST_LATENCY_MS = 1e-3
# Between devices of about the same speeds calls and bytes would be fitted to noise: they have to earn their place.
WORTH = 0.8  # of the typical error without them
STRETCHED = 1.02  # of a time: what takes longer than this was stopped on its way
MOST_SPREAD = 1.4  # what lies beyond was a bad hour of that machine and says nothing of another one
EDGE = 0.9
LEAST_CPU, MOST_CPU = 0.005, 1.5  # of a p90 in one thread: what lies beyond is a mistake of the record
FASTEST = 1e9  # of any speed: a profile which claims more is a mistake
# fp32 operations a cycle of one core at its peak: two FMA units of that width (makers' optimization manuals).
PEAK_A_CYCLE = {"avx512f": 64, "avx2": 32, "asimd": 16}


@dataclass(frozen=True)
class Speeds:
    """Of a device with a number of threads. `is_datasheet`: derived from peaks, never measured."""

    fp32_gflops: float
    int8_gops: float
    copy_gb_s: float
    dispatch_us: float
    is_datasheet: bool = False
    stretch: stretches.Stretch = ()  # () without a limit
    ladder: ladders.Ladder = ()  # () where an older bench took the profile


@dataclass(frozen=True)
class Taken:
    """One variant's figures on one device."""

    variant: str  # unique over models
    is_int8: bool
    device: str
    threads: int
    size_bytes: int
    p90_ms: float
    peak_memory_bytes: int
    family: str = ""  # variants of the same source model share it
    is_source: bool = False  # the source model itself
    cpu_ms: float | None = None  # processor time an inference, of all threads; None where nobody said it
    p50_ms: float | None = None


@dataclass(frozen=True)
class Model:
    """What was fitted, and how wrong it is on a device which it has not seen (None: nothing to measure it on)."""

    calls: float = 0.0
    moves: float = 0.0
    int8_share: float = 0.5
    pairs: int = 0
    latency_error: dict[str, float] | None = None  # {"median", "p90", "count"} of |estimate / measured - 1|
    memory_error: dict[str, float] | None = None
    sibling_error: dict[str, float] | None = None  # by `by_sibling`, each variant left out in turn


def speeds_of(profile: dict[str, Any], threads: int) -> Speeds | None:
    """What was measured of a device; None where it was not, with that many threads."""
    try:
        found = profile["measured"]["threads"][str(threads)]
        fp32, int8, copied, call = (
            float(found[key]) for key in ("fp32_gflops", "int8_gops", "copy_gb_s", "dispatch_us")
        )
    except (KeyError, TypeError, ValueError):
        return None
    if not all(0 < one < FASTEST for one in (fp32, int8, copied, call)):
        return None
    stretch, ladder = stretches.known(found.get("stretch") or ()), ladders.known(found.get("ladder") or ())
    return Speeds(fp32, int8, copied, call, stretch=stretch, ladder=ladder)


def datasheet_speeds(sheet: dict[str, Any], threads: int, reference: dict[str, Any]) -> Speeds | None:
    """Peaks of a datasheet times the share of its own peak which the reference device reaches; calls by the clock."""
    measured, clock_mhz = speeds_of(reference, threads), reference.get("clock_mhz")
    clock_ghz = clock_mhz / 1000 if isinstance(clock_mhz, int | float) else 0.0
    sets = reference.get("instruction_sets") or ()
    a_cycle = next((PEAK_A_CYCLE[name] for name in PEAK_A_CYCLE if name in sets), 0)
    if measured is None or not clock_ghz or not a_cycle:
        return None
    reached = measured.fp32_gflops / (clock_ghz * a_cycle * threads)
    return Speeds(
        sheet["peak_fp32_gflops_a_core"] * threads * reached,
        sheet["peak_int8_gops_a_core"] * threads * reached,
        min(sheet["peak_memory_gb_s"], measured.copy_gb_s),
        measured.dispatch_us * clock_ghz / sheet["clock_ghz"],
        is_datasheet=True,
    )


def latency_ms(model: Model, taken: Taken, there: Speeds, here: Speeds) -> float:
    """The p90 here of what was taken there."""
    own_here = _own_ms_here(model, taken, there, here)
    if _by_ladder(there, here):
        rung = ladders.at(here.ladder, ladders.side_of(here.ladder, own_here))
        return _stretched(here, own_here * rung.slow_ms / rung.typical_ms, own_here * rung.mean_ms / rung.typical_ms)
    typical = own_here * _typical_ms(taken, there) / own_ms(taken, there)
    return _stretched(here, own_here * _spread(taken, there), typical)


def _by_ladder(there: Speeds, here: Speeds) -> bool:
    return bool(there.ladder and here.ladder)


def _stretched(here: Speeds, slow_ms: float, typical_ms: float) -> float:
    """The p90 of inferences of which slow ones need that much processor time; what a pause costs, a typical one says.

    Where nearly a tenth of them meet a pause, the p90 is one of two times, and the longer may be ten times the shorter:
    the shorter one is taken up to EDGE.
    """
    lost_ms = min(_lost_ms(here, typical_ms), _lost_ms(here, typical_ms * EDGE) / EDGE)
    return max(LEAST_LATENCY_MS, slow_ms + lost_ms)


def _lost_ms(device: Speeds, own_ms: float) -> float:
    return max(0.0, stretches.wall_ms(device.stretch, own_ms) - own_ms)


def _spread(taken: Taken, there: Speeds) -> float:
    """A p90 by processor time there, beyond what its limits cost: caches, clocks and neighbours make some runs slow."""
    unlimited_ms = taken.p90_ms - _lost_ms(there, _typical_ms(taken, there))
    return min(MOST_SPREAD, max(1.0, unlimited_ms / own_ms(taken, there)))


def _typical_ms(taken: Taken, there: Speeds) -> float:
    """The processor time of the half of inferences which nothing held up; where a pause held up more, what is known."""
    own, p50 = own_ms(taken, there), taken.p50_ms
    if p50 and stretches.wall_ms(there.stretch, p50) <= STRETCHED * p50:
        return min(own, p50)
    return min(own, ladders.typical_ms(there.ladder, own)) if there.ladder else own


def own_ms(taken: Taken, there: Speeds | None) -> float:
    """The p90 of what was taken there, without what limits that device.

    Of one thread the record's own processor time says it better than its p90 and the curve.
    """
    if there is None:
        return taken.p90_ms
    if taken.threads == 1 and taken.cpu_ms and LEAST_CPU < taken.cpu_ms / taken.p90_ms < MOST_CPU:
        return taken.cpu_ms
    return stretches.own_ms(there.stretch, taken.p90_ms)


def _own_ms_here(model: Model, taken: Taken, there: Speeds, here: Speeds) -> float:
    own = _base_ms(taken, there, here)
    faster = _faster(taken, there, here, model.int8_share)
    calls_there, calls_here = (
        0.0 if _by_ladder(there, here) else model.calls * at.dispatch_us / 1e3 for at in (there, here)
    )
    moved = model.moves * taken.size_bytes / 1e6  # MB / (GB/s) = ms
    computed = max(0.0, own - calls_there - moved / there.copy_gb_s)
    return computed * faster + calls_here + moved / here.copy_gb_s


def _base_ms(taken: Taken, there: Speeds, here: Speeds) -> float:
    """What the law takes from there to here: ladders know what slow runs and pauses add, so a typical run's time."""
    return _typical_ms(taken, there) if _by_ladder(there, here) else own_ms(taken, there)


def by_sibling(
    taken: Taken, sibling_there: Taken, sibling_here: Taken, ratio: float = 1.0, there: Speeds | None = None,
    here: Speeds | None = None,
) -> float:  # fmt: skip
    """The p90 here of what was taken there, where another variant of the same model was measured in both places.

    Ratios travel between machines, times do not (measuring.md §1.5), and those of processor time do where a device is
    limited: `there` and `here` say it, None where nobody knows the speeds of the device. `ratio` is `speed_ratio`.
    """
    if there is None or here is None:
        there = here = None
    ratio *= own_ms(sibling_here, here) / own_ms(sibling_there, there)
    own = own_ms(taken, there) * ratio
    if there is None or here is None:
        return max(LEAST_LATENCY_MS, own)
    return _stretched(here, own * _spread(sibling_here, here), _typical_ms(taken, there) * ratio)


def speed_ratio(taken: Taken, sibling: Taken, there: Speeds | None, here: Speeds | None, int8_share: float) -> float:
    """How much more time than its sibling's this variant's becomes from there to here, for `by_sibling`.

    1 where the speeds of one of the devices are not known.
    """
    if there is None or here is None:
        return 1.0
    return _faster(taken, there, here, int8_share) / _faster(sibling, there, here, int8_share)


def fit(records: Sequence[Taken], speeds: dict[tuple[str, int], Speeds]) -> Model:
    """The model of these records, with its error by leaving one device out."""
    model = _fitted(records, speeds)
    latency, memory = [], []
    for device in sorted({record.device for record in records}):
        rest = [record for record in records if record.device != device]
        blind = _fitted(rest, speeds)
        for record in records:
            if record.device != device or (here := speeds.get((device, record.threads))) is None:
                continue
            other = nearest((one for one in rest if _same(one, record)), speeds, here)
            if other is not None:
                estimate = latency_ms(blind, other, speeds[other.device, other.threads], here)
                latency.append(abs(estimate / record.p90_ms - 1))
                memory.append(abs(other.peak_memory_bytes / record.peak_memory_bytes - 1))
    return replace(
        model, latency_error=_summary(latency), memory_error=_summary(memory),
        sibling_error=_summary(_sibling_errors(records, speeds, model.int8_share)),
    )  # fmt: skip


def _sibling_errors(records: Sequence[Taken], speeds: dict[tuple[str, int], Speeds], int8_share: float) -> list[float]:
    """Each variant left out on each device which measured its source, estimated from each other one that has both."""
    sources = {(one.device, one.threads, one.family): one for one in records if one.is_source}
    by_variant: dict[tuple[str, int], list[Taken]] = {}
    for one in records:
        if not one.is_source:
            by_variant.setdefault((one.variant, one.threads), []).append(one)
    errors = []
    for same in by_variant.values():
        for here, there in permutations(same, 2):
            own, other = (sources.get((one.device, one.threads, one.family)) for one in (here, there))
            if own is None or other is None:
                continue
            from_, to = (speeds.get((one.device, one.threads)) for one in (there, here))
            estimate = by_sibling(there, other, own, speed_ratio(there, other, from_, to, int8_share), from_, to)
            errors.append(abs(estimate / here.p90_ms - 1))
    return errors


def nearest(found: Iterable[Taken], speeds: dict[tuple[str, int], Speeds], here: Speeds) -> Taken | None:
    """The record of the device whose speeds are most like these, and which is limited least."""
    known = [one for one in found if (one.device, one.threads) in speeds]
    return min(known, key=lambda one: (apart(speeds[one.device, one.threads], here), one.device), default=None)


def estimated(
    candidate: Candidate, model: Model, device: str, there: Figures, speeds: tuple[Speeds, Speeds]
) -> Figures:
    """The figures of a candidate on `device`, from its record there. Energy and load are not carried over."""
    taken = Taken(
        candidate.name, is_int8(candidate.name), there.device, there.threads, there.size_bytes or 0,
        there.p90_ms or 0.0, there.peak_memory_bytes or 0, cpu_ms=there.cpu_ms,
        p50_ms=there.p50_ms,
    )  # fmt: skip
    p90_ms = latency_ms(model, taken, *speeds) if there.p90_ms else None
    error = None if speeds[1].is_datasheet or model.latency_error is None else model.latency_error["p90"]
    return replace(_carried_over(there, device, p90_ms, speeds[1]), estimate_error=error)


def estimated_by_sibling(
    there: Figures, sibling: str, device: str, p90_ms: float, model: Model, here: Speeds | None
) -> Figures:
    """The figures of a candidate on `device`, where `sibling` was measured in both places."""
    error = None if model.sibling_error is None else model.sibling_error["p90"]
    return replace(_carried_over(there, device, p90_ms, here), estimated_by=sibling, estimate_error=error)


def _carried_over(there: Figures, device: str, p90_ms: float | None, here: Speeds | None) -> Figures:
    return replace(
        there, device=device, trust="estimated", noisy=False, stale=False, p90_ms=p90_ms, p90_low_ms=None,
        p90_high_ms=None, p50_ms=None, cpu_ms=None, load_warm_ms=None, energy_mj=None, energy_method=None,
        throughput_per_s=_throughput_per_s(p90_ms, here), ran_within_bytes=None, estimated_from=there.device,
        measured_at=None,
    )  # fmt: skip


def _throughput_per_s(p90_ms: float | None, here: Speeds | None) -> float | None:
    """One inference after the other: where the device is limited, endless work gets its share and no more."""
    if not p90_ms:
        return None
    stretch = here.stretch if here is not None else ()
    return 1000 * stretches.share(stretch) / stretches.own_ms(stretch, p90_ms)


def is_int8(name: str) -> bool:
    """By the recipe's name, whether a variant computes in 8-bit integers."""
    return "int8" in name


def _fitted(records: Sequence[Taken], speeds: dict[tuple[str, int], Speeds]) -> Model:
    pairs = [
        (one, other)
        for one, other in product(records, records)
        if one.device != other.device and _same(one, other)
        and (one.device, one.threads) in speeds and (other.device, other.threads) in speeds
    ]  # fmt: skip
    if not pairs:
        return Model()
    plain: list[tuple[float, float, Model]] = []
    full: list[tuple[float, float, Model]] = []
    for share in INT8_SHARES:
        rows = []
        for one, other in pairs:
            there, here = speeds[one.device, one.threads], speeds[other.device, other.threads]
            faster = _faster(one, there, here, share)
            calls = 0.0 if _by_ladder(there, here) else (here.dispatch_us - faster * there.dispatch_us) / 1e3
            moves = one.size_bytes / 1e6 * (1 / here.copy_gb_s - faster / there.copy_gb_s)
            wanted = _base_ms(other, here, there)
            rows.append((calls / wanted, moves / wanted, 1 - faster * _base_ms(one, there, here) / wanted))
        for found, terms in ((plain, (0.0, 0.0)), (full, _least_squares(rows))):
            model = Model(*terms, share, len(pairs))
            found.append((_typical_error(model, pairs, speeds), share, model))
    without, with_terms = min(plain)[:3:2], min(full)[:3:2]
    return with_terms[1] if with_terms[0] < WORTH * without[0] else without[1]


def _typical_error(model: Model, pairs: list[tuple[Taken, Taken]], speeds: dict[tuple[str, int], Speeds]) -> float:
    errors = []
    for one, other in pairs:
        there, here = speeds[one.device, one.threads], speeds[other.device, other.threads]
        errors.append(abs(_own_ms_here(model, one, there, here) / _base_ms(other, here, there) - 1))
    return median(errors)


def _least_squares(rows: list[tuple[float, float, float]]) -> tuple[float, float]:
    """x, y ≥ 0 with the least squares of a x + b y - c."""
    aa, ab, bb = (sum(row[i] * row[j] for row in rows) for i, j in ((0, 0), (0, 1), (1, 1)))
    ac, bc = (sum(row[i] * row[2] for row in rows) for i in (0, 1))
    det = aa * bb - ab * ab
    if det > 1e-12 * max(aa * bb, 1e-300):
        x, y = (ac * bb - bc * ab) / det, (bc * aa - ac * ab) / det
        if x >= 0 and y >= 0:
            return x, y
    only_x, only_y = (max(0.0, ac / aa) if aa else 0.0), (max(0.0, bc / bb) if bb else 0.0)

    def loss(x: float, y: float) -> float:
        return sum((a * x + b * y - c) ** 2 for a, b, c in rows)

    return (only_x, 0.0) if loss(only_x, 0.0) <= loss(0.0, only_y) else (0.0, only_y)


def _faster(taken: Taken, there: Speeds, here: Speeds, int8_share: float) -> float:
    """Time here / time there, of computing; calls are in it where both devices have a ladder."""
    float_ratio, int8_ratio = there.fp32_gflops / here.fp32_gflops, there.int8_gops / here.int8_gops
    mixed = (1 - int8_share) * float_ratio + int8_share * int8_ratio if taken.is_int8 else float_ratio
    if not _by_ladder(there, here):
        return mixed
    typical = _typical_ms(taken, there)
    return ladders.at(here.ladder, ladders.side_of(there.ladder, typical)).typical_ms / typical * mixed / float_ratio


def _same(one: Taken, other: Taken) -> bool:
    return (one.variant, one.threads) == (other.variant, other.threads)


def apart(there: Speeds, here: Speeds) -> float:
    """How little records there say of here: 0 for the same speeds, without a limit there."""
    pairs = (
        (there.fp32_gflops, here.fp32_gflops),
        (there.int8_gops, here.int8_gops),
        (there.copy_gb_s, here.copy_gb_s),
    )
    limit = log(there.stretch[-1][1] / there.stretch[-1][0]) if there.stretch else 0.0
    return sum(abs(log(left / right)) for left, right in pairs) + max(0.0, limit)


def _summary(errors: list[float]) -> dict[str, float] | None:
    if not errors:
        return None
    ordered = sorted(errors)
    return {
        "median": median(ordered),
        "p90": ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))],
        "count": len(ordered),
    }
