"""Users and organisations over the API, and the small answers on the side."""

import pytest
from django.test import Client

from models_registry.accounts.actors import Actor
from models_registry.accounts.members import set_follow, set_member
from models_registry.accounts.services import create_organization
from models_registry.repos.models import Repository, RepoType
from tests.factories import make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(alice, bob):
    organization = create_organization("acme", alice, "Acme Inc.")
    set_member(Actor(alice), organization, "bob", "read")
    return organization


def test_a_users_overview_counts_what_the_caller_may_see(alice, acme, anonymous, as_alice, as_bob):
    make_repository(alice, "m")
    make_repository(alice, "p", private=True)
    make_repository(alice, "d", RepoType.DATASET)
    as_bob.post("/api/users/alice/follow")
    as_alice.post("/api/models/alice/m/like")
    as_alice.post("/api/models/alice/p/like")
    told = anonymous.get("/api/users/ALICE/overview").json()
    assert told["user"] == "alice" and told["type"] == "user" and told["fullname"] and told["avatarUrl"]
    assert (told["numModels"], told["numDatasets"], told["numSpaces"]) == (1, 1, 0)
    assert told["numFollowers"] == 1 and told["numFollowing"] == 0 and told["isPro"] is False
    assert told["numLikes"] == 1 and as_alice.get("/api/users/alice/overview").json()["numLikes"] == 2
    assert [row["name"] for row in told["orgs"]] == ["acme"] and "email" not in told
    assert as_alice.get("/api/users/alice/overview").json()["numModels"] == 2
    assert as_bob.get("/api/users/alice/overview").json()["isFollowing"] is True and not told["isFollowing"]


def test_an_organisations_overview(acme, anonymous, as_bob):
    as_bob.post("/api/organizations/acme/follow")
    told = anonymous.get("/api/organizations/Acme/overview").json()
    assert told["name"] == "acme" and told["fullname"] == "Acme Inc." and told["numUsers"] == 2
    assert told["numFollowers"] == 1 and told["isVerified"] is False and told["isFollowing"] is False
    as_bob.delete("/api/organizations/acme/follow")
    assert anonymous.get("/api/organizations/acme/overview").json()["numFollowers"] == 0


@pytest.mark.parametrize(
    "url",
    ["users/nobody/overview", "users/acme/overview", "users/nobody/followers", "users/a%00b/following",
     "organizations/alice/overview", "organizations/nobody/members", "organizations/nobody/followers"],
)  # fmt: skip
def test_who_is_not_there(acme, anonymous, url):
    answer = anonymous.get(f"/api/{url}")
    assert answer.status_code == 404 and answer.json()["error"]


def test_lists_are_paged_by_link_and_name_everyone_once(alice, acme, anonymous):
    for number in range(5):
        make_user(f"fan-{number}")
        set_follow(Actor(make_user(f"friend-{number}")), alice.namespace, follows=True)
    seen, url = [], "/api/users/alice/followers?limit=2"
    while url:
        answer = anonymous.get(url)
        assert answer.status_code == 200 and len(answer.json()) <= 2
        seen += [row["user"] for row in answer.json()]
        url = answer.headers.get("Link", "").partition(">")[0].partition("http://testserver")[2]
    assert seen == [f"friend-{number}" for number in (4, 3, 2, 1, 0)]
    assert anonymous.get("/api/users/alice/followers?cursor=x").status_code == 400
    assert anonymous.get("/api/users/friend-1/following").json()[0]["user"] == "alice"


def test_roles_of_members_are_told_to_members_only(acme, anonymous, as_bob):
    plain = anonymous.get("/api/organizations/acme/members").json()
    assert [row["user"] for row in plain] == ["alice", "bob"] and "role" not in plain[0]
    assert set(plain[0]) >= {"user", "fullname", "avatarUrl", "isPro", "type"}
    assert [row["role"] for row in as_bob.get("/api/organizations/acme/members").json()] == ["admin", "read"]


def test_own_repositories_with_what_they_store(alice, acme, anonymous, as_alice, as_bob):
    big = make_repository(alice, "big", private=True)
    make_repository(alice, "d", RepoType.DATASET)
    Repository.objects.filter(pk=big.pk).update(used_storage_bytes=300)
    rows = as_alice.get("/api/settings/repositories").json()
    assert [(row["id"], row["type"], row["visibility"]) for row in rows] == [
        ("alice/d", "dataset", "public"), ("alice/big", "model", "private"),
    ]  # fmt: skip
    assert rows[1]["storage"] == 300 and rows[1]["storagePercent"] == 100 and rows[1]["updatedAt"].endswith("Z")
    assert anonymous.get("/api/settings/repositories").status_code == 401
    assert as_bob.get("/api/organizations/acme/settings/repositories").json() == []
    stranger = Client()
    stranger.force_login(make_user("carol"))
    assert stranger.get("/api/organizations/acme/settings/repositories").status_code == 403


def test_the_number_of_queries_does_not_grow_with_the_list(alice, acme, anonymous, django_assert_max_num_queries):
    for number in range(12):
        user = make_user(f"friend-{number}")
        set_follow(Actor(user), alice.namespace, follows=True)
        set_member(Actor(alice), acme, user.username, "read")
    for url in ("users/alice/followers", "organizations/acme/members", "organizations/acme/followers"):
        with django_assert_max_num_queries(3):
            assert anonymous.get(f"/api/{url}").status_code == 200


def test_small_answers_on_the_side(anonymous):
    assert anonymous.get("/api/agent-harnesses").json() == {"standardEnvVars": [], "harnesses": {}}
    assert anonymous.head("/api/telemetry/hf_hub/cli/x").status_code == 200
    assert "text-classification" in anonymous.get("/api/tasks").json()


@pytest.mark.parametrize(
    "url",
    ["jobs/alice", "scheduled-jobs/a", "papers/1", "daily_papers", "spaces/a/b/runtime", "nothing"],
)
def test_what_this_hub_does_not_do_is_a_quick_json_404(anonymous, url):
    answer = anonymous.get(f"/api/{url}", headers={"X-Amzn-Trace-Id": "trace-1"})
    assert answer.status_code == 404 and answer.json()["error"] and "trace-1" in answer["X-Request-Id"]


@pytest.mark.parametrize(
    "url", ["/api/whoami-v2", "/api/models", "/nobody/none/resolve/main/x", "/", "/oauth/token", "/static/no"]
)
def test_every_answer_has_its_request_id(anonymous, url):
    assert anonymous.get(url, headers={"X-Request-Id": "mine", "X-Amzn-Trace-Id": "t"})["X-Request-Id"] == "mine"
    assert "t-1" in anonymous.get(url, headers={"X-Amzn-Trace-Id": "t-1"})["X-Request-Id"]
    assert anonymous.get(url)["X-Request-Id"]
