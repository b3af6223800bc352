"""Figures for people."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.template.loader import get_template
from django.utils import timezone

from models_registry.pages.templatetags import figures


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 KB"), (412_355, "412 KB"), (999_600, "1.00 MB"), (1_650_000, "1.65 MB"),
        (59_580_416, "59.6 MB"), (2 * 10**9, "2.00 GB"), (None, "–"), (float("nan"), "–"), ("", "–"),
    ],
)  # fmt: skip
def test_bytes_are_decimal_in_three_digits(value, text):
    assert figures.in_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.009043, "9.04 µs"), (0.0996, "99.6 µs"), (0.5, "0.500 ms"), (3.2468, "3.25 ms"), (999.6, "1,000 ms"), (12_345, "12.3 s"), (None, "–")],
)  # fmt: skip
def test_milliseconds(value, text):
    assert figures.ms(value) == text


@pytest.mark.parametrize(
    ("value", "inputs", "text"),
    [(1.0, None, "1"), (0.99999, None, "0.9999"), (0.9930, 1000, "0.9930"), (0.9961, 256, "0.996"), (0.999, 1000, "0.9990"), (None, None, "–")],
)  # fmt: skip
def test_fidelity_is_never_rounded_up_to_one(value, inputs, text):
    assert figures.fidelity(value, inputs) == text


def test_ratios_and_counts():
    assert figures.times(0.2577) == "×0.26" and figures.times(None) == "" and figures.times(123.4) == "×123"
    assert figures.count(1234567) == "1,234,567" and figures.percent(0.98765) == "98.8 %"


@pytest.mark.parametrize(
    ("shown", "value", "text"),
    [
        (figures.seconds, 0.0123, "0.0123 s"), (figures.seconds, 119, "119 s"), (figures.seconds, 120, "2.00 min"),
        (figures.seconds, 9000, "2.50 h"), (figures.seconds, None, "–"),
        (figures.joules, 0.0000123, "12.3 µJ"), (figures.joules, 0.012, "12.0 mJ"), (figures.joules, 900, "900 J"),
        (figures.joules, 12_345, "12.3 kJ"), (figures.joules, 7.2e6, "2.00 kWh"), (figures.joules, -0.003, "-3.00 mJ"),
        (figures.joules, 0, "0 µJ"), (figures.joules, float("nan"), "–"), (figures.millijoules, 5, "5.00 mJ"),
        (figures.grams, 0.09, "90.0 mg"), (figures.grams, 12, "12.0 g"), (figures.grams, 1400, "1.40 kg"), (figures.grams, None, "–"),
        (figures.signed_bytes, -412_000, "−412 KB"), (figures.signed_bytes, 5, "5 B"), (figures.signed_ms, -3.0, "−3.00 ms"),
        (figures.signed_ms, None, "–"),
    ],
)  # fmt: skip
def test_what_things_cost(shown, value, text):
    assert shown(value) == text


def test_errors_which_may_be_tiny():
    assert [figures.small(value) for value in (0, 0.0123, 2.34e-5, None)] == ["0", "0.012", "2.3 · 10⁻⁵", "–"]


def test_moments_say_how_long_ago_and_exactly_when():
    now = timezone.now()
    assert ">3 h ago</time>" in figures.when(now - timedelta(hours=3, minutes=20))
    assert ">just now</time>" in figures.when(now + timedelta(seconds=30))
    old = figures.when(datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC))
    assert ">3 Feb 2024</time>" in old and "2024-02-03 04:05:06 UTC" in old
    assert figures.when(None) == "–"


def test_the_filters_are_in_every_template():
    assert Template("{{ n|bytes }}").render(Context({"n": 10_000_000})) == "10.0 MB"


@pytest.mark.parametrize("name", ["500.html", "400.html", "404.html", "403.html", "403_csrf.html"])
def test_error_pages_need_no_context_and_no_database(name):
    page = get_template(name).render()
    assert "<h1>" in page and "FitHub" in page
