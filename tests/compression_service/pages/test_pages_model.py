"""A model's page: variants, chart, fit."""

import re

import pytest

from compression_service.devices.models import Device
from compression_service.variants.models import Footprint, SourceModel, Variant
from tests import factories

FIGURES = {
    "onnx": (4_000_000, 10.0, 80_000_000, 1.0),
    "fp16": (4_100_000, 11.0, 81_000_000, 0.9999),
    "int8-static": (1_000_000, 4.0, 60_000_000, 0.99),
}


@pytest.fixture
def family(model) -> SourceModel:
    return factories.make_family(model, FIGURES)


def row_of(page: str, name: str) -> str:
    return re.search(rf'<tr[^>]*id="variant-{re.escape(name)}".*?</tr>', page, re.DOTALL)[0]


def test_a_model_without_variants_has_a_page(visitor, model):
    page = visitor.get("/alice/m").content.decode()
    assert 'id="variants"' not in page and 'id="fit"' not in page


def test_the_table_shows_figures_and_who_beats_whom(visitor, family):
    page = visitor.get("/alice/m").content.decode()
    row = row_of(page, "int8-static")
    assert "1.00 MB" in row and "60.0 MB" in row and "4.00 ms" in row and "3.60 ms" in row and "0.9900" in row
    assert "beaten by" not in row
    beaten = row_of(page, "fp16")
    assert 'class="beaten"' in beaten and "beaten by onnx" in beaten
    assert "1 thread" in page and "test-2c" in page


def test_marks_of_doubt_and_reasons(visitor, family):
    Variant.objects.filter(name="int8-static").update(flagged=True)
    Footprint.objects.filter(variant__name="int8-static").update(noisy=True, record={"noise": "load average 9"})
    reasons = {
        "quarantined": "Its outputs hold NaN.",
        "not_applicable": "There is no convolution.",
        "failed": "<b>It broke.</b>",
    }
    for status, reason in reasons.items():
        Variant.objects.create(source=family, name=f"x-{status}", recipe="x", status=status, reason=reason, position=9)
    page = visitor.get("/alice/m").content.decode()
    row = row_of(page, "int8-static")
    assert "loses over 1 point" in row and 'title="load average 9">noisy' in row
    assert (
        "Its outputs hold NaN." in page
        and "There is no convolution." in page
        and "&lt;b&gt;It broke.&lt;/b&gt;" in page
    )
    assert "variant-x-quarantined" not in page  # no row with figures, no dot


def test_the_metric_and_its_interval(visitor, family):
    metric = {"name": "accuracy", "value": 0.991, "source_value": 0.993, "low": 0.983, "high": 0.9953, "count": 1000}
    Variant.objects.filter(name="int8-static").update(metric=metric)
    page = visitor.get("/alice/m").content.decode()
    assert "99.1 %" in row_of(page, "int8-static") and "98.3 % – 99.5 %" in row_of(page, "int8-static")
    assert "99.3 %" in row_of(page, "onnx")


def test_threads_are_switched_by_a_link(visitor, family):
    place = Device.objects.get()
    for variant in Variant.objects.all():
        Footprint.objects.create(
            variant=variant, device=place, threads=2, runtime="onnxruntime 1.31.1", size_bytes=1, wire_bytes=1,
            peak_memory_bytes=70_000_000, p50_ms=1.5, p90_ms=2.125, measured_at=variant.updated_at,
        )  # fmt: skip
    one = visitor.get("/alice/m").content.decode()
    assert "?threads=2#variants" in one and "4.00 ms" in row_of(one, "int8-static")
    two = visitor.get("/alice/m?threads=2").content.decode()
    assert "2.12 ms" in row_of(two, "int8-static") and "all 2 cores" in two
    assert "fit@threads=2" in two  # the budget is answered for what is shown
    for odd in ("0", "-1", "99", "abc", "9" * 50, "²"):
        assert "4.00 ms" in row_of(visitor.get("/alice/m", {"threads": odd}).content.decode(), "int8-static"), odd


def test_the_chart_has_a_dot_a_variant_and_words_for_those_who_do_not_see_it(visitor, family):
    for axis, words in {
        "": "p90 latency",
        "memory": "Peak memory",
        "size": "Size of the files",
        "odd": "p90 latency",
    }.items():
        page = visitor.get("/alice/m", {"x": axis}).content.decode()
        charts = re.findall(r"<svg class=\"chart.*?</svg>", page, re.DOTALL)
        assert len(charts) == 2 and all(chart.count("<circle") == 3 for chart in charts)
        assert all(f"{words} →" in chart and "<title" in chart and "<desc" in chart for chart in charts)


def test_a_budget_is_answered_with_reasons_and_a_snippet(visitor, family):
    page = visitor.get("/alice/m", {"memory": "70 MB", "latency": "5ms"}).content.decode()
    assert "<strong>int8-static</strong>" in page and "proven" in page
    assert (
        "revision=&quot;fit@latency=5ms,memory=70MB&quot;" in page or 'revision="fit@latency=5ms,memory=70MB"' in page
    )
    assert "http://testserver/alice/m/resolve/fit@latency=5ms,memory=70MB/x" in page
    assert "int8-static was chosen of 1 that fit" in page
    assert "onnx with 80 MB peak + 10 %, 70 MB allowed" in page or "onnx with 10 ms p90" in page


def test_nothing_fits_says_the_nearest_miss(visitor, family):
    page = visitor.get("/alice/m?memory=1KB").content.decode()
    assert "Nothing fits." in page and "the nearest is int8-static" in page and "snippets" not in page


@pytest.mark.parametrize(
    "budget",
    [
        {"memory": "lots"},
        {"fidelity": "2"},
        {"latency": "<script>alert(1)</script>"},
        {"size": "0"},
        {"memory": "9" * 90},
    ],
)
def test_a_bad_budget_is_a_sentence(visitor, family, budget):
    answer = visitor.get("/alice/m", budget)
    page = answer.content.decode()
    assert answer.status_code == 200 and 'role="alert"' in page and "<script>alert" not in page
    assert row_of(page, "onnx")


@pytest.mark.parametrize(
    ("status", "words"), [("refused", "No variants were made."), ("failed", "Making the variants failed.")]
)
def test_a_refused_source_says_why(visitor, model, status, words):
    SourceModel.objects.create(repository=model, commit="0" * 40, digest="d", status=status, reason="No graph in it.")
    page = visitor.get("/alice/m").content.decode()
    assert words in page and "No graph in it." in page and 'id="fit"' not in page


def test_variants_on_their_way(visitor, model):
    source = SourceModel.objects.create(repository=model, commit="0" * 40, digest="d")
    assert "The source is being converted." in visitor.get("/alice/m").content.decode()
    Variant.objects.create(source=source, name="fp16", recipe="fp16", title="16-bit floats")
    page = visitor.get("/alice/m").content.decode()
    assert "Being made" in page and "16-bit floats" in page and "Once they are measured" in page


def test_unmeasured_variants_are_shown_with_what_is_known(visitor, family):
    Footprint.objects.all().delete()
    page = visitor.get("/alice/m").content.decode()
    assert "Not measured yet" in page and "1.00 MB" in row_of(page, "int8-static") and '<svg class="chart' not in page


def test_listings_say_how_many_variants_there_are(visitor, family):
    assert "3 variants from 1.00 MB" in visitor.get("/models").content.decode()


def test_more_variants_ask_no_more_queries(visitor, model, django_assert_max_num_queries):
    factories.make_family(model, {f"v{n}": (1000 + n, 1.0 + n, 10_000 + n, 0.9) for n in range(12)} | FIGURES)
    visitor.get("/alice/m")
    with django_assert_max_num_queries(42):
        visitor.get("/alice/m?memory=1MB")
