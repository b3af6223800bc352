"""Choosing across models: the same rules as choice.py, as one walk over an index of offers."""

from collections.abc import Iterable
from decimal import ROUND_FLOOR, Decimal
from itertools import product
from typing import Any

from django.db.models import Case, Exists, F, FloatField, IntegerField, OuterRef, Q, QuerySet, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast, Greatest

from compression_service.devices.services import default_device
from compression_service.selection.budgets import LOWER_LIMITS, Budget, limit_text
from compression_service.selection.choice import DEFAULT_FIDELITY, MEMORY_MARGIN, limits_reason
from compression_service.selection.models import Offer
from compression_service.selection.services import read_budget, with_known_device
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import readable_by
from models_registry.repos.models import Repository, RepoType
from models_registry.search.extensions import Extension, Narrowing
from models_registry.search.listings import Filters, Plain, narrow

MOST_RESULTS = 100
INDEXED = ("loss", "p90_ms", "peak_memory_bytes", "size_bytes")
NEAR = 2  # a miss is first looked for within so many times the limits: fewer rows to rank
LEVELS = ("proven", "likely", "unknown")
_COLUMNS = {
    "size": "size_bytes", "memory": "peak_memory_bytes", "latency": "p90_ms", "load": "load_warm_ms",
    "energy": "energy_mj", "throughput": "throughput_per_s",
}  # fmt: skip
_ORDERS = {
    "fidelity": ["loss", "p90_ms", "peak_memory_bytes", "size_bytes"],
    "latency": ["p90_ms", "loss", "peak_memory_bytes", "size_bytes"],
    "memory": ["peak_memory_bytes", "loss", "p90_ms", "size_bytes"],
    "size": ["size_bytes", "loss", "p90_ms", "peak_memory_bytes"],
    "energy": ["energy_is_estimated", "energy_mj", "loss", "p90_ms", "peak_memory_bytes", "size_bytes"],
}  # fmt: skip


def choose_across(actor: Actor, budget: Budget, filters: Filters, limit: int) -> dict[str, Any]:
    """The best variant of each model that fits, the best model first. Raises BadRequest for an unknown device."""
    budget = with_known_device(budget)
    few, conditions = narrow(actor, RepoType.MODEL, filters)
    found: dict[int, Offer] = {}
    if few != [] and not _is_hopeless(budget):
        for rows in _searched(budget):
            if few is not None:
                rows = rows.filter(repository__in=few)
            if conditions:
                rows = rows.filter(repository__in=Repository.objects.filter(*conditions).values("pk"))
            _gather(actor, rows, limit, found)
            if len(found) >= limit:
                break
    device, threads = _place(budget)
    body: dict[str, Any] = {
        "budget": budget.canonical,
        "revision": budget.revision,
        "results": [_result(offer, budget) for offer in found.values()],
        "reasons": [limits_reason(_limits(budget), device, threads, budget)],
        "nearest_miss": None,
    }
    if found:
        best = body["results"][0]
        body["sentence"] = f"{best['variant']} of {best['repository']} is the best fit for {_words(budget)}."
    else:
        miss = _nearest_miss(actor, budget, few, conditions)
        body["nearest_miss"] = miss
        nearest = f" The nearest is {miss['sentence']}." if miss else ""
        body["sentence"] = f"No variant of any model here fits {_words(budget)}.{nearest}"
    return body


def fits_filter() -> Extension:
    """`fits=memory=512MB,latency=20ms` for listings; `filter=fit@…` for clients whose parameters are fixed."""
    sizes = (("128 MB", "memory=128MB"), ("256 MB", "memory=256MB"), ("512 MB", "memory=512MB"), ("1 GB", "memory=1GB"))
    times = (("1 ms", "latency=1ms"), ("5 ms", "latency=5ms"), ("20 ms", "latency=20ms"), ("100 ms", "latency=100ms"))
    return Extension(
        "fits", "fit@", "Fits into", "memory=512MB,latency=20ms", _narrowing, (*sizes, *times)
    )  # fmt: skip


def _narrowing(text: str) -> Narrowing:
    budget = with_known_device(read_budget(text))
    searched = [rows.order_by() for rows in _searched(budget)]
    condition = Q()
    # Without figures SQLite would sooner walk a whole device for each repository than look its few offers up.
    for rows in _searched(budget, Offer.objects.alias(_device=Plain("device"), _threads=Plain("threads"))):
        rows = rows.order_by()
        condition |= Q(Exists(rows.filter(repository=OuterRef("pk"))))

    def ids(most: int) -> list[int]:
        found: dict[int, None] = {}
        for rows in searched:
            found |= dict.fromkeys(rows.values_list("repository_id", flat=True).distinct()[:most])
        return list(found)[:most]

    return Narrowing(condition, ids)


def _place(budget: Budget) -> tuple[str, int]:
    return budget.place("device") or default_device(), budget.whole_number("threads") or 1


def _limits(budget: Budget) -> dict[str, Decimal]:
    return {"fidelity": DEFAULT_FIDELITY} if budget.is_default else dict(budget.limits)


def _searched(budget: Budget, plain: QuerySet[Offer] | None = None) -> list[QuerySet[Offer]]:
    """Offers that fit, best first: those measured in the place, then those of which nothing but the size is known.

    `plain` are all offers with the aliases _device and _threads, which the planner takes no index for.
    """
    device, threads = _place(budget)
    goal = "latency" if budget.is_default else budget.goal or "fidelity"
    order = ["level", *_ORDERS[goal], "variant", "repository_id"]
    offers, prefix = (Offer.objects.all(), "") if plain is None else (plain, "_")
    here = offers.filter(**{f"{prefix}device": device, f"{prefix}threads": threads})
    here = here.filter(*_where(budget), *_within(budget))
    if goal == "energy" or "energy" in dict(budget.limits):
        # An estimated energy proves nothing (choice.py): such offers are likely at most.
        level = Case(
            When(energy_is_estimated=True, then=Value(Offer.LIKELY)), default=F("level"), output_field=IntegerField()
        )
        here = here.annotate(own_level=level)
        order[0] = "own_level"
    queries = [here.order_by(*order)]
    asks_more = any(budget.place(key) for key in ("runtime", "format")) or budget.whole_number("opset")
    if {key for key, _ in budget.limits} <= {"size"} and not asks_more:
        nowhere = offers.filter(**{f"{prefix}device": "", f"{prefix}threads": 0})
        queries.append(nowhere.filter(*_within(budget)).order_by(*order[-6:]))
    return queries


def _where(budget: Budget) -> list[Q]:
    conditions = []
    if runtime := budget.place("runtime"):
        conditions.append(Q(runtime=runtime.lower()) | Q(runtime__startswith=runtime.lower() + "-"))
    if (wanted := budget.place("format")) and wanted.lower() != "onnx":
        conditions.append(Q(pk__in=[]))
    if opset := budget.whole_number("opset"):
        conditions.append(Q(opset__lte=opset))
    return conditions


def _within(budget: Budget, times: int = 1) -> list[Q]:
    """The limits as conditions; with `times`, as wide as that many times of each upper one."""
    conditions = []
    for key, allowed in _limits(budget).items():
        if key == "memory":
            # peak × 1.10 ≤ allowed, in whole bytes
            most = int((allowed * times / MEMORY_MARGIN).to_integral_value(ROUND_FLOOR))
            conditions.append(Q(peak_memory_bytes__lte=most))
        elif key == "fidelity":
            conditions.append(Q(loss__lte=float((1 - allowed) * times) + 1e-12))
        elif key in LOWER_LIMITS:
            conditions.append(Q(throughput_per_s__gte=float(allowed) / times))
        else:
            conditions.append(Q(**{f"{_COLUMNS[key]}__lte": float(allowed) * times}))
    return conditions


def _gather(actor: Actor, rows: QuerySet[Offer], limit: int, found: dict[int, Offer]) -> None:
    """The first offer of each repository which this actor may see, in order, until there are enough.

    Only what the index holds is walked over; the rows themselves are read for the winners.
    """
    taken, refused, at = 0, set[int](), 4 * limit
    chosen: dict[int, int] = {}
    while True:
        fetched = list(rows.values_list("pk", "repository_id")[taken:at])
        fresh = {repository for _, repository in fetched} - found.keys() - chosen.keys() - refused
        seen = set(Repository.objects.filter(readable_by(actor), pk__in=fresh).values_list("pk", flat=True))
        refused |= fresh - seen
        for pk, repository in fetched:
            if repository in seen and repository not in chosen:
                chosen[repository] = pk
                if len(found) + len(chosen) >= limit:
                    break
        if len(found) + len(chosen) >= limit or len(fetched) < at - taken:
            break
        taken, at = at, 4 * at
    offers = Offer.objects.select_related("repository").in_bulk(list(chosen.values()))
    for repository, pk in chosen.items():
        found[repository] = offers[pk]


def _result(offer: Offer, budget: Budget) -> dict[str, Any]:
    """One model's answer, in the words of a fit."""
    level = offer.level
    if (budget.goal == "energy" or "energy" in dict(budget.limits)) and offer.energy_is_estimated:
        level = max(level, Offer.LIKELY)
    return {
        "repository": offer.repository.full_name,
        "pipeline_tag": offer.repository.pipeline_tag or None,
        "variant": offer.variant,
        "commit": offer.commit,
        "revision": budget.revision,
        "answer": LEVELS[level],
        "figures": figures_of(offer),
    }


def figures_of(offer: Offer) -> dict[str, Any]:
    """Null where something was not measured."""

    def known(value: float) -> float | None:
        return None if value >= Offer.UNKNOWN else value

    loss = known(offer.loss)
    return {
        "device": offer.device or None,
        "threads": offer.threads or None,
        "runtime": offer.runtime or None,
        "trust": offer.trust if offer.device else None,
        "size_bytes": known(offer.size_bytes),
        "peak_memory_bytes": known(offer.peak_memory_bytes),
        "p90_ms": known(offer.p90_ms),
        "load_warm_ms": known(offer.load_warm_ms),
        "throughput_per_s": offer.throughput_per_s or None,
        "fidelity": None if loss is None else round(1 - loss, 12),
        "energy_mj": known(offer.energy_mj),
        "energy_is_estimated": offer.energy_is_estimated,
        "measured_at": offer.measured_at.isoformat() if offer.measured_at else None,
        "estimated_from": offer.estimated_from or None,
        "estimate_error": offer.estimate_error,
    }


def _is_hopeless(budget: Budget) -> bool:
    """Even the least figure of all is beyond its limit: four looks into indexes instead of a walk."""
    device, threads = _place(budget)
    if {key for key, _ in budget.limits} <= {"size"}:
        return False  # unmeasured offers come into question too
    for condition, key in zip(_within(budget), _limits(budget), strict=True):
        column = "loss" if key == "fidelity" else _COLUMNS[key]
        if column not in INDEXED:
            continue
        levels = (Offer.PROVEN, Offer.LIKELY)
        rows = (Offer.objects.filter(device=device, threads=threads, level=level).order_by(column) for level in levels)
        best = [row for row in (one.values("pk", column).first() for one in rows) if row]
        if not Offer.objects.filter(condition, pk__in=[row["pk"] for row in best]).exists():
            return True
    return False


def _nearest_miss(
    actor: Actor, budget: Budget, few: list[int] | None, conditions: Iterable[Q]
) -> dict[str, Any] | None:
    """The measured offer which misses its worst limit by the least share."""
    limits = _limits(budget)
    device, threads = _place(budget)
    rows = Offer.objects.filter(*_where(budget), device=device, threads=threads)
    if few is not None:
        rows = rows.filter(repository__in=few)
    if conditions:
        rows = rows.filter(repository__in=Repository.objects.filter(*conditions).values("pk"))
    excesses = [_excess(key, allowed) for key, allowed in sorted(limits.items())]
    if not excesses:
        return None
    nearest: dict[int, Offer] = {}
    if len(excesses) > 1:
        missed = rows.annotate(excess=Greatest(*excesses)).order_by("excess", "variant", "repository_id")
        _gather(actor, missed.filter(*_within(budget, NEAR)), 1, nearest)
    if not nearest:
        # Far from everything: the least of each figure that was asked for, each read off its index.
        for level, key in product((Offer.PROVEN, Offer.LIKELY), sorted(limits)):
            _gather(actor, _least(rows.filter(level=level), key), len(nearest) + 1, nearest)
    known = [row for row in nearest.values() if all(_figure(row, key) is not None for key in limits)]
    if not known:
        return None
    row = min(known, key=lambda one: max(_share(one, key, allowed) for key, allowed in limits.items()))
    each = {key: _share(row, key, allowed) for key, allowed in limits.items()}
    key = max(sorted(each), key=lambda one: each[one])
    value = _figure(row, key) or 0.0
    if key == "memory":
        value = float(value) * float(MEMORY_MARGIN)
    name = f"{row.variant} of {row.repository.full_name}"
    words = f"{name} with {key} {limit_text(key, value)}, {limit_text(key, limits[key])} allowed"
    return {
        "variant": row.variant, "repository": row.repository.full_name, "limit": key, "value": value,
        "allowed": float(limits[key]), "sentence": words,
    }  # fmt: skip


def _excess(key: str, allowed: Decimal) -> Combinable:
    """By what share of the limit a row misses it, in SQL."""
    limit = Value(float(allowed), FloatField())
    if key == "fidelity":
        return (F("loss") - Value(float(1 - allowed), FloatField())) / limit
    column = Cast(F(_COLUMNS[key]), FloatField())
    if key in LOWER_LIMITS:
        return (limit - column) / limit
    margin = Value(float(MEMORY_MARGIN) if key == "memory" else 1.0, FloatField())
    return (column * margin - limit) / limit


def _least(rows: QuerySet[Offer], key: str) -> QuerySet[Offer]:
    column = "loss" if key == "fidelity" else _COLUMNS[key]
    return rows.order_by(f"-{column}" if key in LOWER_LIMITS and key != "fidelity" else column)


def _figure(row: Offer, key: str) -> float | None:
    """None where it was not measured."""
    value = row.loss if key == "fidelity" else getattr(row, _COLUMNS[key])
    if value >= Offer.UNKNOWN or (key == "throughput" and not value):
        return None
    return 1 - float(value) if key == "fidelity" else float(value)


def _share(row: Offer, key: str, allowed: Decimal) -> float:
    limit = float(allowed)
    if key == "fidelity":
        return (row.loss - (1 - limit)) / limit
    value = float(getattr(row, _COLUMNS[key])) * (float(MEMORY_MARGIN) if key == "memory" else 1)
    return (limit - value) / limit if key in LOWER_LIMITS else (value - limit) / limit


def _words(budget: Budget) -> str:
    return budget.canonical or "the default budget"
