"""Collections over the API: order without gaps, slugs which keep working, and what is private left out."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Membership, Role
from models_registry.accounts.services import create_organization
from models_registry.community.collections import services
from models_registry.community.collections.models import Collection, CollectionItem
from models_registry.community.collections.reading import resolve_item
from models_registry.repos.models import RepoType
from models_registry.repos.services import delete_repository
from tests.factories import client_of, make_repository, make_user

URL = "/api/collections"


def send(client, method, url, data):
    return getattr(client, method)(url, json.dumps(data), content_type="application/json")


def make(client, title="Recent models", namespace="alice", **more):
    answer = send(client, "post", URL, {"title": title, "namespace": namespace, "private": False, **more})
    assert answer.status_code == 200, answer.content
    return answer.json()


def add(client, slug, ident, kind="model", **more):
    return send(client, "post", f"{URL}/{slug}/items", {"item": {"id": ident, "type": kind}, **more})


def names(client, slug):
    return [item["id"] for item in client.get(f"{URL}/{slug}").json()["items"]]


@pytest.fixture
def filled(alice, as_alice):
    """A collection of four models, m0 to m3."""
    slug = make(as_alice)["slug"]
    for number in range(4):
        make_repository(alice, f"m{number}")
        assert add(as_alice, slug, f"alice/m{number}").status_code == 200
    return slug


def test_a_new_collection_has_what_clients_need(as_alice):
    made = make(as_alice, description="Contains a lot")
    assert made["slug"].startswith("alice/recent-models-") and len(made["slug"].rsplit("-", 1)[1]) == 24
    assert made["owner"]["name"] == "alice" and made["items"] == [] and made["position"] == 0
    wanted = {"title": "Recent models", "description": "Contains a lot", "private": False, "upvotes": 0}
    assert made.items() >= (wanted | {"theme": "orange"}).items() and made["lastUpdated"].endswith("Z")
    assert make(as_alice, "Second")["position"] == 1
    assert make(as_alice, "模型")["slug"].removeprefix("alice/").isalnum()


def test_a_title_used_twice_tells_the_slug_of_the_first(as_alice, as_bob):
    first = make(as_alice)
    again = send(as_alice, "post", URL, {"title": "Recent models", "namespace": "alice", "description": "x"})
    assert again.status_code == 409 and again.json()["slug"] == first["slug"]
    make(as_bob, namespace="bob")
    second = make(as_alice, "Other")
    assert send(as_alice, "patch", f"{URL}/{second['slug']}", {"title": "Recent models"}).status_code == 409


def test_items_of_all_sorts(alice, as_alice):
    make_repository(alice, "m")
    make_repository(alice, "d", RepoType.DATASET)
    make_repository(alice, "s", RepoType.SPACE)
    other, slug = make(as_alice, "Other")["slug"], make(as_alice)["slug"]
    add(as_alice, slug, "alice/m", note="A **note**")
    for ident, kind in (("alice/d", "dataset"), ("alice/s", "space"), ("2311.12983", "paper")):
        assert add(as_alice, slug, ident, kind).status_code == 200
    items = add(as_alice, slug, other, "collection").json()["items"]
    assert [item["type"] for item in items] == ["model", "dataset", "space", "paper", "collection"]
    assert [item["position"] for item in items] == [0, 1, 2, 3, 4]
    assert items[0]["note"] == {"text": "A **note**", "html": "<p>A <strong>note</strong></p>\n"}
    assert items[4]["slug"] == other and "note" not in items[1] and items[3]["id"] == "2311.12983"


def test_an_item_can_be_there_once_and_must_exist(filled, as_alice):
    assert add(as_alice, filled, "alice/m0").status_code == 409
    assert add(as_alice, filled, "ALICE/M0").status_code == 409
    for ident, kind in (("alice/m0", "dataset"), ("alice/none", "model"), ("x", "paper"), ("alice/x-1", "collection")):
        assert add(as_alice, filled, ident, kind).status_code == 404
    assert add(as_alice, filled, filled, "collection").status_code == 400
    assert add(as_alice, filled, "alice/m0", "bucket").status_code == 400
    assert len(names(as_alice, filled)) == 4


@pytest.mark.parametrize(
    ("mover", "to", "order"),
    [(0, 1, "1023"), (0, 3, "1230"), (0, 99, "1230"), (3, 0, "3012"), (2, 2, "0123"), (2, 1, "0213")],
)
def test_moving_an_item_keeps_an_order_without_gaps(filled, as_alice, mover, to, order):
    ident = as_alice.get(f"{URL}/{filled}").json()["items"][mover]["_id"]
    assert send(as_alice, "patch", f"{URL}/{filled}/items/{ident}", {"position": to}).status_code == 200
    assert names(as_alice, filled) == [f"alice/m{number}" for number in order]
    positions = CollectionItem.objects.order_by("position").values_list("position", flat=True)
    assert list(positions) == [0, 1, 2, 3]


def test_notes_change_and_items_go(filled, as_alice):
    ident = as_alice.get(f"{URL}/{filled}").json()["items"][1]["_id"]
    item = f"{URL}/{filled}/items/{ident}"
    assert send(as_alice, "patch", item, {"note": "new"}).status_code == 200
    assert as_alice.get(f"{URL}/{filled}").json()["items"][1]["note"]["text"] == "new"
    assert send(as_alice, "patch", item, {"note": ""}).status_code == 200
    assert "note" not in as_alice.get(f"{URL}/{filled}").json()["items"][1]
    assert as_alice.delete(item).status_code == 200 and as_alice.delete(item).status_code == 404
    assert send(as_alice, "patch", item, {"note": "x"}).status_code == 404
    assert names(as_alice, filled) == ["alice/m0", "alice/m2", "alice/m3"]
    assert list(CollectionItem.objects.order_by("position").values_list("position", flat=True)) == [0, 1, 2]


def test_a_deleted_repository_leaves_no_gap_for_readers(alice, filled, as_alice):
    repository = CollectionItem.objects.get(position=1).repository
    delete_repository(Actor(alice), repository)
    items = as_alice.get(f"{URL}/{filled}").json()["items"]
    assert [(item["id"], item["position"]) for item in items] == [("alice/m0", 0), ("alice/m2", 1), ("alice/m3", 2)]
    make_repository(alice, "m9")
    assert add(as_alice, filled, "alice/m9").json()["items"][3]["position"] == 3


def test_updating_changes_the_slug_and_the_old_one_goes_on(as_alice, anonymous):
    old = make(as_alice)["slug"]
    answer = send(
        as_alice, "patch", f"{URL}/{old}", {"title": "New!", "description": "d", "theme": "pink", "private": False}
    ).json()
    assert answer["success"] is True
    data = answer["data"]
    assert data.items() >= {"title": "New!", "description": "d", "theme": "pink", "position": 0}.items()
    assert data["slug"] != old and data["slug"].rsplit("-", 1)[1] == old.rsplit("-", 1)[1]
    assert anonymous.get(f"{URL}/{old}").json() == anonymous.get(f"{URL}/{data['slug']}").json()


def test_forged_slugs_find_nothing(as_alice, bob, anonymous):
    slug = make(as_alice)["slug"]
    ident = slug.rsplit("-", 1)[1]
    assert anonymous.get(f"{URL}/alice/{ident}").status_code == 200
    for bad in (
        f"bob/recent-models-{ident}", f"alice/recent-models-{ident}0", f"alice/x-{'f' * 24}", "alice/recent-models",
        f"alice/{ident.upper().replace('0', 'F')}", f"alice/x-{'0' * 24}", f"alice/{ident}%00", f"alice/x{ident}",
    ):  # fmt: skip
        assert anonymous.get(f"{URL}/{bad}").status_code == 404, bad
    assert as_alice.get(f"{URL}/alice/x-{'f' * 24}").status_code == 404


def test_private_collections_and_items_do_not_exist_for_others(alice, bob, as_alice, as_bob, anonymous):
    make_repository(alice, "hidden", private=True)
    make_repository(alice, "shown")
    secret = make(as_alice, "Secret", private=True)["slug"]
    slug = make(as_alice)["slug"]
    for ident in ("alice/hidden", "alice/shown"):
        add(as_alice, slug, ident)
    add(as_alice, slug, secret, "collection")
    for client in (as_bob, anonymous):
        assert client.get(f"{URL}/{secret}").status_code == 404
        assert names(client, slug) == ["alice/shown"]
        assert [row["slug"] for row in client.get(URL).json()] == [slug]
        assert [item["id"] for item in client.get(URL).json()[0]["items"]] == ["alice/shown"]
        assert client.get(f"{URL}?item=models/alice/hidden").json() == []
    assert len(as_alice.get(URL).json()) == 2 and len(names(as_alice, slug)) == 3
    assert add(as_bob, make(as_bob, namespace="bob")["slug"], "alice/hidden").status_code == 404


def test_others_may_not_change_it(filled, alice, as_bob, anonymous):
    for client, status in ((as_bob, 403), (anonymous, 401), (client_of(alice, "read"), 403)):
        assert send(client, "patch", f"{URL}/{filled}", {"title": "x"}).status_code == status
        assert client.delete(f"{URL}/{filled}").status_code == status
        assert add(client, filled, "alice/m0").status_code == status
        assert send(client, "post", URL, {"title": "x", "namespace": "alice"}).status_code == status
        ident = f"{CollectionItem.objects.first().pk:024x}"
        assert client.delete(f"{URL}/{filled}/items/{ident}").status_code == status


def test_organisations_by_role(alice, as_alice):
    acme = create_organization("acme", alice)
    clients = {}
    for role in Role.values:
        user = make_user(f"u-{role}")
        Membership.objects.create(namespace=acme, user=user, role=role)
        clients[role] = client_of(user)
    slug = make(as_alice, namespace="acme", private=True)["slug"]
    for role, client in clients.items():
        assert client.get(f"{URL}/{slug}").status_code == 200
        may_edit = role in ("write", "admin")
        assert (send(client, "patch", f"{URL}/{slug}", {"theme": "blue"}).status_code == 200) is may_edit
        made = send(client, "post", URL, {"title": role, "namespace": "acme"})
        assert (made.status_code == 200) is (role != "read")
        if made.status_code == 200:
            assert send(client, "patch", f"{URL}/{made.json()['slug']}", {"theme": "blue"}).status_code == 200


def test_lists_truncate_items_and_have_no_position(alice, filled, as_alice, anonymous):
    make_repository(alice, "m9")
    add(as_alice, filled, "alice/m9")
    row = anonymous.get(f"{URL}?owner=ALICE").json()[0]
    assert [item["id"] for item in row["items"]] == [f"alice/m{number}" for number in range(4)]
    assert "position" not in row and all("position" in item for item in row["items"])


def test_lists_filter_sort_and_page(alice, bob, filled, as_alice, as_bob, anonymous):
    second = make(as_bob, "Second", namespace="bob")["slug"]
    add(as_bob, second, "alice/m1")
    add(as_bob, second, "2311.12983", "paper")

    def found(query):
        return [row["title"] for row in anonymous.get(f"{URL}?{query}").json()]

    assert found("") == ["Second", "Recent models"]
    assert found("owner=bob") == ["Second"]
    assert found("item=models/alice/m1") == ["Second", "Recent models"]
    assert found("item=models/alice/m0") == ["Recent models"]
    assert found("item=papers/2311.12983") == ["Second"]
    assert found("item=datasets/alice/m1") == [] == found("owner=nobody")
    assert as_alice.post(f"{URL}/{filled}/upvote").json() == {"upvotes": 1}
    assert as_alice.post(f"{URL}/{filled}/upvote").json() == {"upvotes": 1}
    assert found("sort=upvotes") == ["Recent models", "Second"] == found("sort=trending")
    assert as_alice.delete(f"{URL}/{filled}/upvote").json() == {"upvotes": 0}
    assert found("sort=lastModified") == ["Second", "Recent models"]
    for bad in ("sort=size", "item=x", "item=buckets/a/b", "limit=x", "owner=%00"):
        assert anonymous.get(f"{URL}?{bad}").status_code == 400, bad
    answer = anonymous.get(f"{URL}?limit=1")
    assert [row["title"] for row in answer.json()] == ["Second"]
    rest = anonymous.get(answer["Link"].split(">")[0].lstrip("<"))
    assert [row["title"] for row in rest.json()] == ["Recent models"] and "Link" not in rest


def test_the_owners_order_can_be_changed(as_alice):
    slugs = [make(as_alice, title)["slug"] for title in "abc"]
    answer = send(as_alice, "patch", f"{URL}/{slugs[2]}", {"position": 0}).json()
    assert answer["data"]["position"] == 0
    assert [row["title"] for row in as_alice.get(f"{URL}?owner=alice").json()] == ["c", "a", "b"]
    assert as_alice.delete(f"{URL}/{slugs[0]}").status_code == 200
    assert as_alice.get(f"{URL}/{slugs[0]}").status_code == 404
    assert list(Collection.objects.order_by("position").values_list("title", "position")) == [("c", 0), ("b", 1)]


@pytest.mark.parametrize(
    "body",
    [
        {"title": ""}, {"title": "   "}, {"title": 3}, {}, {"title": "x" * 151}, {"title": "a\0b"},
        {"title": "x", "description": "d" * 151}, {"title": "x", "private": "yes"}, {"title": "x", "namespace": 1},
        [], "x", {"title": "x", "description": ["d"]},
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(as_alice, body):
    data = body if not isinstance(body, dict) else {"namespace": "alice", **body}
    assert send(as_alice, "post", URL, data).status_code == 400
    assert not Collection.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        {"theme": "black"},
        {"position": -1},
        {"position": "0"},
        {"position": True},
        {"title": "\0"},
        {"description": "d" * 151},
    ],
)
def test_bad_changes_are_refused(as_alice, body):
    slug = make(as_alice)["slug"]
    assert send(as_alice, "patch", f"{URL}/{slug}", body).status_code == 400


def test_bad_items_are_refused(filled, as_alice):
    for body in ({}, {"item": 1}, {"item": {}}, {"item": {"type": "model"}}, {"item": {"type": 1, "id": "x"}}):
        assert send(as_alice, "post", f"{URL}/{filled}/items", body).status_code == 400
    assert add(as_alice, filled, "2311.12983", "paper", note="n" * 501).status_code == 400
    assert add(as_alice, filled, "2311.12983", "paper", note="n" * 500).status_code == 200
    assert add(as_alice, filled, "a\0/b").status_code == 404
    assert as_alice.delete(f"{URL}/{filled}/items/zzz").status_code == 404


def test_notes_can_not_act(filled, as_alice):
    evil = '<script>alert(1)</script><img src=x onerror=alert(1)>[x](javascript:alert(1))<a href="javascript:1">y</a>'
    ident = as_alice.get(f"{URL}/{filled}").json()["items"][0]["_id"]
    send(as_alice, "patch", f"{URL}/{filled}/items/{ident}", {"note": evil})
    html = as_alice.get(f"{URL}/{filled}").json()["items"][0]["note"]["html"]
    assert "<script" not in html and "onerror" not in html and 'href="javascript' not in html


def test_lists_cost_the_same_however_long(alice, as_alice, anonymous):
    actor = Actor(alice)

    def fill(start, number):
        for n in range(start, start + number):
            collection = services.create_collection(actor, f"c{n}")
            for m in range(5):
                services.add_item(actor, collection, resolve_item(actor, "paper", f"2311.{n:02d}{m:03d}"))
            make_repository(alice, f"x{n}")
            services.add_item(actor, collection, resolve_item(actor, "model", f"alice/x{n}"))
        with CaptureQueriesContext(connection) as captured:
            answer = anonymous.get(f"{URL}?limit=100")
        assert len(answer.json()) == start + number
        return len(captured)

    assert fill(0, 2) == fill(2, 8) <= 3


def test_a_collection_holds_a_bounded_number(as_alice, monkeypatch, filled):
    monkeypatch.setattr(services, "MAX_ITEMS", 4)
    monkeypatch.setattr(services, "MAX_COLLECTIONS", 1)
    assert add(as_alice, filled, "2311.12983", "paper").status_code == 400
    assert send(as_alice, "post", URL, {"title": "x", "namespace": "alice"}).status_code == 400


def test_an_owner_who_can_not_be_is_refused(as_alice):
    for owner in ("nobody", "a\0b", "bob/x"):
        assert send(as_alice, "post", URL, {"title": "x", "namespace": owner}).status_code == 403
