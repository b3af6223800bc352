"""Answering a budget: hard limits, Pareto front, one winner, and every reason (measuring.md §3). Pure: no Django."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from compression_service.selection.budgets import LOWER_LIMITS, Budget, limit_text
from compression_service.selection.candidates import (
    AXES,
    Candidate,
    Figures,
    beaten_by,
    best_record,
    dominates,
    pareto_front,
)

__all__ = ["Candidate", "Drop", "Figures", "Fit", "beaten_by", "choose", "pareto_front"]

MEMORY_MARGIN = Decimal("1.10")  # the measured peak is multiplied by this before it is held against a limit
DEFAULT_FIDELITY = Decimal("0.99")  # `fit@` alone: nothing lost beyond 1 point

_FIGURES = {
    "size": "size_bytes",
    "memory": "peak_memory_bytes",
    "latency": "p90_ms",
    "load": "load_warm_ms",
    "energy": "energy_mj",
    "fidelity": "fidelity",
    "throughput": "throughput_per_s",
}
_NAMES = {"memory": "peak memory", "latency": "p90 latency", "load": "load time"}


@dataclass(frozen=True)
class Drop:
    """A variant which was left out, and the limit that did it. `value` has the margin in it; None: not measured."""

    variant: str
    limit: str
    value: float | str | None
    allowed: float | str | None
    sentence: str
    excess: float | None = None  # by how much of the limit it misses, e.g. 0.25; None where that is no number

    def to_json(self) -> dict[str, Any]:
        return {"variant": self.variant, "limit": self.limit, "value": self.value, "allowed": self.allowed}


@dataclass(frozen=True)
class Fit:
    """A budget's answer. `variant` and `commit` are None exactly when `answer` is `none`."""

    budget: Budget
    answer: str  # proven, likely, unknown, none
    variant: str | None
    commit: str | None
    reasons: list[str]
    dropped: list[Drop]
    nearest_miss: Drop | None
    catalogue_version: str
    figures: Figures | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The shape of measuring.md §3.8, with `revision`, and with a `sentence` in each dropped variant."""
        miss = self.nearest_miss
        return {
            "budget": self.budget.canonical,
            "revision": self.budget.revision,
            "answer": self.answer,
            "variant": self.variant,
            "commit": self.commit,
            "reasons": list(self.reasons),
            "dropped": [{**drop.to_json(), "sentence": drop.sentence} for drop in self.dropped],
            "nearest_miss": {**miss.to_json(), "sentence": miss.sentence} if miss else None,
            "figures": self.figures.to_json() if self.figures else None,
            "catalogue_version": self.catalogue_version,
        }

    def sentence(self, repository: str) -> str:
        """One sentence for people; for `none` it is the text of RevisionNotFound."""
        budget = self.budget.canonical or "the default budget"
        if self.variant is not None:
            return f"{self.variant} of {repository} is the {self.answer} fit for {budget}."
        if self.nearest_miss is not None:
            return f"No variant of {repository} fits {budget}: the nearest is {self.nearest_miss.sentence}."
        why = self.dropped[0].sentence if self.dropped else "it has no variants yet"
        return f"No variant of {repository} fits {budget}: {why}."


@dataclass(frozen=True)
class _Option:
    candidate: Candidate
    figures: Figures
    level: str  # proven, likely, unknown


def choose(
    candidates: Sequence[Candidate],
    budget: Budget,
    catalogue_version: str,
    *,
    default_device: str,
    now: datetime | None = None,
) -> Fit:
    """Choose the variant which fits `budget` best, the same one for the same candidates in any order.

    Proven figures come first, then likely ones (estimated, reported once, noisy, stale), then variants which were not
    measured there and whose known size is all that the budget asks about. `now` only adds ages to the reasons.
    """
    device = budget.place("device") or default_device
    threads = budget.whole_number("threads") or 1
    limits = dict(budget.limits)
    if budget.is_default:
        limits["fidelity"] = DEFAULT_FIDELITY
    fitting: list[_Option] = []
    dropped: list[Drop] = []
    for candidate in sorted(candidates, key=lambda c: (c.name, c.commit)):
        options, drops = _options(candidate, budget, device, threads)
        for option in options:
            drop = _first_broken(option, limits, budget, device, threads)
            if drop is None:
                fitting.append(option)
            else:
                drops.append(drop)
        if not any(option.candidate is candidate for option in fitting):
            dropped.append(min(drops, key=_miss))
    misses = [(drop.excess, drop.variant, drop) for drop in dropped if drop.excess is not None]
    nearest = min(misses, default=(0, "", None), key=lambda miss: miss[:2])[2]
    level = next((name for name in ("proven", "likely", "unknown") if any(o.level == name for o in fitting)), "none")
    pool = [option for option in fitting if option.level == level]
    reasons = [limits_reason(limits, device, threads, budget)]
    winner = None
    if pool:
        front = _front(pool, budget)
        winner = min(front, key=lambda option: _rank(option, budget))
        reasons += _winner_reasons(winner, len(pool), len(front), budget, now)
    if dropped:
        reasons.append(f"{len(dropped)} of {len(candidates)} variants were dropped.")
    if nearest is not None:
        reasons.append(f"The nearest miss is {nearest.sentence}.")
    reasons.append(f"Catalogue version {catalogue_version}.")
    return Fit(
        budget,
        level,
        winner.candidate.name if winner else None,
        winner.candidate.commit if winner else None,
        reasons,
        dropped,
        nearest,
        catalogue_version,
        winner.figures if winner else None,
    )


def _miss(drop: Drop) -> tuple[float, str, str]:
    """Smallest miss first; words decide between equals, so that the order of records makes no difference."""
    return float("inf") if drop.excess is None else drop.excess, drop.limit, drop.sentence


def _options(candidate: Candidate, budget: Budget, device: str, threads: int) -> tuple[list[_Option], list[Drop]]:
    """The ways to run a candidate in the wanted place, one a runtime; or the reason why there is none."""
    if candidate.status != "ready":
        sentence = f"{candidate.name}, which is {candidate.status.replace('_', ' ')}"
        return [], [Drop(candidate.name, "status", candidate.status, "ready", sentence)]
    if not any((figures.device, figures.threads) == (device, threads) for figures in candidate.footprints):
        bare = Figures(device, threads, size_bytes=candidate.size_bytes)
        if candidate.is_baseline:
            bare = replace(bare, fidelity=1.0)
        return [_Option(candidate, bare, "unknown")], []
    options = [
        _Option(candidate, record, "proven" if _is_proven(record, budget) else "likely")
        for record in measured_options(candidate, device, threads)
    ]
    return options, []


def measured_options(candidate: Candidate, device: str, threads: int) -> list[Figures]:
    """The record which speaks for a candidate in a place, one a runtime."""
    by_runtime: dict[tuple[str | None, int | None, str | None], list[Figures]] = {}
    for record in candidate.footprints:
        if (record.device, record.threads) == (device, threads):
            own = _with_size(record, candidate)
            by_runtime.setdefault((own.runtime, own.opset, own.format), []).append(own)
    return [best_record(records) for records in by_runtime.values()]


def _is_proven(record: Figures, budget: Budget) -> bool:
    asks_energy = budget.goal == "energy" or any(key == "energy" for key, _ in budget.limits)
    return record.is_proven and not (asks_energy and record.energy_method == "estimate")


def _with_size(record: Figures, candidate: Candidate) -> Figures:
    return record if record.size_bytes is not None else replace(record, size_bytes=candidate.size_bytes)


def _first_broken(
    option: _Option, limits: dict[str, Decimal], budget: Budget, device: str, threads: int
) -> Drop | None:
    """None when the option fits, else its worst failure: a wrong place or a missing figure before any number."""
    name, figures = option.candidate.name, option.figures
    wrong_place = _wrong_place(option, budget)
    if wrong_place is not None:
        return wrong_place
    if budget.is_default and option.level == "unknown" and not option.candidate.is_baseline:
        return Drop(name, "fidelity", None, _number(DEFAULT_FIDELITY), f"{name}, which was not measured yet")
    worst: Drop | None = None
    for key, allowed in sorted(limits.items()):
        measured = getattr(figures, _FIGURES[key])
        if measured is None:
            done = "yet" if option.level == "unknown" else "well enough"
            what = f"whose {_NAMES.get(key, key)} was not measured {done} {_on(device, threads)}"
            return Drop(name, key, None, _number(allowed), f"{name}, {what}")
        value = Decimal(str(measured)) * (MEMORY_MARGIN if key == "memory" else 1)
        excess = (allowed - value if key in LOWER_LIMITS else value - allowed) / allowed
        if excess > 0 and (worst is None or worst.excess is None or float(excess) > worst.excess):
            text = f"{name} with {_figure_text(key, measured)}, {limit_text(key, allowed)} allowed"
            worst = Drop(name, key, _number(value), _number(allowed), text, float(excess))
    return worst


def _wrong_place(option: _Option, budget: Budget) -> Drop | None:
    name, figures = option.candidate.name, option.figures
    if option.candidate.needs_options and budget.place("options") != "any":
        # Stock clients load with the runtime's defaults, with which its figures do not hold.
        sentence = f"{name}, whose figures hold with session options which the budget does not allow (options=any)"
        return Drop(name, "options", "session options", "default", sentence)
    for key in ("runtime", "format"):
        wanted, found = budget.place(key), getattr(figures, key)
        if wanted is not None and not _same_word(wanted, found):
            return Drop(name, key, found, wanted, f"{name}, which was not measured with {key} {wanted}")
    opset = budget.whole_number("opset")
    if opset is not None and (figures.opset is None or figures.opset > opset):
        # A runtime which knows an opset knows the older ones too.
        return Drop(name, "opset", figures.opset, opset, f"{name}, which needs opset {figures.opset or 'unknown'}")
    return None


def _same_word(wanted: str, found: str | None) -> bool:
    """`onnxruntime` names every version of it, `onnxruntime-1.31.0` that one only."""
    if found is None:
        return False
    wanted, found = wanted.lower(), found.lower().replace(" ", "-")
    return found == wanted or found.startswith(wanted + "-")


def _front(pool: list[_Option], budget: Budget) -> list[_Option]:
    axes = (*AXES, "energy_mj") if budget.goal == "energy" else AXES
    return [o for o in pool if not any(dominates(other.figures, o.figures, axes) for other in pool)]


def _rank(option: _Option, budget: Budget) -> tuple:
    """Smaller is better; a missing figure comes last; the name decides what is left."""
    figures = option.figures
    infinity = float("inf")
    loss = infinity if figures.fidelity is None else -figures.fidelity
    p90_ms = infinity if figures.p90_ms is None else figures.p90_ms
    memory = infinity if figures.peak_memory_bytes is None else figures.peak_memory_bytes
    size = infinity if figures.size_bytes is None else figures.size_bytes
    energy = infinity if figures.energy_mj is None else figures.energy_mj
    first: tuple = ()
    goal = "latency" if budget.is_default else budget.goal
    if goal == "energy":
        first = (figures.energy_method == "estimate", energy)  # never ranked against measured ones
    elif goal is not None:
        first = ({"latency": p90_ms, "memory": memory, "size": size, "fidelity": loss}[goal],)
    tie = (option.candidate.name, option.candidate.commit, repr(figures))
    return (*first, loss, p90_ms, memory, size, *tie)


def limits_reason(limits: dict[str, Decimal], device: str, threads: int, budget: Budget) -> str:
    """The limits that were applied, as a sentence."""
    texts = []
    for key, allowed in sorted(limits.items()):
        sign = "≥" if key in LOWER_LIMITS else "≤"
        margin = " for the measured peak + 10 %" if key == "memory" else ""
        texts.append(f"{_NAMES.get(key, key)} {sign} {limit_text(key, allowed)}{margin}")
    texts += [f"{key} {value}" for key, value in budget.where if key in ("runtime", "opset", "format", "options")]
    return f"Limits applied {_on(device, threads)}: {', '.join(texts) or 'none'}."


def _winner_reasons(winner: _Option, fitting: int, front: int, budget: Budget, now: datetime | None) -> list[str]:
    figures = winner.figures
    goal = "latency" if budget.is_default else budget.goal
    order = {
        None: "most fidelity, then least p90, memory and size",
        "latency": "least p90",
        "memory": "least memory",
        "size": "least size",
        "energy": "least energy",
        "fidelity": "most fidelity",
    }[goal]
    reasons = [f"{winner.candidate.name} was chosen of {fitting} that fit ({front} on the Pareto front) by {order}."]
    known = [
        _figure_text(key, value) for key, name in _FIGURES.items() if (value := getattr(figures, name)) is not None
    ]
    if winner.level == "unknown":
        reasons.append("Nothing that fits was measured in this place yet; only what is known of the files was used.")
        return reasons
    age = ""
    if figures.measured_at is not None:
        age = f", measured on {figures.measured_at:%Y-%m-%d}"
        if now is not None:
            age += f" ({_age(now, figures.measured_at)})"
    reasons.append(f"Its figures are {figures.trust}{age}: {', '.join(known)}.")
    if figures.p90_low_ms and figures.p90_high_ms:
        low, high = (limit_text("latency", value) for value in (figures.p90_low_ms, figures.p90_high_ms))
        reasons.append(f"From slice to slice of its session that p90 moved between {low} and {high}.")
    if winner.level == "likely":
        doubt = figures.doubt or "the energy is an estimate"
        reasons.append(f"The answer is likely and not proven, because {doubt}.")
    return reasons


def _figure_text(key: str, measured: float) -> str:
    text = limit_text(key, measured)
    return {
        "size": f"{text} of files",
        "memory": f"{text} peak + 10 %",
        "latency": f"{text} p90",
        "load": f"{text} load time",
        "energy": f"{text} an inference",
        "fidelity": f"fidelity {text}",
        "throughput": f"throughput {text}",
    }[key]


def _on(device: str, threads: int) -> str:
    """`device` is empty as long as no worker has measured anywhere."""
    return f"on {device or 'this hub'} with {'1 thread' if threads == 1 else f'{threads} threads'}"


def _age(now: datetime, then: datetime) -> str:
    days = (now - then).days
    return "today" if days <= 0 else "1 day ago" if days == 1 else f"{days} days ago"


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
