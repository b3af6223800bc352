"""Choice across models: the same answer as model by model, in the API, in listings and on their page."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compression_service.devices.services import record_device
from compression_service.selection.budgets import Budget
from compression_service.selection.choice import choose
from compression_service.selection.models import Offer
from compression_service.selection.offers import refresh_lagging, refresh_offers
from compression_service.selection.services import candidates_of
from compression_service.variants.models import Catalogue, Footprint, SourceModel, Variant
from compression_service.variants.services import quarantine
from tests.factories import make_family, make_repository

MB = 1_000_000
SMALL = {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995)}
LARGE = {"onnx": (40_000_000, 40.0, 300 * MB, 1.0), "int8": (10_000_000, 9.0, 120 * MB, 0.999)}


@pytest.fixture
def hub(alice):
    made = {}
    for name, family, tag in (("small", SMALL, "text-classification"), ("large", LARGE, "image-classification")):
        made[name] = make_repository(
            alice, name, files={"README.md": f"---\npipeline_tag: {tag}\n---\n# {name}\n".encode()}
        )
        make_family(made[name], family)
    return made


def across(client, query=""):
    answer = client.get("/api/fit?" + query)
    assert answer.status_code == 200, answer.content
    return answer.json()


def names(body):
    return [(row["repository"], row["variant"]) for row in body["results"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [("alice/small", "int8"), ("alice/large", "int8")]),  # nothing lost beyond a point, then the fastest
        ("memory=200MB", [("alice/small", "onnx"), ("alice/large", "int8")]),
        ("memory=120MB", [("alice/small", "onnx")]),
        ("pipeline_tag=image-classification", [("alice/large", "int8")]),
        ("goal=latency&limit=1", [("alice/small", "int8")]),
        ("search=large&memory=1GB", [("alice/large", "onnx")]),
        ("throughput=200", [("alice/small", "onnx")]),
        ("fidelity=0.999&latency=10ms", [("alice/small", "onnx"), ("alice/large", "int8")]),
        ("runtime=onnxruntime&memory=1GB", [("alice/small", "onnx"), ("alice/large", "onnx")]),
        ("runtime=tvm&memory=1GB", []), ("format=gguf", []), ("threads=2&memory=1GB", []),
    ],
)  # fmt: skip
def test_the_best_of_each_model_the_best_model_first(anonymous, hub, query, expected):
    assert names(across(anonymous, query)) == expected


def test_nothing_fits_says_which_model_came_nearest(anonymous, hub):
    body = across(anonymous, "memory=50MB&latency=2ms")
    assert body["results"] == [] and body["nearest_miss"]["repository"] == "alice/small"
    assert "int8 of alice/small" in body["sentence"] and "memory" in body["sentence"]


def test_a_noisy_machine_has_a_nearest_miss_too(anonymous, hub):
    Offer.objects.update(level=Offer.LIKELY)
    assert across(anonymous, "memory=1MB")["nearest_miss"]["variant"] == "int8"


@pytest.mark.parametrize(
    ("query", "words"),
    [("memory=0", "above 0"), ("bogus=1", "not a key"), ("memory=5XB", "unit"), ("device=toaster", "toaster"), ("limit=x", "limit"),
     ("memory=1MB&memory=2MB", "twice"), ("&".join(f"memory={n}MB" for n in range(1, 1_500)), "parts"),
     ("&".join(f"memory={n}MB" for n in range(1, 10_000)), "parameters"), ("latency=1e3", "unit"),
     ("fidelity=1.1", "above 1")],
)  # fmt: skip
def test_bad_budgets_are_refused_with_a_sentence(anonymous, hub, query, words):
    answer = anonymous.get("/api/fit?" + query)
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_private_models_are_seen_by_their_people_only(anonymous, as_alice, as_bob, hub):
    hub["small"].private = True
    hub["small"].save()
    assert names(across(anonymous)) == names(across(as_bob)) == [("alice/large", "int8")]
    assert len(names(across(as_alice))) == 2
    assert "alice/small" not in str(across(anonymous, "memory=50MB"))


def test_listings_keep_what_fits(anonymous, hub):
    def listed(query):
        return [row["id"] for row in anonymous.get("/api/models?" + query).json()]

    assert set(listed("")) == {"alice/small", "alice/large"}
    assert listed("fits=memory%3D120MB") == listed("filter=fit%40memory%3D120MB,latency%3D5ms") == ["alice/small"]
    assert listed("fits=size%3D1KB") == [] and listed("fits=memory%3D1GB&pipeline_tag=image-classification") == [
        "alice/large"
    ]
    assert listed("fits=memory%3D120MB&fits=latency%3D2ms") == ["alice/small"]
    for query in ("fits=bogus%3D1", "filter=fit%40memory%3D0", "fits=device%3Dtoaster"):
        assert anonymous.get("/api/models?" + query).status_code == 400
    assert anonymous.get("/api/datasets?fits=memory%3D1MB").status_code == 200  # datasets have no such filter


def test_the_page_has_a_field_chips_and_suggestions(visitor, hub):
    page = visitor.get("/models?fits=memory%3D120%20MB").content.decode()
    assert "alice/small" in page and "alice/large" not in page
    assert "fits memory=120MB" in page and "latency%3D20ms" in page
    assert visitor.get("/models?fits=bogus").status_code == 400


def test_offers_follow_the_catalogue(anonymous, hub):
    quarantine(Variant.objects.get(name="int8", source__repository=hub["small"]), "it broke")
    assert names(across(anonymous, "goal=latency&limit=1")) == [("alice/small", "onnx")]
    Offer.objects.all().delete()
    Catalogue.objects.update(offered_version=0)
    assert names(across(anonymous)) == [] and refresh_lagging() == 2 and refresh_lagging() == 0
    assert len(names(across(anonymous))) == 2


def test_unmeasured_models_are_unknown_and_only_found_by_size(anonymous, hub):
    Footprint.objects.filter(variant__source__repository=hub["large"]).delete()
    refresh_offers(hub["large"])
    body = across(anonymous, "size=1GB")
    assert [row["answer"] for row in body["results"]] == ["proven", "unknown"]
    assert body["results"][1]["figures"]["p90_ms"] is None
    assert names(across(anonymous, "memory=1GB")) == [("alice/small", "onnx")]


FIGURES = st.tuples(
    st.integers(1, 5), st.sampled_from([None, 1.0, 2.0, 3.5]), st.sampled_from([None, 10, 11, 20, 100]),
    st.sampled_from([None, 0.9, 0.99, 1.0]), st.booleans(), st.sampled_from([1, 2]),
    st.sampled_from(["ready", "ready", "quarantined"]),
)  # fmt: skip
LIMITS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.integers(1, 5), "memory": st.sampled_from([11, 12, 13, 22, 110]), "latency": st.sampled_from([1, 2, 3.5]),
        "fidelity": st.sampled_from([0.9, 0.95, 0.99, 1]), "throughput": st.sampled_from([100, 600]),
        "threads": st.sampled_from([1, 2]), "goal": st.sampled_from(["latency", "memory", "size", "fidelity", "energy"]),
        "runtime": st.just("onnxruntime"), "opset": st.sampled_from([10, 17]),
    },
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(FIGURES, max_size=4), min_size=2, max_size=3), LIMITS)
def test_every_model_s_answer_is_the_one_which_it_gives_itself(anonymous, alice, families, limits):
    """Zero regret: the walk over the index, and choice.py with all its rules, model by model."""
    SourceModel.objects.all().delete()
    Offer.objects.all().delete()
    device = record_device("test-2c", {})
    repositories = [_repository(alice, number) for number in range(len(families))]
    for repository, family in zip(repositories, families, strict=True):
        source = SourceModel.objects.create(repository=repository, commit="", digest=str(repository.pk), status="ready")
        for number, (size, p90, memory, fidelity, noisy, threads, status) in enumerate(family):
            variant = Variant.objects.create(
                source=source,
                name=f"v{number}",
                status=status,
                commit=f"{number:040d}",
                size_bytes=size,
                fidelity=fidelity,
            )
            Footprint.objects.create(
                variant=variant, device=device, threads=threads, runtime="onnxruntime 1.31.0", opset=13, size_bytes=size, wire_bytes=size,
                peak_memory_bytes=memory, p90_ms=p90, throughput_per_s=p90 and 1000 / p90, noisy=noisy,
                measured_at=datetime(2026, 11, 1, tzinfo=UTC),
            )  # fmt: skip
        refresh_offers(repository)
    body = across(anonymous, "&".join(f"{key}={value}" for key, value in limits.items()))
    budget = Budget.from_query({key: str(value) for key, value in limits.items()})
    expected = {}
    for repository in repositories:
        source = SourceModel.objects.filter(repository=repository).first()
        fit = choose(candidates_of(source), budget, "1", default_device="test-2c")
        if fit.variant is not None:
            expected[repository.full_name] = (fit.variant, fit.answer)
    assert {row["repository"]: (row["variant"], row["answer"]) for row in body["results"]} == expected


def _repository(alice, number):
    from models_registry.repos.models import Repository

    return Repository.objects.filter(name=f"p{number}").first() or make_repository(alice, f"p{number}")


def test_the_cost_does_not_grow_with_queries(anonymous, hub, django_assert_max_num_queries):
    with django_assert_max_num_queries(10):
        across(anonymous, "memory=200MB")
