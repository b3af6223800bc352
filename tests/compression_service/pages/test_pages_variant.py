"""The page of one variant: passes, layers, chart, files, reasons."""

import re

import pytest

from compression_service.pages import sensitivity
from compression_service.pages.passes import passes_of
from compression_service.pages.sensitivity import Layer
from compression_service.selection import services
from compression_service.variants import services as publishing
from compression_service.variants.models import SourceModel, Variant
from tests import factories

LAYERS = [
    {"layer": f"/encoder/layer.{n}/query/MatMul", "operator": "MatMul", "shape": [64, 32], "bits": 4 if n % 2 else 8,
     "bytes_before": 8192, "bytes_after": 1024, "error": 10.0**-n, "sensitivity": 10.0 ** -(n - 1), "note": "by <scan>"}
    for n in range(1, 5)
]  # fmt: skip
PASSES = [
    {"pass": "weight_only", "source": "GPTQ (Frantar et al. 2022)", "params": {"bits": [4, 8], "block": 32},
     "component": "model", "changed": "4 matrices in 4 and 8 bits.", "seconds": 1.234, "layers": LAYERS},
    {"pass": "keep", "params": {}, "component": "model", "changed": "left as it is by wish", "seconds": 0.0},
    {"pass": None, "params": {}, "component": "model", "changed": "There is no convolution.", "seconds": 0.0},
]  # fmt: skip


@pytest.fixture
def family(model) -> SourceModel:
    made = factories.make_family(model, {"onnx": (4000, 9.0, 8000, 1.0), "prune-50+int8": (1000, 4.0, 6000, 0.99)})
    Variant.objects.filter(name="prune-50+int8").update(
        passes=PASSES,
        title="Half & half",
        definition={"name": "prune-50+int8", "why": "Because <of> it."},
        fidelity_inputs={"kind": "generated", "count": 40, "calibration_count": 20, "source": "Ones.", "notes": ["N."]},
        files=[{"path": "onnx/model.onnx", "size_bytes": 1000, "sha256": "ab" * 32}],
        provenance={"versions": {"onnxruntime": "1.31.1"}, "seed": 0},
    )
    SourceModel.objects.update(detail={"wishes": {"pin": ["prune-50+int8"]}})
    return made


def page_of(visitor, name="prune-50%2Bint8") -> str:
    answer = visitor.get(f"/alice/m/variants/{name}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_page_says_why_it_is_what_it_is(visitor, family):
    page = page_of(visitor)
    for words in (
        "Half &amp; half", "Because &lt;of&gt; it.", "pinned by the card",
        "GPTQ (Frantar et al. 2022)", "<code>[4, 8]</code>", "1.23 s", "4 matrices in 4 and 8 bits.", "Left as it is",
        "There is no convolution.", "32.8 KB → 4.10 KB", "2 in 4 bits, 2 in 8 bits", "by &lt;scan&gt;",
        "cosine of the outputs on 40 generated inputs, calibrated on 20 others", "Ones. N.",
        "ab" * 32, "refs/variants/prune-50+int8", "rebuild_variant alice/m prune-50+int8", "1.31.1", "1.00 KB",
    ):  # fmt: skip
        assert words in page, words
    charts = re.findall(r'<svg class="chart layers.*?</svg>', page, re.DOTALL)
    assert len(charts) == 2 and all(chart.count("<circle") == 8 for chart in charts)
    assert 'href="/alice/m/resolve/' in page and "<script" in page and "onclick" not in page


def test_what_was_left_as_it_is_by_wish_is_not_told(visitor, family):
    assert "left as it is by wish" not in page_of(visitor)


def test_the_same_reason_is_told_once(visitor, family):
    for name in ("a", "b"):
        Variant.objects.create(source=family, name=name, recipe=name, status="failed", reason="It <broke>.", position=9)
    page = visitor.get("/alice/m").content.decode()
    assert page.count("It &lt;broke&gt;.") == 1 and 'variants/a"' in page and 'variants/b"' in page


def test_the_model_page_leads_to_it(visitor, family):
    Variant.objects.create(source=family, name="x", recipe="x", status="failed", reason="It broke.", position=9)
    page = visitor.get("/alice/m").content.decode()
    assert 'href="/alice/m/variants/prune-50%2Bint8"' in page and 'href="/alice/m/variants/x"' in page


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("quarantined", "Nobody gets it."),
        ("failed", "It could not be made."),
        ("not_applicable", "It was not made."),
        ("making", "It is being made."),
    ],
)
def test_one_which_nobody_gets_says_why(visitor, family, status, words):
    Variant.objects.create(source=family, name="x", recipe="x", status=status, reason="<b>NaN</b>.", position=9)
    page = page_of(visitor, "x")
    assert words in page and "hf download" not in page and "rebuild_variant" not in page
    assert ("&lt;b&gt;NaN&lt;/b&gt;." in page) == (status != "making")


def test_the_baseline_and_what_is_not_there(visitor, family, bob_browser):
    assert "No pass changed it" in page_of(visitor, "onnx")
    assert visitor.get("/alice/m/variants/none").status_code == 404
    assert visitor.get("/alice/none/variants/onnx").status_code == 404
    assert visitor.get("/datasets/alice/m/variants/onnx").status_code == 404
    type(family.repository).objects.update(private=True)
    assert bob_browser.get("/alice/m/variants/onnx").status_code == 404


@pytest.mark.parametrize(
    "odd",
    [
        None, {}, [None, 3], [{"pass": 3, "params": [1], "layers": {"a": 1}, "seconds": "x"}],
        [{"pass": "p", "layers": [None, {}, {"layer": 3}, {"layer": "a", "shape": ["x", -1], "bits": "4", "error": "1",
                                                           "sensitivity": -1, "bytes_before": 10**40}]}],
        [{"pass": "p", "layers": [{"layer": "a", "error": 0}, {"layer": "b", "error": 0.0}]}],
        [{"pass": "p", "params": {"x": ["y" * 1000]}}],
    ],
)  # fmt: skip
def test_odd_passes_out_of_a_sandbox_break_no_page(visitor, family, odd):
    Variant.objects.filter(name="prune-50+int8").update(passes=odd or [])
    page_of(visitor)
    passes_of(odd)


def test_the_list_of_the_api_is_short_and_one_variant_has_its_layers(anonymous, family):
    listed = {row["name"]: row for row in anonymous.get("/api/models/alice/m/variants").json()["variants"]}
    assert "layers" not in listed["prune-50+int8"]["passes"][0]
    one = anonymous.get("/api/models/alice/m/variants/prune-50+int8").json()
    assert len(one["passes"][0]["layers"]) == 4


def test_the_chart_shows_the_most_sensitive_in_the_order_of_the_graph():
    layers = [Layer(f"l{n}", sensitivity=(n * 37 % 101) / 101 + 1e-4) for n in range(101)]
    rows = sensitivity.shown(layers)
    assert len(rows) == sensitivity.MOST_ROWS and min(row.sensitivity for row in rows) > 0.6
    assert [int(row.name[1:]) for row in rows] == sorted(int(row.name[1:]) for row in rows)
    chart = sensitivity.draw(layers, 760, 250)
    assert len(chart.rows) == 40 and not chart.has_errors
    assert all(chart.left <= row.sensitivity_x <= chart.right for row in chart.rows)


def test_errors_of_nothing_and_of_all_sizes_stay_in_the_chart():
    layers = [Layer("a", error=0.0, sensitivity=1e-30), Layer("b", error=3e4, sensitivity=1e-9), Layer("c", error=None)]
    chart = sensitivity.draw(layers, 350, 122)
    places = [x for row in chart.rows for x in (row.error_x, row.sensitivity_x)]
    assert len(chart.rows) == 2 and all(chart.left <= x <= chart.right for x in places)
    assert places[0] == places[1] == chart.left and chart.ticks[-1][1] in ("10⁵", "10⁴", "10³")
    assert sensitivity.draw(layers[:1], 350, 122) is None
    assert sensitivity.draw([Layer("a", error=0.0), Layer("b", error=0.0)], 350, 122) is not None


def test_labels_keep_what_tells_layers_apart():
    layers = [Layer(f"/encoder/layer.{n}/self/query/MatMul", "MatMul", error=0.1) for n in range(9)]
    chart = sensitivity.draw([*layers, Layer("/pooler/Gemm", "Gemm", error=0.2)], 760, 250)
    assert [row.label for row in chart.rows][::9] == ["layer.0/self/query", "pooler"]
    same = sensitivity.draw([Layer("/a/MatMul", "MatMul", error=0.1)] * 2, 760, 250)
    assert {row.label for row in same.rows} == {"a"}
    assert sensitivity.shortened("abcdefghij", 5) == "ab…ij" and sensitivity.power_of_ten(-12) == "10⁻¹²"


def test_session_options_are_told_and_a_budget_has_to_allow_them(visitor, family):
    wanted = {"enable_cpu_mem_arena": False, "session.disable_prepacking": "1"}
    component = {"name": "model", "path": "onnx/model.onnx", "session_options": wanted}
    assert "Load it with these options" not in page_of(visitor)
    Variant.objects.filter(name="prune-50+int8").update(components=[component])
    page = page_of(visitor)
    assert "options.enable_cpu_mem_arena = False" in page
    assert "options.add_session_config_entry(&quot;session.disable_prepacking&quot;, &quot;1&quot;)" in page
    rows = {row["name"]: row for row in visitor.get("/api/models/alice/m/variants").json()["variants"]}
    assert rows["prune-50+int8"]["components"] == [component]
    services.forget()
    refused = visitor.get("/api/models/alice/m/fit?size=2KB").json()
    assert refused["variant"] is None
    assert [drop["variant"] for drop in refused["dropped"] if drop["limit"] == "options"] == ["prune-50+int8"]
    assert visitor.get("/api/models/alice/m/fit?size=2KB&options=any").json()["variant"] == "prune-50+int8"


def test_what_a_child_says_of_session_options_is_held_to_what_is_known():
    given = {"name": "model", "path": "onnx/model.onnx"}
    assert publishing._component(given | {"session_options": {}, "more": 1}) == given
    with pytest.raises(ValueError, match="optimized_model_filepath"):
        publishing._component(given | {"session_options": {"optimized_model_filepath": "/x"}})
