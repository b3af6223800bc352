"""Likes: counts which stay right, and nothing told of what is private."""

import threading

import pytest
from django.db import connection

from models_registry.accounts.actors import Actor
from models_registry.community.likes import services
from models_registry.community.likes.models import Like
from models_registry.repos.models import Repository, RepoType
from tests.factories import client_of, make_repository, make_user


def likes_of(repository):
    return Repository.objects.values_list("likes", flat=True).get(pk=repository.pk)


def test_like_and_unlike_change_the_count_once(model, as_bob):
    url = "/api/models/alice/m/like"
    assert as_bob.post(url).json() == {"liked": True, "likes": 1}
    assert as_bob.post(url).json() == {"liked": True, "likes": 1}
    assert likes_of(model) == 1
    assert as_bob.get("/api/models/alice/m").json()["likes"] == 1
    assert as_bob.delete(url).json() == {"liked": False, "likes": 0}
    assert as_bob.delete(url).json() == {"liked": False, "likes": 0}
    assert likes_of(model) == 0


def test_likers_come_newest_first_and_in_pages(model, bob, alice, anonymous):
    for user in (alice, bob, make_user("carol")):
        services.like(Actor(user), model)
    answer = anonymous.get("/api/models/alice/m/likers?limit=2")
    assert [row["user"] for row in answer.json()] == ["carol", "bob"]
    assert answer.json()[0] == {
        "user": "carol",
        "fullname": "carol",
        "avatarUrl": "/static/avatar.svg",
        "isPro": False,
        "type": "user",
    }
    rest = anonymous.get(answer["Link"].split(">")[0].lstrip("<"))
    assert [row["user"] for row in rest.json()] == ["alice"] and "Link" not in rest


def test_what_a_user_likes_is_told_only_to_those_who_may_see_it(alice, bob, as_alice, as_bob, anonymous):
    hidden = make_repository(alice, "hidden", private=True)
    shown = make_repository(alice, "d", RepoType.DATASET)
    for repository in (hidden, shown):
        services.like(Actor(alice), repository)
    mine = [row["repo"] for row in as_alice.get("/api/users/alice/likes").json()]
    assert mine == [{"name": "alice/d", "type": "dataset"}, {"name": "alice/hidden", "type": "model"}]
    for client in (as_bob, anonymous):
        assert [row["repo"]["name"] for row in client.get("/api/users/alice/likes").json()] == ["alice/d"]
    assert anonymous.get("/api/users/nobody/likes").status_code == 404


def test_refusals(alice, model, as_bob, anonymous):
    make_repository(alice, "hidden", private=True)
    missing = as_bob.delete("/api/models/bob/none/like")
    assert (missing.status_code, missing["X-Error-Code"]) == (404, "RepoNotFound")
    assert as_bob.post("/api/models/alice/hidden/like")["X-Error-Code"] == "RepoNotFound"
    assert as_bob.get("/api/models/alice/hidden/likers").status_code == 404
    assert anonymous.post("/api/models/alice/m/like").status_code == 401
    assert client_of(alice, "read").post("/api/models/alice/m/like").status_code == 403
    assert likes_of(model) == 0


def test_an_id_without_an_owner_is_a_missing_repository(alice, as_alice, anonymous):
    for path in ("/api/models/gpt2/like", "/api/datasets/gpt2/like"):
        answer = as_alice.delete(path)
        assert (answer.status_code, answer["X-Error-Code"]) == (404, "RepoNotFound")
    assert anonymous.delete("/api/models/gpt2/like").status_code == 401
    make_repository(alice, "like")
    assert as_alice.get("/api/models/alice/like").json()["id"] == "alice/like"


def test_listings_sort_by_likes(alice, bob, anonymous):
    for name, likers in (("none", []), ("two", [alice, bob]), ("one", [bob])):
        repository = make_repository(alice, name)
        for user in likers:
            services.like(Actor(user), repository)
    names = [row["id"] for row in anonymous.get("/api/models?sort=likes").json()]
    assert names == ["alice/two", "alice/one", "alice/none"]


def test_a_deleted_user_leaves_the_counts_right(model, bob):
    services.like(Actor(bob), model)
    bob.namespace.delete()
    bob.delete()
    assert likes_of(model) == 0 and not Like.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_likes_at_the_same_moment_are_all_counted(alice):
    model = make_repository(alice, "m")
    users = [make_user(f"u{number}") for number in range(6)]
    start = threading.Barrier(len(users))

    def act(user):
        start.wait()
        repository = Repository.objects.get(pk=model.pk)
        services.like(Actor(user), repository)
        services.unlike(Actor(user), repository)
        services.like(Actor(user), repository)
        connection.close()

    threads = [threading.Thread(target=act, args=(user,)) for user in users]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert likes_of(model) == 6 == Like.objects.filter(repository=model).count()
