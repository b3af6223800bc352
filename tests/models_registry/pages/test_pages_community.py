"""Pages of likes, collections and webhooks: forms which work without JavaScript, and show nothing which is private."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from models_registry.accounts.actors import Actor
from models_registry.accounts.services import create_organization
from models_registry.community.collections import services
from models_registry.community.collections.models import Collection, CollectionItem
from models_registry.community.collections.reading import resolve_item
from models_registry.community.likes.models import Like
from models_registry.community.webhooks.models import Delivery, Webhook
from models_registry.repos.models import RepoType
from tests.factories import client_of, make_repository, push

HOOKS = "/settings/webhooks"
EVIL = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'


def text(answer):
    return answer.content.decode()


@pytest.fixture
def shelf(alice, model):
    """A collection of alice's with a model, a dataset and a paper."""
    actor = Actor(alice)
    found = services.create_collection(actor, "Shelf", description="Words")
    make_repository(alice, "d", RepoType.DATASET)
    for kind, ident in (("model", "alice/m"), ("dataset", "alice/d"), ("paper", "2311.12983")):
        services.add_item(actor, found, resolve_item(actor, kind, ident), "A *note*")
    return found


# --- likes --------------------------------------------------------------------------------------------------------
def test_the_like_button(model, bob_browser, visitor):
    assert "/login?next=%2Falice%2Fm" in text(visitor.get("/alice/m"))
    assert 'aria-pressed="false"' in text(bob_browser.get("/alice/m"))
    assert bob_browser.post("/alice/m/like", {"liked": "yes"})["Location"] == "/alice/m"
    page = text(bob_browser.get("/alice/m"))
    assert 'aria-pressed="true"' in page and "1 like<" in page
    assert "bob" in text(visitor.get("/alice/m/likers"))
    assert "♥ 1" in text(visitor.get("/models"))
    bob_browser.post("/alice/m/like", {"liked": "no"})
    assert not Like.objects.exists() and "Nobody yet" in text(visitor.get("/alice/m/likers"))


def test_a_dataset_is_liked_on_its_page(alice, bob_browser):
    make_repository(alice, "d", RepoType.DATASET)
    assert bob_browser.post("/datasets/alice/d/like")["Location"] == "/datasets/alice/d"
    assert Like.objects.get().repository.type == "dataset"


def test_likes_need_a_person_a_post_and_a_repository_which_they_see(
    alice, model, bob, browser_of, visitor, bob_browser
):
    make_repository(alice, "hidden", private=True)
    assert visitor.post("/alice/m/like")["Location"].startswith("/login")
    assert bob_browser.get("/alice/m/like").status_code == 405
    assert (
        bob_browser.post("/alice/hidden/like").status_code == 404 == bob_browser.get("/alice/hidden/likers").status_code
    )
    assert client_of(bob).post("/alice/m/like").status_code == 403
    assert browser_of(bob, enforce_csrf_checks=True).post("/alice/m/like").status_code == 403
    assert not Like.objects.exists()


def test_what_a_user_likes(alice, model, alice_browser, visitor):
    make_repository(alice, "hidden", private=True)
    for name in ("m", "hidden"):
        alice_browser.post(f"/alice/{name}/like")
    assert "hidden" in text(alice_browser.get("/users/alice/likes"))
    page = text(visitor.get("/users/ALICE/likes"))
    assert 'href="/alice/m"' in page and "/alice/hidden" not in page
    assert visitor.get("/users/nobody/likes").status_code == 404
    assert "/users/alice/likes" in text(visitor.get("/alice"))


# --- collections --------------------------------------------------------------------------------------------------
def test_a_collection_is_made_from_a_repositorys_page(model, alice_browser, visitor):
    page = text(alice_browser.get("/alice/m"))
    assert "/collections/add?type=model&amp;id=alice%2Fm" in page
    assert "You have no collection yet" in text(alice_browser.get("/collections/add?type=model&id=alice/m"))
    assert "Its first item: alice/m" in text(alice_browser.get("/collections/new?type=model&id=alice/m"))
    form = {"title": "Shelf", "description": "Words", "owner": "alice", "type": "model", "id": "alice/m"}
    link = alice_browser.post("/collections/new", form)["Location"]
    page = text(visitor.get(link))
    assert "Shelf" in page and "Words" in page and 'href="/alice/m"' in page and "Remove" not in page
    assert "Shelf" in text(visitor.get("/collections")) and "Shelf" in text(visitor.get("/alice"))
    assert "Shelf" in text(visitor.get("/collections?item=models/alice/m"))
    again = alice_browser.post("/collections/new", form)
    assert again.status_code == 400 and "exists already" in text(again)


def test_adding_to_a_collection(alice, shelf, alice_browser, bob_browser):
    make_repository(alice, "more")
    form = {"type": "model", "id": "alice/more", "collection": shelf.slug, "note": "New"}
    assert alice_browser.post("/collections/add", form)["Location"] == f"/collections/{shelf.slug}"
    assert CollectionItem.objects.order_by("-position")[0].note == "New"
    assert alice_browser.post("/collections/add", form).status_code == 400
    assert bob_browser.post("/collections/add", form | {"id": "alice/m"}).status_code == 400
    assert "Shelf" not in text(bob_browser.get("/collections/add?type=model&id=alice/more"))
    for query in ("type=model&id=alice/none", "type=planet&id=x", ""):
        assert alice_browser.get(f"/collections/add?{query}").status_code in (400, 404)


def test_items_are_moved_noted_and_removed(shelf, alice_browser, bob_browser):
    own = f"/collections/{shelf.slug}"
    first = CollectionItem.objects.get(position=0)
    link = f"{own}/items/{first.pk:024x}"
    page = text(alice_browser.get(own))
    assert "Move alice/m down" in page and "Move alice/m up" not in page and "<em>note</em>" in page
    assert bob_browser.post(link, {"position": "1"}).status_code == 403
    alice_browser.post(link, {"position": "1"})
    first.refresh_from_db()
    assert first.position == 1
    alice_browser.post(link, {"note": "Other"})
    first.refresh_from_db()
    assert (first.note, first.position) == ("Other", 1)
    assert "whole number" in text(alice_browser.post(link, {"position": "x"}, follow=True))
    alice_browser.post(link, {"act": "remove"})
    assert list(CollectionItem.objects.order_by("position").values_list("type", "position")) == [
        ("dataset", 0),
        ("paper", 1),
    ]


def test_a_collection_is_edited_moved_and_deleted(alice, shelf, alice_browser, bob_browser, visitor):
    second = services.create_collection(Actor(alice), "Second")
    own = f"/collections/{shelf.slug}"
    assert 'value="1"' in text(alice_browser.get(f"{own}/edit"))
    form = {"title": "New", "description": "D", "theme": "pink", "position": "2", "private": "on"}
    assert (
        bob_browser.post(f"{own}/edit", form).status_code == 403 and bob_browser.get(f"{own}/edit").status_code == 403
    )
    link = alice_browser.post(f"{own}/edit", form)["Location"]
    shelf.refresh_from_db()
    assert (shelf.title, shelf.theme, shelf.private, shelf.position) == ("New", "pink", True, 1)
    assert alice_browser.get(own)["Location"] == link == f"/collections/{shelf.slug}"
    assert visitor.get(link).status_code == 404 == bob_browser.get(link).status_code
    assert alice_browser.post(f"{link}/edit", form | {"theme": "black"}).status_code == 400
    assert bob_browser.post(f"{link}/delete").status_code == 404
    assert alice_browser.post(f"{link}/delete").status_code == 302
    assert list(Collection.objects.values_list("pk", "position")) == [(second.pk, 0)]


def test_upvotes(shelf, bob_browser, visitor):
    own = f"/collections/{shelf.slug}"
    assert visitor.post(f"{own}/upvote")["Location"].startswith("/login")
    bob_browser.post(f"{own}/upvote", {"upvoted": "yes"})
    assert "1 upvote " in text(visitor.get(own)) and "Upvoted" in text(bob_browser.get(own))
    bob_browser.post(f"{own}/upvote", {"upvoted": "no"})
    assert "0 upvotes" in text(visitor.get(own))


def test_what_is_private_is_on_no_page(alice, shelf, visitor):
    services.create_collection(Actor(alice), "Secret shelf", private=True)
    make_repository(alice, "hidden", private=True)
    services.add_item(Actor(alice), shelf, resolve_item(Actor(alice), "model", "alice/hidden"))
    for path in (
        "/collections",
        "/collections?owner=alice",
        "/alice",
        f"/collections/{shelf.slug}",
        "/collections?item=models/alice/hidden",
    ):
        page = text(visitor.get(path))
        assert "Secret shelf" not in page and 'href="/alice/hidden"' not in page


def test_words_can_not_act(alice, shelf, visitor, alice_browser):
    services.update_collection(Actor(alice), shelf, title=EVIL, description=EVIL)
    services.update_item(Actor(alice), shelf, f"{CollectionItem.objects.first().pk:024x}", note=EVIL)
    for path in ("/collections", "/alice", f"/collections/{shelf.slug}"):
        page = text(visitor.get(path))
        assert "<script>alert" not in page and "onerror=alert(2)>" not in page, path
    for path in (f"/collections/{shelf.slug}/edit", "/collections/add?type=model&id=alice/m"):
        assert "<script>alert" not in text(alice_browser.get(path))


def test_lists_of_collections_cost_the_same_however_long(alice, shelf, visitor):
    def cost(path):
        with CaptureQueriesContext(connection) as captured:
            assert visitor.get(path).status_code == 200
        return len(captured)

    paths = ("/collections", "/alice", f"/collections/{shelf.slug}", "/users/alice/likes", "/alice/m/likers")
    before = [cost(path) for path in paths]
    for number in range(5):
        made = services.create_collection(Actor(alice), f"More {number}")
        repository = make_repository(alice, f"x{number}")
        Like.objects.create(repository=repository, user=alice)
        for collection in (made, shelf):
            services.add_item(Actor(alice), collection, resolve_item(Actor(alice), "model", f"alice/x{number}"))
            services.add_item(Actor(alice), collection, resolve_item(Actor(alice), "paper", f"2311.0000{number}"))
        services.add_item(Actor(alice), shelf, resolve_item(Actor(alice), "collection", made.slug))
    after = [cost(path) for path in paths]
    assert [b <= a + 1 for a, b in zip(before, after, strict=True)] == [True] * 5, (before, after)


# --- webhooks -----------------------------------------------------------------------------------------------------
def test_a_webhook_is_made_changed_switched_and_deleted(alice, bob, alice_browser, bob_browser, visitor):
    create_organization("acme", bob)
    assert visitor.get(HOOKS)["Location"].startswith("/login")
    form = {
        "url": "https://h.example/a",
        "watched": "alice\nacme\nbob/m\ndatasets/bob/d",
        "domains": ["repo"],
        "secret": "s3cret",
    }
    link = alice_browser.post(HOOKS, form)["Location"]
    hook = Webhook.objects.get()
    watched = list(hook.watched_rows.values_list("type", "name"))
    assert watched == [("user", "alice"), ("org", "acme"), ("model", "bob/m"), ("dataset", "bob/d")]
    assert (hook.domains, hook.secret, hook.origin) == (["repo"], "s3cret", "http://testserver")
    page = text(alice_browser.get(link))
    assert "datasets/bob/d" in page and "s3cret" not in page and "https://h.example/a" in text(alice_browser.get(HOOKS))
    assert bob_browser.get(link).status_code == 404 == bob_browser.post(f"{link}/delete").status_code
    change = {"url": "https://h.example/b", "watched": "bob", "domains": ["repo", "discussion"], "secret": ""}
    alice_browser.post(link, change)
    hook = Webhook.objects.get()
    assert (hook.url, hook.secret, hook.domains) == ("https://h.example/b", "s3cret", ["repo", "discussion"])
    alice_browser.post(link, change | {"no_secret": "on"})
    assert Webhook.objects.get().secret == ""
    alice_browser.post(f"{link}/switch", {"enabled": "no"})
    assert Webhook.objects.get().disabled and "It is disabled" in text(alice_browser.get(link))
    alice_browser.post(f"{link}/switch", {"enabled": "yes"})
    assert not Webhook.objects.get().disabled
    assert alice_browser.post(f"{link}/delete")["Location"] == HOOKS and not Webhook.objects.exists()


@pytest.mark.parametrize(
    "change", [{"url": "http://127.0.0.1/"}, {"watched": ""}, {"watched": "a/b/c"}, {"domains": []}, {"secret": "a b"}]
)
def test_a_bad_webhook_is_refused_with_a_sentence(alice_browser, change):
    form = {"url": "https://h.example/a", "watched": "alice", "domains": ["repo"], "secret": ""} | change
    answer = alice_browser.post(HOOKS, form)
    assert answer.status_code == 400 and 'role="alert"' in text(answer) and not Webhook.objects.exists()


def test_deliveries_are_shown_and_sent_again(alice, model, alice_browser, bob_browser):
    link = alice_browser.post(HOOKS, {"url": "https://h.example/a", "watched": "alice", "domains": ["repo"]})[
        "Location"
    ]
    push(model, alice, {"a.txt": b"1"}, title="x")
    Delivery.objects.update(state="failed", status_code=500, note="It answered 500.", took_ms=12, attempts=5)
    page = text(alice_browser.get(link))
    assert (
        "update repo.content" in page and "It answered 500." in page and "5 attempts" in page and "updatedRefs" in page
    )
    again = f"{link}/deliveries/{Delivery.objects.get().pk}/again"
    assert bob_browser.post(again).status_code == 404
    assert "sent again" in text(alice_browser.post(again, follow=True)) and Delivery.objects.count() == 2
    assert "no such delivery" in text(alice_browser.post(f"{link}/deliveries/999/again", follow=True))


@pytest.mark.parametrize(
    "path",
    ["/collections/new", "/collections/add", "/collections/a/b/edit", "/collections/a/b/delete", "/collections/a/b/upvote", HOOKS],
)  # fmt: skip
def test_every_form_needs_its_csrf_token(alice, browser_of, path):
    assert browser_of(alice, enforce_csrf_checks=True).post(path, {}).status_code == 403
