"""The ledger of a model and of the hub: API, page, pulls, and who sees what."""

import pytest
import yaml
from django.core.cache import cache
from huggingface_hub import ModelCard

from compression_service.jobs.models import Job
from compression_service.ledger.models import PullCount
from compression_service.variants.models import Footprint, Variant
from tests.factories import make_family, make_repository
from tests.models_registry.xet.test_cas import FILES, XORB, send, send_shard, token_of

MB = 1_000_000
CPU_MS = {"onnx": 4.0, "int8": 1.0, "slow": 5.0}


def family_of(repository):
    made = make_family(
        repository, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995),
                     "slow": (900_000, 5.0, 80 * MB, 0.995)},
    )  # fmt: skip
    for variant in Variant.objects.filter(source=made):
        variant.components = [{"name": "model", "path": f"{variant.name}.txt"}]
        variant.save()
        Job.objects.create(
            kind="make_variant", key=f"make_variant:{variant.pk}", repository=repository, state="done",
            started_at=made.created_at, processor_seconds=30.0,
        )  # fmt: skip
    for row in Footprint.objects.filter(variant__source=made):
        row.record |= {"cpu_ms": CPU_MS[row.variant.name]}
        row.save()
    return made


@pytest.fixture
def family(model):
    return family_of(model)


@pytest.fixture
def stated(settings):
    settings.CORE_WATTS, settings.GRID_GRAMS_A_KWH, settings.CORE_HOUR_PRICE = 10.0, 360.0, 3.6
    settings.GRID_LOCATION = "Bern: CH"


def ledger(client, url="/api/models/alice/m/ledger"):
    answer = client.get(url)
    assert answer.status_code == 200, answer.content
    return answer.json()


def entries(client):
    return {one["variant"]: one for one in ledger(client)["variants"]}


def test_without_figures_of_the_administrator_time_is_told_and_nothing_else(anonymous, family):
    body = ledger(anonymous)
    assert body["spent"]["processor_seconds"] == 90.0 and body["spent"]["cost"] is None
    assert body["spent"]["energy_joules"] == body["spent"]["emissions_grams"] == {"measured": None, "estimated": None}
    assert body["co2_eq_emissions"] is None and set(entries(anonymous)) == {"int8", "slow"}
    int8 = entries(anonymous)["int8"]
    assert (int8["saved_processor_ms"], int8["pays_back_after"], int8["pays_back_by"]) == (
        3.0,
        10_000,
        "processor time",
    )
    slow = entries(anonymous)["slow"]
    assert (slow["saved_processor_ms"], slow["pays_back_after"], slow["pays_back_by"]) == (-1.0, None, "never")


def test_estimates_by_the_stated_figures(anonymous, family, stated):
    body = ledger(anonymous)
    assert body["spent"]["energy_joules"] == {"measured": None, "estimated": 900.0}
    assert body["spent"]["emissions_grams"] == {"measured": None, "estimated": pytest.approx(0.09)}
    assert body["spent"]["cost"] == pytest.approx(0.09) and body["stated"]["core_watts"] == 10.0
    assert entries(anonymous)["int8"]["saved_joules"] == {"measured": None, "estimated": pytest.approx(0.03)}


def test_measured_and_estimated_stay_apart(anonymous, family, stated):
    Job.objects.filter(key=f"make_variant:{Variant.objects.get(name='int8').pk}").update(energy_joules=600.0)
    for row in Footprint.objects.exclude(variant__name="slow"):
        row.record |= {"energy": {"mj": {"onnx": 26.0, "int8": 6.0}[row.variant.name], "method": "rapl"}}
        row.save()
    body = ledger(anonymous)
    assert body["spent"]["energy_joules"] == {"measured": 600.0, "estimated": 600.0}
    int8, slow = entries(anonymous)["int8"], entries(anonymous)["slow"]
    assert int8["saved_joules"] == {"measured": pytest.approx(0.02), "estimated": None}
    assert (int8["pays_back_after"], int8["pays_back_by"]) == (30_000, "measured energy")
    assert slow["saved_joules"] == {"measured": None, "estimated": None}, "a meter's figure less an estimate is neither"


def test_jobs_of_before_are_named_and_other_kinds_are_left_out(anonymous, family):
    model = family.repository
    Job.objects.create(kind="convert", key="old", repository=model, state="done", started_at=family.created_at)
    Job.objects.create(kind="scan_files", key="scan", repository=model, state="done", processor_seconds=5.0)
    Job.objects.create(kind="convert", key="waits", repository=model)
    spent = ledger(anonymous)["spent"]
    assert (spent["jobs"], spent["jobs_unrecorded"], spent["processor_seconds"]) == (4, 1, 90.0)


def test_the_block_is_one_which_a_card_takes(anonymous, family, stated, visitor):
    block = ledger(anonymous)["co2_eq_emissions"]
    assert block["emissions"] == pytest.approx(0.09) and block["hardware_used"] == "test-2c"
    page = visitor.get("/alice/m").content.decode()
    start = page.index("co2_eq_emissions:\n")
    shown = page[start : page.index("</code>", start)].replace("&#x27;", "'").replace("&#39;", "'")
    assert yaml.safe_load(shown) == {"co2_eq_emissions": block}
    card = ModelCard("---\n" + shown + "---\n# M\n")
    assert card.data.to_dict()["co2_eq_emissions"]["emissions"] == block["emissions"]


def pull(client, path, revision="main"):
    answer = client.get(f"/alice/m/resolve/{revision}/{path}")
    assert answer.status_code == 200
    return answer


def test_pulls_of_variants_are_counted_against_their_source(anonymous, family):
    commit = Variant.objects.get(name="int8").commit
    pull(anonymous, "int8.txt", commit)
    pull(anonymous, "int8.txt", "fit%40latency%3D2ms")
    pull(anonymous, "onnx.txt", commit)  # not its first model file
    anonymous.head(f"/alice/m/resolve/{commit}/int8.txt")
    row = PullCount.objects.get()
    assert (row.variant, row.pulls, row.moved_bytes, row.source_bytes) == ("int8", 2, 200_000, 800_000)
    moved = ledger(anonymous)["moved"]
    assert (moved["pulls"], moved["pulled_bytes"], moved["spared_by_variants_bytes"]) == (2, 200_000, 600_000)
    assert entries(anonymous)["int8"]["spared_bytes"] == 600_000


def test_a_larger_variant_spares_less_than_nothing_and_a_page_says_so(anonymous, family, visitor):
    pull(anonymous, "slow.txt", Variant.objects.get(name="slow").commit)
    assert ledger(anonymous)["moved"]["spared_by_variants_bytes"] == -500_000
    assert "−500 KB" in visitor.get("/alice/m").content.decode()


def test_a_count_which_can_not_be_written_stops_no_download(anonymous, family, monkeypatch):
    from django.db import OperationalError

    def full(*_, **__):
        raise OperationalError("database or disk is full")

    monkeypatch.setattr("compression_service.ledger.pulls._pulled", full)
    pull(anonymous, "int8.txt", Variant.objects.get(name="int8").commit)


def test_dedupe_is_what_pushes_name_less_what_travelled(anonymous, family, bob, as_alice, as_bob):
    make_repository(bob, "copy")
    files = sum(segment.unpacked_bytes for file in FILES for segment in file.segments)

    def spared(name):
        return ledger(anonymous, f"/api/models/{name}/ledger")["moved"]["spared_by_dedupe_bytes"]

    assert send(anonymous, token_of(as_alice)).status_code == 200
    assert spared("alice/m") == 0, "sent, and no file names it yet"
    for _ in range(2):  # the second time the files are no news
        assert send_shard(anonymous, token_of(as_alice)).status_code == 200
        assert spared("alice/m") == max(0, files - len(XORB))
    assert send_shard(anonymous, token_of(as_bob, name="bob/copy")).status_code == 200
    assert spared("bob/copy") == files, "nothing of it had to be sent"
    assert ledger(anonymous, "/api/ledger")["moved"]["spared_by_dedupe_bytes"] == 2 * files - len(XORB)


def test_the_hub_sums_public_repositories_and_for_its_administrators_all(anonymous, family, alice, as_alice, as_bob):
    hidden = make_repository(alice, "hidden", private=True)
    family_of(hidden)
    for client in (anonymous, as_alice, as_bob):
        body = ledger(client, "/api/ledger")
        assert body["spent"]["processor_seconds"] == 90.0
        assert [row["repository"] for row in body["models"]] == ["alice/m"]
        assert body["models"][0]["best"]["variant"] == "int8"
    type(alice).objects.filter(username="alice").update(is_superuser=True)
    assert ledger(as_alice, "/api/ledger")["spent"]["processor_seconds"] == 180.0
    family.repository.private = True
    family.repository.save()
    assert ledger(anonymous, "/api/ledger")["models"] == [], "hidden at once, though sums are kept for a minute"
    cache.clear()
    assert ledger(anonymous, "/api/ledger")["spent"]["processor_seconds"] == 0


def test_private_models_and_bad_limits(anonymous, family, as_bob):
    family.repository.private = True
    family.repository.save()
    assert anonymous.get("/api/models/alice/m/ledger").status_code == 401
    assert as_bob.get("/api/models/alice/m/ledger").status_code == 404
    assert anonymous.get("/api/models/alice/none/ledger").status_code in (401, 404)
    for limit in ("x", "-1", "1e9"):
        answer = anonymous.get(f"/api/ledger?limit={limit}")
        assert answer.status_code == 400 and "limit" in answer.json()["error"], limit


def test_the_hubs_page(visitor, family, stated):
    page = visitor.get("/ledger").content.decode()
    for words in ("alice/m", "90.0 s", "900 J", "estimated", "10,000", "int8", "Public repositories"):
        assert words in page, words


def test_an_empty_hub_and_a_model_without_variants(visitor, model, anonymous):
    assert "No variant was made" in visitor.get("/ledger").content.decode()
    assert "What making them cost" not in visitor.get("/alice/m").content.decode()
    assert ledger(anonymous)["variants"] == []


def test_the_hub_answers_by_a_fixed_number_of_queries(anonymous, family, alice, django_assert_max_num_queries):
    for number in range(3):
        family_of(make_repository(alice, f"more-{number}"))
    with django_assert_max_num_queries(16):
        assert len(ledger(anonymous, "/api/ledger")["models"]) == 4
