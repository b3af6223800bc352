import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compression_service.selection.budgets import GOALS, KEYS, OPTIONS, Budget, BudgetError, limit_text, parse_budget

BYTE_UNITS = ["", "B", "KB", "MB", "GB", "KiB", "MiB", "GiB"]
TIME_UNITS = ["", "us", "ms", "s"]
numbers = st.decimals("0.001", "9999", places=3).map(lambda number: f"{number:f}")
words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=12)


def amounts(units):
    # 10**6 GiB is more than a limit can be
    return st.tuples(st.integers(1, 900_000).map(str) | numbers, st.sampled_from(units)).map("".join)


VALUES = {
    "size": st.tuples(st.integers(1, 10**5).map(str), st.sampled_from(BYTE_UNITS)).map("".join),
    "memory": amounts(BYTE_UNITS[2:]),
    "latency": amounts(TIME_UNITS),
    "load": amounts(TIME_UNITS),
    "energy": amounts(["", "mJ", "J"]),
    "fidelity": st.integers(1, 1000).map(lambda n: f"{n / 1000:.3f}"),
    "throughput": numbers,
    "device": words,
    "runtime": words,
    "format": words,
    "options": st.sampled_from(OPTIONS),
    "threads": st.integers(1, 256).map(str),
    "opset": st.integers(1, 30).map(str),
    "goal": st.sampled_from(GOALS),
}
parts = st.sets(st.sampled_from(KEYS)).flatmap(lambda keys: st.fixed_dictionaries({key: VALUES[key] for key in keys}))


def text_of(pairs):
    return ",".join(f"{key}={value}" for key, value in pairs)


@given(parts)
@settings(deadline=None)
def test_the_canonical_text_reads_back_as_the_same_budget(values):
    budget = parse_budget(text_of(values.items()))
    assert parse_budget(budget.canonical) == budget == parse_budget(budget.revision)
    assert parse_budget(budget.canonical).canonical == budget.canonical
    assert not set('/:<>|?*" ') & set(budget.revision)


@given(parts, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_keys_makes_no_difference(values, random):
    pairs = list(values.items())
    shuffled = random.sample(pairs, len(pairs))
    assert parse_budget("fit@" + text_of(pairs)) == parse_budget(text_of(shuffled)) == Budget.from_query(dict(shuffled))
    assert hash(parse_budget(text_of(pairs))) == hash(parse_budget(text_of(shuffled)))


@given(st.text(max_size=80))
@settings(deadline=None)
def test_any_text_is_a_budget_or_a_budget_error(text):
    try:
        assert parse_budget(parse_budget(text).canonical) == parse_budget(text)
    except BudgetError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("fit@", ""),
        ("fit@memory=512MB,latency=20ms", "latency=20ms,memory=512MB"),
        ("memory=512000000", "memory=512MB"),
        ("memory=536870912B", "memory=512MiB"),
        ("memory=1.5KiB", "memory=1536B"),
        ("memory=1000MB", "memory=1GB"),
        ("latency=1.50s", "latency=1500ms"),
        ("latency=300us", "latency=0.3ms"),
        ("energy=2J", "energy=2000mJ"),
        ("fidelity=.980", "fidelity=0.98"),
        ("threads=04,opset=17,goal=size", "goal=size,opset=17,threads=4"),
        ("device=raspberry-pi-5,runtime=onnxruntime-1.31", "device=raspberry-pi-5,runtime=onnxruntime-1.31"),
    ],
)
def test_one_spelling_for_one_budget(text, canonical):
    assert parse_budget(text).canonical == canonical


def test_limits_are_kept_in_base_units():
    limits = dict(parse_budget("memory=1KiB,latency=2s,energy=1J,fidelity=0.9,throughput=10,load=5us,size=7").limits)
    assert limits == {
        "memory": 1024, "latency": 2000, "energy": 1000, "fidelity": Decimal("0.9"), "throughput": 10,
        "load": Decimal("0.005"), "size": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "sentence", "known"),
    [
        ("memry=1MB", "is not a key", "memory"),
        ("memory=1mb", "unknown unit", "MB"),
        ("latency=1m", "unknown unit", "ms"),
        ("energy=1kWh", "unknown unit", "mJ"),
        ("fidelity=98pct", "unknown unit", None),
        ("fidelity=1.01", "above 1", None),
        ("goal=price", "goal", "latency"),
        ("memory=1MB,memory=2MB", "twice", "memory"),
        ("goal=size,goal=size", "twice", "memory"),
        ("memory=-1MB", "not a number above 0", "MB"),
        ("memory=nan", "not a number above 0", "MB"),
        ("latency=inf", "not a number above 0", "ms"),
        ("memory=0", "is 0", "MB"),
        ("memory=0.1B", "is 0", "MB"),
        ("memory=1.2.3MB", "not a number above 0", "MB"),
        ("memory=.MB", "not a number above 0", "MB"),
        ("memory=1e9", "unknown unit", "MB"),
        ("memory=9999999999999999", "larger than any limit", "MB"),
        ("memory=0000000000000000000000001", "too many digits", "MB"),
        ("memory=", "letters, digits", "MB"),
        ("memory=1 MB", "letters, digits", "MB"),
        ("memory=１MB", "letters, digits", "MB"),
        ("device=a/b", "letters, digits", None),
        ('device="x"', "letters, digits", None),
        ("device=" + "x" * 65, "letters, digits", None),
        ("threads=0", "whole number", None),
        ("threads=1.5", "whole number", None),
        ("opset=1000000", "whole number", None),
        ("memory", "key=value", "memory"),
        ("memory=1MB,", "key=value", "memory"),
        ("x" * 1025, "1,024 characters", "memory"),
        (",".join(["a=1"] * 65), "64 parts", "memory"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_a_sentence_and_the_list(text, sentence, known):
    with pytest.raises(BudgetError, match=sentence) as raised:
        parse_budget(text)
    assert known is None or known in raised.value.known
    assert str(raised.value).endswith(".")


def test_a_query_string():
    assert Budget.from_query({"memory": ["1MB"], "page": "2"}, ignore=["page"]) == parse_budget("memory=1MB")
    with pytest.raises(BudgetError, match="twice"):
        Budget.from_query({"memory": ["1MB", "2MB"]})
    with pytest.raises(BudgetError, match="'page' is not a key"):
        Budget.from_query({"page": "2"})


def test_unknown_devices_are_named_with_the_known_ones():
    budget = parse_budget("device=toaster")
    budget.require_known("runtime", [])
    with pytest.raises(BudgetError, match="toaster") as raised:
        budget.require_known("device", ["pi-5", "epyc"])
    assert raised.value.known == ["epyc", "pi-5"]


def test_megabytes_of_hostile_text_are_refused_at_once():
    started = time.process_time()
    for text in ("," * 10**7, "memory=" + "1" * 10**7, "=" * 10**7, "fit@" * 10**6):
        with pytest.raises(BudgetError):
            parse_budget(text)
    assert time.process_time() - started < 1


def test_values_for_people():
    assert limit_text("memory", 24_123_456) == "24.1 MB"
    assert limit_text("size", 999) == "999 B"
    assert limit_text("latency", 3.2511) == "3.25 ms"
    assert limit_text("fidelity", 0.98765) == "0.98765"


def test_options_are_those_of_the_runtime_unless_said():
    assert parse_budget("fit@options=default,size=1MB") == parse_budget("fit@size=1MB")
    assert parse_budget("fit@options=any").revision == "fit@options=any"
    with pytest.raises(BudgetError, match="known are default, any") as refused:
        parse_budget("fit@options=some")
    assert refused.value.known == ["default", "any"]
