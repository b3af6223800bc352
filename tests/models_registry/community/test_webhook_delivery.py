"""The way of a webhook's delivery: signed, at least once, tried again, given up, held by one sender at a time."""

import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.utils import timezone
from huggingface_hub import WebhookPayload

from models_registry.accounts.actors import Actor
from models_registry.community.webhooks import delivery, sending, services
from models_registry.community.webhooks.models import Delivery, Event, Webhook
from models_registry.repos.revisions import branch_head
from tests.factories import make_repository, make_user, push
from tests.models_registry.community.hooks import deliver, watch
from tests.models_registry.community.receiver import receiver


def later(seconds):
    """As if so much time had gone by."""
    for row in Delivery.objects.filter(state="waiting"):
        Delivery.objects.filter(pk=row.pk).update(due_at=row.due_at - timedelta(seconds=seconds))


def test_the_payload_and_its_signature(alice, bob, model, here):
    hook = watch(bob, f"{here.url}/hook", secret="my-secret")
    old = branch_head(model)
    new = push(model, alice, {"a.txt": b"1"})
    deliver()
    path, headers, raw = here.requests[0]
    assert json.loads(raw) == {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {
            "type": "model",
            "name": "alice/m",
            "id": f"{model.pk:024x}",
            "private": False,
            "url": {"web": "http://hub.example/alice/m", "api": "http://hub.example/api/models/alice/m"},
            "owner": {"id": f"{alice.pk:024x}"},
            "headSha": new,
        },
        "updatedRefs": [{"ref": "refs/heads/main", "oldSha": old, "newSha": new}],
        "webhook": {"id": hook.ident, "version": 3},
    }
    assert (
        path == "/hook" and headers["X-Webhook-Secret"] == "my-secret" and headers["Content-Type"] == "application/json"
    )
    signed = headers["X-Webhook-Timestamp"].encode() + b"." + raw
    wanted = hmac.new(b"my-secret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Webhook-Signature"] == f"sha256={wanted}"
    assert headers["X-Webhook-Id"] == str(Event.objects.get().key) and headers["X-Webhook-Attempt"] == "1"
    row = Delivery.objects.get()
    assert (row.state, row.status_code, row.attempts, row.note) == ("delivered", 200, 1, "") and row.took_ms is not None


def test_without_a_secret_nothing_is_signed(alice, bob, model, here):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    deliver()
    assert not {"X-Webhook-Secret", "X-Webhook-Signature"} & set(here.requests[0][1])


def test_the_public_url_wins_over_the_one_of_the_owner(alice, bob, model, here, settings):
    settings.FITHUB_PUBLIC_URL = "https://hub.public"
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    deliver()
    assert here.bodies[0]["repo"]["url"]["web"] == "https://hub.public/alice/m"


def test_a_failure_is_tried_again_later_and_later(alice, bob, model, here):
    hook = watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    here.status = 500
    for attempt, pause in enumerate((*delivery.RETRY_AFTER_S, None), 1):
        deliver()
        deliver()  # not due yet
        row = Delivery.objects.get()
        assert len(here.requests) == attempt == row.attempts and row.status_code == 500
        assert row.state == ("waiting" if pause else "failed")
        if pause:
            assert timedelta(seconds=pause - 5) < row.due_at - timezone.now() <= timedelta(seconds=pause)
            later(pause)
    assert row.note == "It answered 500." and len({headers["X-Webhook-Id"] for _, headers, _ in here.requests}) == 1
    assert Webhook.objects.get(pk=hook.pk).failures == 1
    here.status = 204
    push(model, alice, {"a.txt": b"2"})
    deliver()
    assert Webhook.objects.get(pk=hook.pk).failures == 0


def test_many_failures_in_a_row_disable_it_and_enabling_begins_anew(alice, bob, model, here, monkeypatch):
    monkeypatch.setattr(delivery, "MAX_ATTEMPTS", 1)
    monkeypatch.setattr(delivery, "FAILURES_TO_DISABLE", 2)
    hook = watch(bob, here.url)
    here.status = 410
    for number in range(3):
        push(model, alice, {"a.txt": b"%d" % number})
    deliver()
    hook.refresh_from_db()
    assert hook.disabled and "2 deliveries in a row failed" in hook.disabled_reason and "410" in hook.disabled_reason
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["dropped", "failed", "failed"]
    services.set_enabled(Actor(bob), hook, enabled=True)
    assert (hook.failures, hook.disabled_reason) == (0, "")


def test_a_refused_address_is_not_tried_again(alice, bob, model, here, settings):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    settings.WEBHOOK_ALLOW_PRIVATE = False
    deliver()
    row = Delivery.objects.get()
    assert row.state == "failed" and row.attempts == 1 and "private" in row.note and not here.requests


def test_a_sender_which_is_killed_leaves_its_delivery_to_the_next(alice, bob, model, here, monkeypatch):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    key = Delivery.objects.get().pk

    class Killed(BaseException):
        pass

    def killed(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sending, "post", killed)
        with pytest.raises(Killed):
            delivery.attempt(key)
    deliver()
    assert not here.requests, "it is still held"
    later(delivery.LEASE.total_seconds())
    deliver()
    assert len(here.requests) == 1 and Delivery.objects.get().state == "delivered"


def test_a_delivery_which_kills_its_senders_is_given_up(alice, bob, model, here):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    Delivery.objects.update(attempts=delivery.MAX_ATTEMPTS)
    deliver()
    row = Delivery.objects.get()
    assert row.state == "failed" and "stopped" in row.note and not here.requests


def test_only_one_sender_gets_a_delivery(alice, bob, model, here, monkeypatch):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    key = Delivery.objects.get().pk
    real = sending.post

    def meanwhile(*args, **kwargs):
        delivery.attempt(key)  # a second sender
        return real(*args, **kwargs)

    monkeypatch.setattr(sending, "post", meanwhile)
    delivery.attempt(key)
    delivery.attempt(key)
    assert len(here.requests) == 1


def test_a_sender_which_lost_its_claim_writes_nothing(alice, bob, model, here, monkeypatch):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    row = Delivery.objects.get()
    real = sending.post

    def slow(*args, **kwargs):
        monkeypatch.setattr(sending, "post", real)
        later(delivery.LEASE.total_seconds())
        delivery.attempt(row.pk)
        return sending.Outcome(500, "It answered 500.", 1)

    monkeypatch.setattr(sending, "post", slow)
    delivery.attempt(row.pk)
    row.refresh_from_db()
    assert (row.state, row.status_code) == ("delivered", 200)


def test_an_event_can_be_sent_again_to_the_url_of_now(alice, bob, model, here):
    hook = watch(bob, f"{here.url}/old")
    push(model, alice, {"a.txt": b"1"})
    deliver()
    services.update_webhook(Actor(bob), hook, url=f"{here.url}/new")
    services.redeliver(Actor(bob), hook, Delivery.objects.get().pk)
    deliver()
    assert [path for path, _, _ in here.requests] == ["/old", "/new"] and here.bodies[0] == here.bodies[1]
    assert here.requests[0][1]["X-Webhook-Id"] == here.requests[1][1]["X-Webhook-Id"]
    assert here.requests[0][1]["X-Webhook-Delivery"] != here.requests[1][1]["X-Webhook-Delivery"]


@pytest.mark.django_db(transaction=True)
def test_the_command_sends_with_several_threads(settings):
    settings.WEBHOOK_ALLOW_PRIVATE = True
    alice, bob = make_user("alice"), make_user("bob")
    with receiver() as here:
        here.pause_s = 0.1
        for number in range(7):
            watch(bob if number % 2 else alice, f"{here.url}/{number}")
        make_repository(alice, "m")
        call_command("run_webhooks", "--once")
        assert sorted(path for path, _, _ in here.requests) == [f"/{number}" for number in range(7)]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_one_owners_deliveries_do_not_hold_up_the_others(alice, bob, model):
    watch(bob)
    watch(alice)
    for number in range(3):
        push(model, alice, {"a.txt": b"%d" % number})
    assert {owner for _, owner in delivery.due(100)} == {alice.pk, bob.pk}
    assert {owner for _, owner in delivery.due(100, [bob.pk])} == {alice.pk}


def test_what_is_old_is_forgotten(alice, bob, model, here):
    watch(bob, here.url)
    for number in range(2):
        push(model, alice, {"a.txt": b"%d" % number})
    deliver()
    old = timezone.now() - delivery.KEPT - timedelta(hours=1)
    first = Delivery.objects.order_by("pk")[0]
    Delivery.objects.filter(pk=first.pk).update(finished_at=old)
    Event.objects.filter(pk=first.event_id).update(created_at=old)
    assert delivery.clear_up() == 1
    assert Delivery.objects.count() == Event.objects.count() == 1


def test_the_clients_own_reader_understands_the_payload(alice, bob, model, here):
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    deliver()
    payload = WebhookPayload.model_validate(here.bodies[0])
    assert payload.repo.name == "alice/m" and payload.updatedRefs[0].ref == "refs/heads/main"
