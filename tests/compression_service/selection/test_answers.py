"""Budgets over HTTP and as revisions: the choice, its reasons, and that it holds while a pull is under way."""

from datetime import timedelta

import pytest
from django.utils import timezone

from compression_service.devices.models import Device
from compression_service.selection.models import FitAnswer
from compression_service.variants.models import Catalogue, Footprint, Variant
from models_registry.repos.models import RepoType
from tests.factories import make_family, make_repository

MB = 1_000_000
FAMILY = {
    "onnx": (400_000, 4.0, 100 * MB, 1.0),
    "int8": (100_000, 1.0, 80 * MB, 0.995),
    "int4": (50_000, 3.0, 70 * MB, 0.97),
    "bad": (60_000, 5.0, 90 * MB, 0.96),
}


@pytest.fixture
def family(model):
    return make_family(model, FAMILY)


def fit(client, query=""):
    answer = client.get("/api/models/alice/m/fit?" + query)
    return answer.json()


def test_while_variants_are_made_the_refusal_says_to_ask_again(anonymous, family):
    Footprint.objects.all().delete()
    Device.objects.all().delete()
    sentence = fit(anonymous, "latency=2ms")["sentence"]
    assert sentence.endswith("bad, whose p90 latency was not measured yet on this hub with 1 thread.")
    family.status = "making"
    family.save()
    answer = anonymous.get("/api/models/alice/m/revision/fit%40latency%3D2ms")
    assert answer.status_code == 404 and answer.json()["error"].endswith("being made and measured: ask again later.")
    assert "being made" not in fit(anonymous, "size=1MB")["sentence"]


@pytest.mark.parametrize(
    ("query", "variant"),
    [
        ("", "int8"),  # nothing lost beyond a point, then the fastest
        ("memory=200MB", "onnx"), ("latency=2ms", "int8"), ("size=60KB", "int4"), ("memory=80MB", "int4"),
        ("memory=88MB", "int8"), ("goal=latency", "int8"), ("goal=size", "int4"), ("fidelity=0.99&size=0.2MB", "int8"),
    ],
)  # fmt: skip
def test_choices(anonymous, family, query, variant):
    body = fit(anonymous, query)
    assert (body["variant"], body["answer"]) == (variant, "proven") and body["reasons"]
    assert body["commit"] == Variant.objects.get(name=variant).commit


def test_nothing_fits_says_the_nearest_miss(anonymous, family):
    body = fit(anonymous, "memory=70MB")
    assert body["answer"] == "none" and body["commit"] is None and body["nearest_miss"]["variant"] == "int4"
    assert {row["variant"] for row in body["dropped"]} == set(FAMILY)
    answer = anonymous.get("/api/models/alice/m/revision/fit%40memory%3D70MB")
    assert answer.status_code == 404 and answer["X-Error-Code"] == "RevisionNotFound"
    assert "int4" in answer["X-Error-Message"] and "memory=70MB" in answer.json()["error"]


@pytest.mark.parametrize(
    "route", ["revision/{}", "tree/{}", "commits/{}", "paths-info/{}", "refs", "xet-read-token/{}"]
)
def test_every_route_which_takes_a_revision_takes_a_budget(anonymous, family, route):
    url = "/api/models/alice/m/" + route.format("fit%40latency%3D2ms")
    answer = anonymous.post(url, {"paths": "int8.txt"}) if "paths" in route else anonymous.get(url)
    assert answer.status_code == 200, answer.content
    commit = Variant.objects.get(name="int8").commit
    head = anonymous.head("/alice/m/resolve/fit%40latency%3D2ms/int8.txt")
    assert head["X-Repo-Commit"] == commit


@pytest.mark.parametrize(
    ("text", "words"),
    [("bogus%3D1", "bogus"), ("memory%3D5XB", "memory"), ("memory%3D-1", "memory"), ("memory", "key=value"),
     ("device%3Dtoaster", "toaster"), ("memory%3D1MB,memory%3D2MB", "memory"), ("goal%3Dfame", "goal"),
     ("memory%3D0", "memory"), ("," * 10_000, "")],
)  # fmt: skip
def test_a_budget_which_is_not_understood_is_400_with_what_is_known(anonymous, family, text, words):
    answer = anonymous.get(f"/api/models/alice/m/revision/fit%40{text}")
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_bad_queries(anonymous, family):
    for query in ("memory=1MB&memory=2MB", "foo=1", "memory=nan", "device=toaster"):
        answer = anonymous.get("/api/models/alice/m/fit?" + query)
        assert answer.status_code == 400 and answer.json()["error"], query


def test_datasets_have_no_fit(anonymous, alice):
    make_repository(alice, "d", RepoType.DATASET)
    answer = anonymous.get("/api/datasets/alice/d/revision/fit%40memory%3D1GB")
    assert answer.status_code == 404 and "dataset" in answer.json()["error"]


def pull(client, budget="latency%3D2ms"):
    return client.get(f"/api/models/alice/m/revision/fit%40{budget}").json().get("sha")


def commit_of(name):
    return Variant.objects.get(name=name).commit


def test_an_answer_which_was_pulled_holds_for_an_hour_after_a_newer_one_appears(anonymous, family, model):
    assert pull(anonymous) == commit_of("int8")
    Footprint.objects.filter(variant__name="int4").update(p90_ms=0.5)
    Variant.objects.filter(name="int4").update(fidelity=0.999)
    Catalogue.objects.update(version=99)
    assert pull(anonymous) == commit_of("int8")
    shown = fit(anonymous, "latency=2ms")
    assert shown["commit"] == commit_of("int8") and "holds for an hour" in shown["reasons"][-1]
    assert pull(anonymous, "latency%3D2.5ms") == commit_of("int4")
    FitAnswer.objects.update(superseded_at=timezone.now() - timedelta(minutes=61))
    assert pull(anonymous) == commit_of("int4") == fit(anonymous, "latency=2ms")["commit"]


def test_looking_around_writes_nothing(anonymous, family):
    fit(anonymous, "latency=2ms")
    anonymous.get("/alice/m?latency=2ms")
    assert not FitAnswer.objects.exists()


def test_a_flood_of_budgets_keeps_only_the_newest(anonymous, family, monkeypatch):
    monkeypatch.setattr("compression_service.selection.services.MOST_ANSWERS", 3)
    for number in range(5):
        pull(anonymous, f"latency%3D{number + 2}ms")
    assert FitAnswer.objects.count() == 3


def test_a_quarantined_answer_does_not_hold(anonymous, family):
    assert pull(anonymous) == commit_of("int8")
    Variant.objects.filter(name="int8").update(status="quarantined")
    Catalogue.objects.update(version=99)
    assert pull(anonymous) is None and fit(anonymous, "latency=2ms")["answer"] == "none"


def test_the_order_of_keys_is_no_matter(anonymous, family):
    one, two = fit(anonymous, "memory=200MB&size=1MB"), fit(anonymous, "size=1000KB&memory=200MB")
    assert one == two


def test_noisy_figures_are_only_likely(anonymous, family):
    Footprint.objects.update(noisy=True)
    Catalogue.objects.update(version=99)
    assert fit(anonymous, "latency=2ms")["answer"] == "likely"


def test_how_far_the_p90_moved_is_said_with_the_answer_and_in_the_table(anonymous, family):
    for row in Footprint.objects.filter(variant__name="int8"):
        row.record["latency_ms"] = {"p90": 1.0, "p90_low": 0.98, "p90_high": 1.5}
        row.save()
    body = fit(anonymous, "latency=1.2ms")
    assert body["variant"] == "int8" and (body["figures"]["p90_low_ms"], body["figures"]["p90_high_ms"]) == (0.98, 1.5)
    assert any("that p90 moved between 0.98 ms and 1.5 ms" in reason for reason in body["reasons"]), body["reasons"]
    rows = {row["name"]: row for row in anonymous.get("/api/models/alice/m/variants").json()["variants"]}
    assert rows["int8"]["footprints"][0]["latency_ms"]["p90_high"] == 1.5
    assert rows["int4"]["footprints"][0]["latency_ms"]["p90_high"] is None, "older records do not say"
    assert not any("moved between" in reason for reason in fit(anonymous, "size=60KB")["reasons"])
    page = anonymous.get("/alice/m/variants/int8").content.decode()
    assert page.count("980 µs – 1.50 ms") + page.count("0.980 ms – 1.50 ms") == 2


def test_variants_in_the_shape_of_the_rules(anonymous, family):
    body = anonymous.get("/api/models/alice/m/variants").json()
    rows = {row["name"]: row for row in body["variants"]}
    assert rows["bad"]["beaten_by"] == ["int4"] and rows["int4"]["beaten_by"] == []
    assert set(rows["int8"]) >= {
        "name",
        "recipe",
        "status",
        "reason",
        "revision",
        "commit",
        "files",
        "beaten_by",
        "footprints",
    }
    record = rows["int8"]["footprints"][0]
    assert set(record) >= {
        "device", "threads", "runtime", "trust", "noisy", "stale", "size_bytes", "wire_bytes", "peak_memory_bytes",
        "added_memory_bytes", "load_ms", "latency_ms", "throughput_per_s", "fidelity", "fidelity_metric", "fidelity_inputs",
        "metric", "energy_mj", "energy_method", "measured_at",
    }  # fmt: skip
    assert set(record["latency_ms"]) >= {"min", "p50", "p90", "p95", "p99", "count"} and set(record["load_ms"]) == {
        "cold",
        "warm",
    }


def test_queries_do_not_grow_with_variants(anonymous, model, django_assert_max_num_queries):
    make_family(model, {f"v{n}": (1000 * n, 1.0 * n, n * MB, 1 - n / 1000) for n in range(1, 40)})
    with django_assert_max_num_queries(12):
        anonymous.get("/api/models/alice/m/variants")
    with django_assert_max_num_queries(16):
        fit(anonymous, "memory=10MB")
    with django_assert_max_num_queries(8):
        fit(anonymous, "memory=10MB")
