"""Webhooks: the API, and what they are told of, only for whom may know. How it arrives: test_webhook_delivery.py."""

import json

import pytest
from django.db import transaction
from huggingface_hub import WebhookPayload

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Membership
from models_registry.accounts.services import create_organization
from models_registry.community.discussions import services as talk
from models_registry.community.webhooks import outbox, services
from models_registry.community.webhooks.models import Delivery, Event
from models_registry.repos.models import RepoType
from models_registry.repos.moving import move_repository
from models_registry.repos.services import create_repository, create_tag, delete_repository, update_settings
from tests.factories import client_of, make_repository, make_user, push
from tests.models_registry.community.hooks import HOOK, deliver, watch

URL = "/api/settings/webhooks"
WATCHED = [{"type": "user", "name": "alice"}]


def send(client, url, data=None):
    return client.post(url, json.dumps(data or {}), content_type="application/json")


def make(client, **more):
    body = {"url": HOOK, "watched": WATCHED, "domains": ["repo", "discussion"], **more}
    answer = send(client, URL, body)
    assert answer.status_code == 200, answer.content
    return answer.json()["webhook"]


# --- the API ------------------------------------------------------------------------------------------------------
def test_create_get_list_update_switch_delete(as_alice):
    made = make(as_alice, secret="my-secret")
    assert made == {
        "id": made["id"],
        "url": HOOK,
        "watched": WATCHED,
        "domains": ["repo", "discussion"],
        "secret": "my-secret",
        "disabled": False,
    }
    one = f"{URL}/{made['id']}"
    assert len(made["id"]) == 24
    assert as_alice.get(one).json() == {"webhook": made} and as_alice.get(URL).json() == [made]
    changed = send(
        as_alice,
        one,
        {"url": HOOK + "b", "watched": [{"type": "model", "name": "Bob/X"}], "domains": ["repo"], "secret": "s2"},
    ).json()["webhook"]
    assert changed.items() >= {"url": HOOK + "b", "domains": ["repo"], "secret": "s2"}.items()
    assert changed["watched"] == [{"type": "model", "name": "Bob/X"}] and as_alice.get(one).json()["webhook"] == changed
    # The stock client sends an empty list when it was not asked to change what is watched.
    assert send(as_alice, one, {"watched": []}).json()["webhook"] == changed
    assert send(as_alice, f"{one}/disable").json()["webhook"]["disabled"] is True
    assert send(as_alice, f"{one}/enable").json()["webhook"]["disabled"] is False
    assert as_alice.delete(one).status_code == 200
    assert as_alice.get(one).status_code == 404 and as_alice.delete(one).status_code == 404


def test_names_which_do_not_exist_can_be_watched(as_alice):
    watched = [{"type": "user", "name": "nobody"}, {"type": "org", "name": "NoOrg"}, {"type": "dataset", "name": "a/b"}]
    assert make(as_alice, watched=[*watched, watched[0]])["watched"] == watched


def test_a_webhook_is_only_its_owners(alice, as_alice, as_bob, anonymous):
    one = f"{URL}/{make(as_alice)['id']}"
    for path in (one, f"{one}/enable", f"{one}/disable"):
        assert send(as_bob, path).status_code == 404 and send(anonymous, path).status_code == 401
    assert as_bob.get(URL).json() == [] and anonymous.get(URL).status_code == 401
    assert as_bob.get(one).status_code == 404 == as_bob.delete(one).status_code
    reader = client_of(alice, "read")
    send(as_alice, one, {"secret": "s"})
    assert reader.get(one).json()["webhook"]["secret"] is None
    assert as_alice.get(one).json()["webhook"]["secret"] == "s"
    assert reader.delete(one).status_code == 403 == send(reader, URL, {"url": HOOK, "watched": WATCHED}).status_code
    for bad in ("zzz", "f" * 24, "0" * 24, "1" * 25):
        assert as_alice.get(f"{URL}/{bad}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"url": None}, {"url": 1}, {"url": ""}, {"url": "ftp://x.example/"}, {"url": "http://127.0.0.1/"}, {"url": "http://2130706433/"},
        {"url": "http://[::ffff:10.0.0.1]/"}, {"url": "http://localhost:8000/"}, {"url": "http://a:b@x.example/"},
        {"url": "http://x.example:25/"}, {"watched": []}, {"watched": "alice"}, {"watched": [1]}, {"watched": [{"type": "user"}]},
        {"watched": [{"type": "planet", "name": "mars"}]}, {"watched": [{"type": "user", "name": "a/b"}]},
        {"watched": [{"type": "model", "name": "a"}]}, {"watched": [{"type": "user", "name": "a\0"}]},
        {"watched": [{"type": "user", "name": f"u{n}"} for n in range(201)]}, {"domains": []}, {"domains": ["job"]},
        {"domains": "repo"}, {"domains": [[]]}, {"secret": 1}, {"secret": "a\r\nX-Evil: 1"}, {"secret": "é"}, {"secret": "x" * 257},
        {"jobSourceId": "x"},
    ],
)  # fmt: skip
def test_bad_webhooks_are_refused(as_alice, body):
    data = {"url": HOOK, "watched": WATCHED, **body}
    answer = send(as_alice, URL, data)
    # An empty list of domains means both to a client which has none to give.
    assert answer.status_code == (200 if body == {"domains": []} else 400), answer.content
    made = send(as_alice, URL, {"url": HOOK, "watched": WATCHED}).json()["webhook"]
    if body not in ({"url": None}, {"watched": []}, {"domains": []}):
        assert send(as_alice, f"{URL}/{made['id']}", body).status_code == 400
        assert as_alice.get(f"{URL}/{made['id']}").json()["webhook"] == made


def test_a_person_has_a_bounded_number(as_alice, monkeypatch):
    monkeypatch.setattr(services, "MAX_WEBHOOKS", 1)
    make(as_alice)
    assert send(as_alice, URL, {"url": HOOK, "watched": WATCHED}).status_code == 400


# --- what is told, and to whom ------------------------------------------------------------------------------------
def told():
    return [
        (row.event.payload["event"]["scope"], row.event.payload["event"]["action"])
        for row in Delivery.objects.order_by("pk")
    ]


def test_events_of_a_repositorys_life(alice, bob):
    watch(bob)
    model = make_repository(alice, "m")
    push(model, alice, {"a.txt": b"1"})
    create_tag(Actor(alice), model, "v1", "main")
    delete_repository(Actor(alice), model)
    assert told() == [("repo", "create"), ("repo.content", "update"), ("repo.content", "update"), ("repo", "delete")]
    tag = Event.objects.order_by("pk")[2].payload["updatedRefs"][0]
    assert tag["ref"] == "refs/tags/v1" and tag["oldSha"] is None and len(tag["newSha"]) == 40


def test_a_move_is_told_to_who_watches_the_old_and_the_new_place(alice, bob, here):
    acme = create_organization("acme", alice)
    model = make_repository(alice, "m")
    by_old, by_new = watch(bob, f"{here.url}/old"), watch(bob, f"{here.url}/new", [("org", "acme")])
    by_name = watch(bob, f"{here.url}/name", [("model", "alice/m")])
    move_repository(Actor(alice), model, "acme/n")
    deliver()
    assert sorted(path for path, _, _ in here.requests) == ["/name", "/new", "/old"]
    body = here.bodies[0]
    assert body["event"] == {"action": "move", "scope": "repo"}
    assert (body["repo"]["name"], body["repo"]["url"]["web"]) == ("alice/m", "http://hub.example/alice/m")
    assert body["repo"]["owner"]["id"] == f"{alice.pk:024x}"
    assert body["movedTo"] == {"name": "acme/n", "owner": {"id": f"{acme.pk:024x}"}}
    WebhookPayload.model_validate(body)
    assert [one.name for one in by_name.watched_rows.all()] == ["acme/n"]
    assert by_old.watched_rows.get().name == "alice" and by_new.watched_rows.get().name == "acme"


def test_settings_are_told(alice, bob, model, here):
    watch(alice, here.url)
    update_settings(Actor(alice), model, private=True)
    update_settings(Actor(alice), model, gated="manual")
    deliver()
    assert [body["event"]["scope"] for body in here.bodies] == ["repo.config"] * 2
    assert [body["updatedConfig"] for body in here.bodies] == [{"private": True}, {}]


def test_discussions_are_told(alice, bob, model, here):
    hook = watch(bob, here.url, domains=["discussion"])
    push(model, alice, {"a.txt": b"1"})
    found = talk.open_discussion(Actor(alice), model, "A question", "What is it?")
    reply = talk.comment(Actor(bob), found, "A model")
    talk.edit_comment(Actor(bob), reply, "A small model")
    talk.hide_comment(Actor(bob), reply)
    talk.rename(Actor(alice), found, "The question")
    talk.change_status(Actor(alice), found, "closed")
    deliver()
    events = [(body["event"]["scope"], body["event"]["action"]) for body in here.bodies]
    comment = "discussion.comment"
    assert events == [
        ("discussion", "create"), (comment, "create"), (comment, "update"), (comment, "update"),
        ("discussion", "update"), ("discussion", "update"),
    ]  # fmt: skip
    first = here.bodies[0]
    assert first["discussion"] == {
        "id": f"{found.pk:024x}",
        "title": "A question",
        "url": {
            "web": "http://hub.example/alice/m/discussions/1",
            "api": "http://hub.example/api/models/alice/m/discussions/1",
        },
        "status": "open",
        "author": {"id": f"{alice.pk:024x}"},
        "num": 1,
        "isPullRequest": False,
        "pinned": False,
    }
    assert first["comment"]["content"] == "What is it?" and "headSha" not in first["repo"]
    assert first["comment"]["url"]["web"].startswith("http://hub.example/alice/m/discussions/1#")
    assert here.bodies[2]["comment"]["content"] == "A small model"
    assert here.bodies[3]["comment"]["hidden"] is True and "content" not in here.bodies[3]["comment"]
    assert here.bodies[4]["discussion"]["title"] == "The question"
    assert here.bodies[5]["discussion"]["status"] == "closed" and "comment" not in here.bodies[5]
    for body in here.bodies:
        assert WebhookPayload.model_validate(body).webhook.id == hook.ident


def test_who_watches_what(alice, bob):
    acme = create_organization("acme", alice)
    by_user, by_org = watch(bob), watch(bob, names=[("org", "ACME")])
    by_name, by_type = watch(bob, names=[("model", "Alice/M")]), watch(bob, names=[("dataset", "alice/m")])
    other = watch(bob, names=[("org", "alice"), ("user", "acme"), ("user", "bob"), ("model", "alice/mm")])
    discussions = watch(bob, domains=["discussion"])
    off = watch(bob)
    services.set_enabled(Actor(bob), off, enabled=False)
    make_repository(alice, "m")
    create_repository(Actor(alice), RepoType.MODEL, "m", "acme")
    counts = {row.pk: row.deliveries.count() for row in (by_user, by_org, by_name, by_type, other, discussions, off)}
    assert counts == {
        by_user.pk: 1, by_org.pk: 1, by_name.pk: 1, by_type.pk: 0, other.pk: 0, discussions.pk: 0, off.pk: 0,
    }  # fmt: skip
    assert acme.name == "acme"


def test_two_ways_of_watching_are_one_delivery(alice, bob):
    watch(bob, names=[("user", "alice"), ("model", "alice/m")])
    make_repository(alice, "m")
    assert Delivery.objects.count() == 1


def test_nothing_is_written_when_nobody_watches_or_what_happened_is_undone(alice, bob, model):
    push(model, alice, {"a.txt": b"1"})
    assert not Event.objects.exists()
    watch(bob)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        push(model, alice, {"a.txt": b"2"})
        assert Delivery.objects.count() == 1
        raise ZeroDivisionError
    assert not Event.objects.exists() and not Delivery.objects.exists()


def test_private_repositories_are_told_of_only_to_those_who_may_read_them(alice, bob, here):
    acme = create_organization("acme", alice)
    Membership.objects.create(namespace=acme, user=bob, role="read")
    stranger = make_user("carol")
    for user in (alice, bob, stranger):
        watch(user, f"{here.url}/{user.username}", [("org", "acme"), ("user", "alice")])
    create_repository(Actor(alice), RepoType.MODEL, "m", "acme", private=True)
    deliver()
    assert sorted(path for path, _, _ in here.requests) == ["/alice", "/bob"]
    make_repository(alice, "own", private=True)
    deliver()
    assert sorted(path for path, _, _ in here.requests) == ["/alice", "/alice", "/bob"]


def test_rights_are_asked_again_when_it_is_sent(alice, bob, here):
    model = make_repository(alice, "m")
    gone = make_repository(alice, "gone")
    watch(bob, here.url)
    push(model, alice, {"a.txt": b"1"})
    update_settings(Actor(alice), model, private=True)
    delete_repository(Actor(alice), gone)
    deliver()
    assert [body["repo"]["name"] for body in here.bodies] == ["alice/gone"]
    dropped = Delivery.objects.get(state="dropped")
    assert "may not read" in dropped.note and dropped.status_code is None


def test_a_deleted_private_repository_is_told_of_to_insiders_only(alice, bob, here):
    acme = create_organization("acme", alice)
    member = Membership.objects.create(namespace=acme, user=bob, role="read")
    model = create_repository(Actor(alice), RepoType.MODEL, "m", "acme", private=True)
    watch(alice, f"{here.url}/alice", [("org", "acme")])
    watch(bob, f"{here.url}/bob", [("org", "acme")])
    delete_repository(Actor(alice), model)
    member.delete()
    deliver()
    assert [path for path, _, _ in here.requests] == ["/alice"]


def test_a_closed_account_and_a_disabled_webhook_get_nothing(alice, bob, here):
    hook = watch(bob, here.url)
    watch(alice, here.url)
    make_repository(alice, "m")
    services.set_enabled(Actor(bob), hook, enabled=False)
    alice.is_active = False
    alice.save()
    deliver()
    assert not here.requests and Delivery.objects.filter(state="dropped").count() == 2


def test_a_webhook_sends_a_bounded_number_a_day(alice, bob, model, monkeypatch):
    monkeypatch.setattr(outbox, "MAX_A_DAY", 2)
    watch(bob)
    for number in range(3):
        push(model, alice, {"a.txt": b"%d" % number})
    assert Delivery.objects.count() == 2
