import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_service.selection.budgets import parse_budget
from compression_service.selection.choice import Candidate, Figures, beaten_by, choose, pareto_front

DEVICE = "laptop-2c"
WHEN = datetime(2026, 11, 20, tzinfo=UTC)


def figures(**changes):
    base = Figures(
        DEVICE, runtime="onnxruntime 1.31.0", opset=17, format="onnx", size_bytes=10_000_000,
        peak_memory_bytes=100_000_000, p90_ms=10.0, load_warm_ms=50.0, throughput_per_s=90.0, fidelity=0.99,
        measured_at=WHEN,
    )  # fmt: skip
    return replace(base, **changes)


def candidate(name, *records, **changes):
    return Candidate(name, f"{name}-commit", footprints=records, **changes)


def answer(candidates, text, **options):
    return choose(candidates, parse_budget(text), "7", default_device=DEVICE, **options)


BASELINE = candidate(
    "onnx", figures(size_bytes=40_000_000, peak_memory_bytes=200_000_000, p90_ms=20.0, fidelity=1.0), is_baseline=True
)
INT8 = candidate("int8-dynamic", figures(fidelity=0.995, p90_ms=8.0))
SMALL = candidate("int4", figures(size_bytes=6_000_000, peak_memory_bytes=80_000_000, p90_ms=9.0, fidelity=0.95))
ALL = [BASELINE, INT8, SMALL]


def test_most_fidelity_wins_among_what_fits():
    assert answer(ALL, "memory=1GB").variant == "onnx"
    fit = answer(ALL, "memory=150MB")
    assert (fit.answer, fit.variant, fit.commit) == ("proven", "int8-dynamic", "int8-dynamic-commit")
    assert answer(ALL, "memory=100MB").variant == "int4"


def test_memory_is_checked_with_a_margin_of_ten_percent():
    assert answer([INT8], "memory=110MB").variant == "int8-dynamic"
    fit = answer([INT8], "memory=109999999B")
    assert fit.answer == "none"
    assert fit.dropped[0].to_json() == {
        "variant": "int8-dynamic", "limit": "memory", "value": 110_000_000, "allowed": 109_999_999,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "fits"),
    [
        ("latency=8ms", True), ("latency=7.9ms", False), ("size=10MB", True), ("size=9.9MB", False),
        ("fidelity=0.995", True), ("fidelity=0.996", False), ("throughput=90", True), ("throughput=91", False),
        ("load=50ms", True), ("load=49ms", False), ("energy=1J", False),
    ],
)  # fmt: skip
def test_limits_are_hard(limit, fits):
    assert (answer([INT8], limit).answer == "proven") is fits


def test_a_missing_percentile_is_never_guessed():
    fit = answer([candidate("few-runs", figures(p90_ms=None))], "latency=1s")
    assert fit.answer == "none" and fit.nearest_miss is None
    assert "p90 latency was not measured well enough on laptop-2c with 1 thread" in fit.sentence("me/x")


def test_the_goal_is_what_is_minimised():
    energy = [candidate("a", figures(energy_mj=5.0)), candidate("b", figures(energy_mj=4.0, p90_ms=99.0))]
    assert answer(ALL, "goal=latency").variant == "int8-dynamic"
    assert answer(ALL, "goal=size").variant == answer(ALL, "goal=memory").variant == "int4"
    assert answer(ALL, "goal=fidelity").variant == "onnx"
    assert answer(energy, "goal=energy").variant == "b"


def test_estimated_energy_is_never_proven_nor_before_measured():
    meter = candidate("meter", figures(energy_mj=9.0, energy_method="meter"))
    estimate = candidate("estimate", figures(energy_mj=1.0, energy_method="estimate"))
    assert answer([meter, estimate], "goal=energy").variant == "meter"
    assert answer([estimate], "energy=2mJ").answer == "likely"
    assert answer([estimate], "memory=1GB").answer == "proven"


def test_without_a_budget_nothing_is_lost_and_the_fastest_wins():
    assert answer(ALL, "fit@").variant == "int8-dynamic"
    fit = answer([BASELINE, SMALL], "fit@")
    assert fit.variant == "onnx" and [(d.variant, d.limit, d.allowed) for d in fit.dropped] == [
        ("int4", "fidelity", 0.99)
    ]


def test_before_anything_was_measured_the_baseline_is_the_unknown_answer():
    bare = [Candidate("int8-dynamic", "c8", size_bytes=10), Candidate("onnx", "c0", size_bytes=40, is_baseline=True)]
    assert (answer(bare, "fit@").answer, answer(bare, "fit@").variant) == ("unknown", "onnx")
    assert answer(bare, "size=20").variant == "int8-dynamic" and answer(bare, "size=20").answer == "unknown"
    assert answer(bare, "size=50").variant == "onnx"
    assert answer(bare, "memory=1GB").answer == answer(bare, "latency=1s").answer == "none"
    assert answer(bare, "size=9B").nearest_miss.variant == "int8-dynamic"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"noisy": True}, "not quiet"),
        ({"stale": True}, "older than the runtime"),
        ({"trust": "estimated"}, "estimated from another device"),
        ({"trust": "reported"}, "one sender"),
    ],
)
def test_doubtful_figures_are_only_likely_and_come_after_proven_ones(changes, why):
    doubtful = candidate("doubtful", figures(fidelity=1.0, **changes))
    assert answer([doubtful, SMALL], "memory=1GB").variant == "int4"
    fit = answer([doubtful], "memory=1GB")
    assert fit.answer == "likely"
    assert any(why in reason for reason in fit.reasons)


def test_a_proven_record_stands_before_a_newer_noisy_one():
    old, noisy = figures(p90_ms=30.0), figures(p90_ms=5.0, noisy=True, measured_at=datetime(2026, 11, 21, tzinfo=UTC))
    assert answer([candidate("x", noisy, old)], "latency=10ms").answer == "none"
    newer = figures(p90_ms=7.0, measured_at=datetime(2026, 11, 21, tzinfo=UTC))
    assert answer([candidate("x", newer, old)], "latency=10ms").answer == "proven"


def test_figures_of_another_place_prove_nothing():
    here, there = figures(p90_ms=50.0), figures(device="server", p90_ms=1.0)
    four = figures(threads=4, p90_ms=3.0)
    x = candidate("x", here, there, four)
    assert answer([x], "latency=10ms").answer == "none"
    assert answer([x], "latency=10ms,device=server").answer == "proven"
    assert answer([x], "latency=10ms,threads=4").answer == "proven"
    assert answer([x], "latency=10ms,device=server,threads=4").answer == "none"


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("runtime=onnxruntime", True), ("runtime=onnxruntime-1.31.0", True), ("runtime=onnxruntime-1.30.0", False),
        ("runtime=onnx", False), ("format=onnx", True), ("format=gguf", False), ("opset=17", True), ("opset=21", True),
        ("opset=13", False),
    ],
)  # fmt: skip
def test_where_it_must_run(text, fits):
    assert (answer([INT8], text).answer == "proven") is fits


def test_only_ready_variants_are_chosen():
    quarantined = replace(INT8, status="quarantined")
    fit = answer([quarantined, SMALL], "memory=1GB")
    assert fit.variant == "int4"
    assert fit.dropped[0].to_json() == {
        "variant": "int8-dynamic", "limit": "status", "value": "quarantined", "allowed": "ready",
    }  # fmt: skip


def test_the_shape_and_the_sentences():
    fit = answer(ALL, "memory=1MB", now=datetime(2026, 11, 22, tzinfo=UTC))
    shown = json.loads(json.dumps(fit.to_json()))
    assert set(shown) == {
        "budget", "revision", "answer", "variant", "commit", "reasons", "dropped", "nearest_miss", "catalogue_version",
        "figures",
    }  # fmt: skip
    assert shown["answer"] == "none" and shown["variant"] is shown["commit"] is None
    assert shown["nearest_miss"] == {
        "variant": "int4", "limit": "memory", "value": 88_000_000, "allowed": 1_000_000,
        "sentence": "int4 with 80 MB peak + 10 %, 1 MB allowed",
    }  # fmt: skip
    assert fit.sentence("me/x") == (
        "No variant of me/x fits memory=1MB: the nearest is int4 with 80 MB peak + 10 %, 1 MB allowed."
    )
    good = answer(ALL, "memory=150MB", now=datetime(2026, 11, 22, tzinfo=UTC))
    text = " ".join(good.reasons)
    for part in ("peak memory ≤ 150 MB for the measured peak + 10 %", "verified, measured on 2026-11-20 (2 days ago)",
                 "1 of 3 variants were dropped", "nearest miss is onnx", "Catalogue version 7"):  # fmt: skip
        assert part in text
    assert answer([], "memory=1MB").sentence("me/x") == "No variant of me/x fits memory=1MB: it has no variants yet."


def test_the_nearest_miss_has_the_smallest_worst_excess():
    near = candidate("near", figures(p90_ms=12.0, peak_memory_bytes=100_000_000))
    far = candidate("far", figures(p90_ms=10.1, peak_memory_bytes=200_000_000))
    fit = answer([far, near], "latency=10ms,memory=100MB")
    assert (fit.nearest_miss.variant, fit.nearest_miss.limit) == ("near", "latency")
    assert fit.nearest_miss.excess == pytest.approx(0.2)


def test_beaten_by_and_the_front():
    worse = candidate("worse", figures(fidelity=0.99, p90_ms=8.0))
    unmeasured = candidate("unmeasured", figures(p90_ms=None))
    noisy = candidate("noisy", figures(noisy=True, p90_ms=0.1, fidelity=1.0))
    names = beaten_by([*ALL, worse, unmeasured, noisy])
    assert names == {
        "onnx": [], "int8-dynamic": [], "int4": [], "worse": ["int8-dynamic"], "unmeasured": [], "noisy": [],
    }  # fmt: skip
    assert pareto_front([*ALL, worse, noisy], DEVICE) == ["int4", "int8-dynamic", "onnx"]
    faster_elsewhere = replace(worse, footprints=(*worse.footprints, figures(device="server", p90_ms=1.0)))
    int8_elsewhere = replace(INT8, footprints=(*INT8.footprints, figures(device="server", p90_ms=2.0)))
    assert beaten_by([int8_elsewhere, faster_elsewhere]) == {"int8-dynamic": [], "worse": []}


def test_nan_is_not_a_figure():
    broken = candidate("broken", figures(p90_ms=float("nan"), fidelity=float("inf")))
    assert answer([broken], "latency=1s").answer == answer([broken], "fidelity=0.1").answer == "none"
    assert answer([broken, SMALL], "memory=1GB").variant == "int4"


records = st.builds(
    figures,
    device=st.sampled_from([DEVICE, "other"]),
    threads=st.sampled_from([1, 4]),
    trust=st.sampled_from(["verified", "confirmed", "reported", "estimated"]),
    noisy=st.booleans(),
    stale=st.booleans(),
    size_bytes=st.integers(1, 6),
    peak_memory_bytes=st.one_of(st.none(), st.integers(1, 6)),
    p90_ms=st.one_of(st.none(), st.integers(1, 6).map(float)),
    fidelity=st.one_of(st.none(), st.integers(5, 10).map(lambda n: n / 10)),
    runtime=st.sampled_from(["onnxruntime 1.31.0", "other 2"]),
)
catalogues = st.lists(
    st.tuples(
        st.lists(records, max_size=3), st.sampled_from(["ready", "ready", "ready", "quarantined"]), st.booleans()
    ),
    max_size=6,
).map(
    lambda rows: [
        Candidate(f"v{n}", f"c{n}", status, tuple(found), size_bytes=3, is_baseline=baseline)
        for n, (found, status, baseline) in enumerate(rows)
    ]
)
budget_texts = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.integers(1, 7).map(str), "latency": st.integers(1, 6).map(str), "size": st.integers(1, 6).map(str),
        "fidelity": st.integers(5, 10).map(lambda n: str(n / 10)), "threads": st.sampled_from(["1", "4"]),
        "goal": st.sampled_from(["latency", "memory", "size", "fidelity"]),
    },
).map(lambda parts: ",".join(f"{key}={value}" for key, value in parts.items()))  # fmt: skip


def satisfies(record, budget):
    """Every limit by hand, from the table in measuring.md §3."""
    for key, allowed in budget.limits:
        value = {
            "memory": record.peak_memory_bytes, "latency": record.p90_ms,
            "size": record.size_bytes, "fidelity": record.fidelity,
        }[key]  # fmt: skip
        if value is None:
            return False
        if key == "fidelity":
            if Decimal(str(value)) < allowed:
                return False
        elif (Decimal(str(value)) * 110 if key == "memory" else Decimal(str(value)) * 100) > allowed * 100:
            return False
    return not (budget.is_default and (record.fidelity is None or record.fidelity < 0.99))


@given(catalogues, budget_texts)
@settings(max_examples=400, deadline=None)
def test_the_choice_against_brute_force(candidates, text):
    budget = parse_budget(text)
    fit = answer(candidates, text)
    threads = budget.whole_number("threads") or 1
    by_level = {"proven": [], "likely": []}
    for one in candidates:
        here = (
            [f for f in one.footprints if (f.device, f.threads) == (DEVICE, threads)] if one.status == "ready" else []
        )
        for runtime in {f.runtime for f in here}:
            same = [f for f in here if f.runtime == runtime]
            proven = [f for f in same if f.is_proven]
            level = "proven" if proven else "likely"
            # Records of one time in one place: the slowest is believed.
            best = max(proven or same, key=lambda f: (f.p90_ms or 0, repr(f)))
            if satisfies(best, budget):
                by_level[level].append((one, best))
    expected_level = "proven" if by_level["proven"] else "likely" if by_level["likely"] else None
    if expected_level is None:
        assert fit.answer in ("unknown", "none")
        if fit.answer == "unknown":
            assert not any(key in ("memory", "latency") for key, _ in budget.limits)
            chosen = next(c for c in candidates if c.name == fit.variant)
            assert not any((f.device, f.threads) == (DEVICE, threads) for f in chosen.footprints)
        return
    pool = by_level[expected_level]
    assert fit.answer == expected_level
    assert (fit.variant, fit.figures) in [(c.name, f) for c, f in pool]
    goal = "latency" if budget.is_default else budget.goal or "fidelity"
    axis = {"latency": "p90_ms", "memory": "peak_memory_bytes", "size": "size_bytes", "fidelity": "fidelity"}[goal]
    measured = [getattr(f, axis) for _, f in pool if getattr(f, axis) is not None]
    if measured:
        assert getattr(fit.figures, axis) == (max(measured) if goal == "fidelity" else min(measured))
    assert {d.variant for d in fit.dropped}.isdisjoint({c.name for c, _ in pool})


@given(catalogues, budget_texts, st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_candidates_and_records_makes_no_difference(candidates, text, random):
    shuffled = [
        replace(c, footprints=tuple(random.sample(c.footprints, len(c.footprints))))
        for c in random.sample(candidates, len(candidates))
    ]
    assert answer(candidates, text).to_json() == answer(shuffled, text).to_json()
    assert beaten_by(candidates) == beaten_by(shuffled)
    assert pareto_front(candidates, DEVICE) == pareto_front(shuffled, DEVICE)


FRUGAL = candidate("onnx-low-memory", figures(peak_memory_bytes=50_000_000, fidelity=1.0), needs_options=True)


def test_figures_which_need_session_options_are_an_answer_only_where_the_budget_allows_them():
    assert answer([*ALL, FRUGAL], "memory=1GB,goal=memory").variant == "int4"
    fit = answer([*ALL, FRUGAL], "memory=60MB")
    assert fit.answer == "none"
    dropped = next(drop for drop in fit.dropped if drop.variant == "onnx-low-memory")
    assert dropped.limit == "options" and "options=any" in dropped.sentence
    fit = answer([*ALL, FRUGAL], "memory=60MB,options=any")
    assert (fit.answer, fit.variant) == ("proven", "onnx-low-memory") and "options any" in " ".join(fit.reasons)


def test_what_needs_session_options_beats_nothing_which_needs_none():
    best = candidate("frugal", figures(size_bytes=1, peak_memory_bytes=1, p90_ms=0.1, fidelity=1.0), needs_options=True)
    assert beaten_by([INT8, best]) == {"int8-dynamic": [], "frugal": []}
    worse = candidate("worse", figures(size_bytes=2, peak_memory_bytes=2, p90_ms=0.2, fidelity=1.0), needs_options=True)
    assert beaten_by([INT8, best, worse])["worse"] == ["frugal"]
