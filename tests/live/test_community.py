"""Likes, collections and webhooks with the stock client against a running hub; and a sender of webhooks which is killed."""

import time
from collections.abc import Callable, Iterator

import pytest
from huggingface_hub import HfApi, WebhookWatchedItem
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from tests.live.hub_process import Hub
from tests.models_registry.community.receiver import Receiver, receiver

pytestmark = pytest.mark.live


def api(hub: Hub, user: str = "alice") -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.tokens[user])


def refused(status: int, call: Callable[..., object], *args: object, **more: object) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        call(*args, **more)
    assert caught.value.response.status_code == status


def test_likes(hub: Hub) -> None:
    alice, bob = api(hub), api(hub, "bob")
    model = alice.create_repo("liked").repo_id
    assert hub.call("POST", f"/api/models/{model}/like", token=hub.tokens["bob"]).status == 200
    assert [user.username for user in alice.list_repo_likers(model)] == ["bob"]
    assert bob.list_liked_repos().models == [model] == alice.list_liked_repos("bob").models
    assert alice.model_info(model).likes == 1
    bob.unlike(model)
    assert not bob.list_liked_repos().models
    with pytest.raises(RepositoryNotFoundError):
        bob.unlike("missing_repo_id")


def test_collections(hub: Hub) -> None:
    alice, bob = api(hub), api(hub, "bob")
    model, data = alice.create_repo("c").repo_id, alice.create_repo("c", repo_type="dataset").repo_id
    made = alice.create_collection("Cool stuff", description="A lot of it")
    assert made.slug.startswith("alice/cool-stuff-") and made.items == [] and made.description == "A lot of it"
    refused(409, alice.create_collection, "Cool stuff")
    assert alice.create_collection("Cool stuff", exists_ok=True).slug == made.slug
    alice.add_collection_item(made.slug, model, "model", note="Mine")
    alice.add_collection_item(made.slug, data, "dataset")
    refused(409, alice.add_collection_item, made.slug, model, "model")
    refused(404, alice.add_collection_item, made.slug, "alice/none", "model")
    alice.add_collection_item(made.slug, model, "model", exists_ok=True)
    first = alice.get_collection(made.slug).items[0]
    alice.update_collection_item(made.slug, first.item_object_id, note="New", position=1)
    found = alice.get_collection(made.slug)
    assert [(item.item_id, item.note, item.position) for item in found.items] == [(data, None, 0), (model, "New", 1)]
    renamed = alice.update_collection_metadata(made.slug, title="Other", private=True, theme="pink")
    assert renamed.slug != made.slug and (renamed.theme, renamed.private) == ("pink", True)
    assert alice.get_collection(made.slug) == alice.get_collection(renamed.slug)
    refused(404, bob.get_collection, made.slug)
    assert [one.title for one in alice.list_collections(owner="alice", item=f"models/{model}", sort="upvotes")] == [
        "Other"
    ]
    assert not list(bob.list_collections(owner="alice"))
    alice.delete_collection_item(made.slug, first.item_object_id)
    alice.delete_collection_item(made.slug, first.item_object_id, missing_ok=True)
    alice.delete_collection(made.slug)
    alice.delete_collection(made.slug, missing_ok=True)


def test_webhooks_are_managed(hub: Hub) -> None:
    alice, bob = api(hub), api(hub, "bob")
    watched = [WebhookWatchedItem(type="user", name="julien-c"), WebhookWatchedItem(type="org", name="HuggingFaceH4")]
    made = alice.create_webhook(url="https://hooks.example/a", watched=[*watched], secret="s")
    assert made.watched == watched and made.domains == ["repo", "discussion"] and made.secret == "s"
    changed = alice.update_webhook(made.id, url="https://hooks.example/b", domains=["repo"])
    assert (changed.url, changed.watched, changed.domains) == ("https://hooks.example/b", watched, ["repo"])
    assert alice.disable_webhook(made.id).disabled and not alice.enable_webhook(made.id).disabled
    assert alice.get_webhook(made.id) == changed and alice.list_webhooks() == [changed]
    refused(404, bob.get_webhook, made.id)
    refused(400, alice.create_webhook, url=hub.url, watched=[*watched])
    alice.delete_webhook(made.id)
    refused(404, alice.get_webhook, made.id)


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def test_a_killed_sender_loses_no_webhook(make_hub: Callable[..., Hub], here: Receiver) -> None:
    hub = make_hub(FITHUB_WEBHOOK_ALLOW_PRIVATE="true")
    alice = api(hub)
    alice.create_webhook(url=here.url, watched=[{"type": "user", "name": "alice"}])
    names = []
    for number in range(6):
        names.append(alice.create_repo(f"r{number}").repo_id)
        for process in hub.processes():
            if number % 2 and "run_webhooks" in process.cmdline():
                process.kill()
    deadline = time.monotonic() + 100  # a claim is held for a minute
    while {body["repo"]["name"] for body in here.bodies} < set(names) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert {body["repo"]["name"] for body in here.bodies} == set(names)
    assert all(body["event"]["scope"] == "repo" for body in here.bodies if body["event"]["action"] == "create")
