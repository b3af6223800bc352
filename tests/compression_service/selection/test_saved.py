"""Saved budgets: whose they are, and that webhooks are told once when another variant becomes the answer."""

import json

import pytest
from django.core.management import call_command
from huggingface_hub import WebhookPayload

from compression_service.selection import saved
from compression_service.selection.models import SavedBudget
from compression_service.variants.models import Catalogue, Footprint, SourceModel, Variant
from compression_service.variants.services import catalogue_grew
from models_registry.accounts.actors import Actor
from models_registry.community.webhooks import services as webhooks
from models_registry.community.webhooks.models import Delivery, Event
from tests.factories import client_of, make_family

MB = 1_000_000
URL = "/api/models/alice/m/budgets"


@pytest.fixture
def family(model):
    return make_family(
        model, {"onnx": (400_000, 4.0, 100 * MB, 1.0), "int8": (100_000, 1.0, 80 * MB, 0.995), "int4": (50_000, 3.0, 70 * MB, 0.97)}
    )  # fmt: skip


@pytest.fixture
def hook(alice):
    watched = [webhooks.WatchedName("model", "alice/m")]
    return webhooks.create_webhook(Actor(alice), "https://hooks.example/a", watched, origin="http://hub.example")


def save(client, budget="latency=2ms", status=201):
    answer = client.post(URL, json.dumps({"budget": budget}), content_type="application/json")
    assert answer.status_code == status, answer.content
    return answer.json()


def int4_becomes_better(repository):
    Footprint.objects.filter(variant__name="int4").update(p90_ms=0.5)
    Variant.objects.filter(name="int4").update(fidelity=0.999)
    catalogue_grew(repository)


def test_save_list_and_take_away(as_alice, as_bob, family):
    made = save(as_alice, "memory=1GB,latency=2ms")
    assert (made["budget"], made["variant"], made["answer"]) == ("latency=2ms,memory=1GB", "int8", "proven")
    assert made["commit"] == Variant.objects.get(name="int8").commit and made["told_at"] is None
    assert save(as_alice, "latency=2000us,memory=1000MB") == made, "the same budget is the same row"
    assert save(as_alice, "")["revision"] == "fit@" and len(as_alice.get(URL).json()) == 2
    assert as_bob.get(URL).json() == []
    assert as_bob.delete(URL + "?budget=latency%3D2ms,memory%3D1GB").status_code == 404
    assert as_alice.delete(URL + "?budget=memory%3D1GB,latency%3D2ms").status_code == 204
    assert as_alice.delete(URL).status_code == 204 and as_alice.get(URL).json() == []


def test_webhooks_of_who_saved_it_are_told_once(as_alice, as_bob, bob, family, hook):
    other = [webhooks.WatchedName("user", "alice")]
    webhooks.create_webhook(Actor(bob), "https://hooks.example/b", other, origin="http://hub.example")
    save(as_alice)
    before = Variant.objects.get(name="int8").commit
    assert saved.tell_of_better() == 0 and not Event.objects.exists()
    int4_becomes_better(family.repository)
    assert saved.tell_of_better() == 1 and saved.tell_of_better() == 0
    (event,) = Event.objects.all()
    assert [row.webhook for row in Delivery.objects.all()] == [hook], "nobody else saved it"
    told = event.payload["fit"]
    assert event.payload["event"] == {"action": "update", "scope": "repo.fit"}
    assert (told["budget"], told["variant"], told["answer"]) == ("latency=2ms", "int4", "proven")
    assert told["commit"] == Variant.objects.get(name="int4").commit
    assert told["before"] == {"variant": "int8", "commit": before, "answer": "proven"} and "int4" in told["sentence"]
    row = as_alice.get(URL).json()[0]
    assert row["variant"] == "int4" and row["told_at"]


def test_the_event_is_one_which_the_stock_client_reads(as_alice, family, hook):
    save(as_alice)
    int4_becomes_better(family.repository)
    call_command("run_sweeper", "--once")
    payload = Event.objects.get().payload | {"webhook": {"id": hook.ident, "version": 3}}
    payload["repo"]["url"] = {key: f"http://hub.example{path}" for key, path in payload["repo"]["url"].items()}
    read = WebhookPayload.model_validate(payload)
    assert read.event.scope == "repo.fit" and read.repo.name == "alice/m"


def test_a_newer_catalogue_with_the_same_answer_tells_nobody(as_alice, family, hook):
    save(as_alice)
    catalogue_grew(family.repository)
    assert saved.tell_of_better() == 0 and not Event.objects.exists()
    assert SavedBudget.objects.get().checked_version == Catalogue.objects.get().version


def test_when_nothing_fits_any_more_that_is_told(as_alice, family, hook):
    save(as_alice)
    Variant.objects.filter(name="int8").update(status="quarantined")
    catalogue_grew(family.repository)
    assert saved.tell_of_better() == 1
    told = Event.objects.get().payload["fit"]
    assert (told["variant"], told["commit"], told["answer"]) == (None, None, "none") and "No variant" in told[
        "sentence"
    ]


def test_while_a_family_is_being_made_nobody_is_told(as_alice, family, hook):
    save(as_alice)
    SourceModel.objects.update(status="making")
    int4_becomes_better(family.repository)
    assert saved.tell_of_better() == 0
    SourceModel.objects.update(status="ready")
    assert saved.tell_of_better() == 1


def test_what_holds_for_a_pull_under_way_is_no_answer_of_a_saved_budget(as_alice, anonymous, family, hook):
    anonymous.get("/api/models/alice/m/revision/fit%40latency%3D2ms")
    save(as_alice)
    int4_becomes_better(family.repository)
    assert saved.tell_of_better() == 1


def test_who_lost_the_right_to_see_it_is_told_nothing(as_bob, bob, family):
    watched = [webhooks.WatchedName("model", "alice/m")]
    webhooks.create_webhook(Actor(bob), "https://hooks.example/b", watched, origin="http://hub.example")
    save(as_bob)
    family.repository.private = True
    family.repository.save()
    int4_becomes_better(family.repository)
    saved.tell_of_better()
    assert not Delivery.objects.exists() and as_bob.get(URL).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"budget": "bogus=1"}, "bogus"), ({"budget": "memory=0"}, "memory"), ({"budget": "device=toaster"}, "toaster"),
        ({"budget": "memory=1MB,memory=2MB"}, "memory"), ({"budget": 5}, "budget"), ({}, "budget"), ({"budget": "," * 10_000}, ""),
    ],
)  # fmt: skip
def test_a_budget_which_is_not_understood_is_not_kept(as_alice, family, body, words):
    answer = as_alice.post(URL, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400 and words in answer.json()["error"] and not SavedBudget.objects.exists()
    assert as_alice.delete(URL + "?budget=bogus%3D1").status_code == 400


def test_who_may_not_and_how_many(anonymous, alice, as_alice, family, monkeypatch):
    save(anonymous, status=401)
    assert anonymous.get(URL).status_code == 401
    assert "role write" in save(client_of(alice, "read"), status=403)["error"]
    monkeypatch.setattr(saved, "MOST_OF_A_PERSON", 2)
    for number in range(2):
        save(as_alice, f"latency={number + 1}ms")
    assert "take one away" in save(as_alice, "latency=9ms", status=409)["error"]
    save(as_alice, "latency=1ms")


def test_a_model_without_variants_can_be_waited_for(as_alice, hook, model):
    assert save(as_alice)["answer"] == "none"
    make_family(model, {"onnx": (400_000, 1.0, 100 * MB, 1.0)})
    assert saved.tell_of_better() == 1


def test_the_page_saves_and_takes_away(alice_browser, visitor, family):
    page = alice_browser.get("/alice/m?latency=2ms").content.decode()
    assert "Tell my webhooks" in page and "Tell my webhooks" not in visitor.get("/alice/m").content.decode()
    assert alice_browser.post("/alice/m/budgets", {"budget": "latency=2ms"}).status_code == 302
    page = alice_browser.get("/alice/m?latency=2ms").content.decode()
    assert "Tell my webhooks" not in page and "take away" in page and "<code>latency=2ms</code> → int8" in page
    assert alice_browser.post("/alice/m/budgets", {"budget": "bogus=1"}).status_code == 400
    alice_browser.post("/alice/m/budgets", {"budget": "latency=2ms", "drop": "yes"})
    assert not SavedBudget.objects.exists()
    assert visitor.post("/alice/m/budgets", {"budget": ""}).status_code == 302, "to sign in"
    assert alice_browser.get("/alice/m/budgets").status_code == 405
