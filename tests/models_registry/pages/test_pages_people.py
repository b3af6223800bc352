"""Profiles, organisations and their members, following, fine-grained tokens in a browser."""

import pytest
from django.test import Client

from models_registry.accounts.actors import Actor
from models_registry.accounts.members import set_member
from models_registry.accounts.models import AccessToken, Follow, Membership, Namespace
from models_registry.accounts.services import create_organization
from models_registry.accounts.tokens import create_token
from tests.factories import make_repository, make_user


@pytest.fixture
def acme(alice, bob):
    organization = create_organization("acme", alice)
    set_member(Actor(alice), organization, "bob", "read")
    return organization


def test_an_admin_sets_and_removes_members(alice_browser, bob_browser, visitor, acme):
    make_user("carol")
    page = alice_browser.get("/organizations/acme/members").content.decode()
    assert "Add a member" in page and "Remove bob" in page and "Leave acme" in page and ">admin<" in page
    assert alice_browser.post("/organizations/acme/members/set", {"user": "carol", "role": "write"}).status_code == 302
    assert "carol has the role write" in alice_browser.get("/organizations/acme/members").content.decode()
    assert alice_browser.post("/organizations/acme/members/remove", {"user": "carol"}).status_code == 302
    assert Membership.objects.count() == 2
    plain = visitor.get("/organizations/acme/members").content.decode()
    assert "bob" in plain and "Add a member" not in plain and '<p class="soft">admin' not in plain
    assert "Add a member" not in bob_browser.get("/organizations/acme/members").content.decode()


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        ({"user": "nobody", "role": "read"}, 404, "There is no user"),
        ({"user": "bob", "role": "king"}, 400, "A role is one of"),
        ({"user": "alice", "role": "read"}, 400, "at least one admin"),
    ],
)
def test_what_can_not_be_set_is_a_sentence(alice_browser, acme, form, status, sentence):
    answer = alice_browser.post("/organizations/acme/members/set", form)
    assert answer.status_code == status and sentence in answer.content.decode()


def test_others_decide_nothing(bob_browser, visitor, acme):
    assert bob_browser.post("/organizations/acme/members/set", {"user": "bob", "role": "admin"}).status_code == 403
    assert bob_browser.post("/organizations/acme/members/remove", {"user": "alice"}).status_code == 403
    assert bob_browser.get("/organizations/acme/profile").status_code == 403
    assert visitor.post("/organizations/acme/members/set", {"user": "bob"})["Location"].startswith("/login")
    assert bob_browser.post("/organizations/acme/members/remove", {"user": "bob"}).status_code == 302
    assert Membership.objects.count() == 1


@pytest.mark.parametrize("url", ["/settings/profile", "/organizations/acme/profile"])
def test_profiles_are_changed_by_their_owners(alice_browser, acme, url):
    form = {"full_name": "A <b>name</b>", "details": "Trains small models."}
    after = alice_browser.post(url, form)["Location"]
    page = alice_browser.get(after).content.decode()
    assert "Trains small models." in page and "A &lt;b&gt;name" in page
    wrong = alice_browser.post(url, form | {"details": "x" * 501})
    assert wrong.status_code == 400 and 'role="alert"' in wrong.content.decode()


def test_following_by_a_button(bob_browser, visitor, alice, bob, acme):
    assert ">Follow<" in bob_browser.get("/alice").content.decode()
    assert bob_browser.post("/settings/follow", {"name": "alice", "follows": "yes"})["Location"] == "/alice"
    page = bob_browser.get("/alice").content.decode()
    assert ">Unfollow<" in page and "1 follower" in page and Follow.objects.count() == 1
    bob_browser.post("/settings/follow", {"name": "alice", "follows": "no"})
    assert not Follow.objects.exists()
    assert (
        ">Follow<" not in bob_browser.get("/bob").content.decode()
        and ">Follow<" not in visitor.get("/alice").content.decode()
    )
    assert bob_browser.post("/settings/follow", {"name": "bob", "follows": "yes"}).status_code == 400
    assert bob_browser.post("/settings/follow", {"name": "nobody"}).status_code == 404


def test_an_organisation_is_made_in_the_browser(alice_browser, alice):
    made = alice_browser.post("/organizations/new", {"name": "lab", "full_name": "The lab"})
    assert made["Location"] == "/organizations/lab/members" and Namespace.objects.get(name="lab").full_name == "The lab"
    again = alice_browser.post("/organizations/new", {"name": "LAB"})
    assert again.status_code == 400 and "is taken" in again.content.decode()


@pytest.mark.parametrize(
    "url", ["/settings/follow", "/settings/profile", "/organizations/new", "/organizations/acme/profile",
            "/organizations/acme/members/set", "/organizations/acme/members/remove", "/oauth/device/answer",
            "/settings/tokens/1/renew"]
)  # fmt: skip
def test_every_form_needs_its_csrf_token_and_a_person(url, alice, acme, browser_of):
    form = {"name": "x", "user": "bob", "role": "admin", "follows": "yes"}
    assert browser_of(alice, enforce_csrf_checks=True).post(url, form).status_code == 403
    token = Client(headers={"authorization": f"Bearer {create_token(alice, 'w', 'write')}", "accept": "text/html"})
    assert token.post(url, form).status_code == 403, "pages act with a person's own rights, never with a token's"


def test_a_fine_grained_token_in_the_browser(alice_browser, alice, acme):
    make_repository(alice, "m", private=True)
    form = {
        "name": "ci", "role": "fineGrained", "namespace": ["acme"], "repositories": "alice/m",
        "right": ["repo.write", "collection.write"], "expires": "2999-01-31", "gated": "on", "discuss": "on",
    }  # fmt: skip
    page = alice_browser.post("/settings/tokens", form).content.decode()
    token = AccessToken.objects.get()
    assert [(row.namespace and row.namespace.name, row.rights) for row in token.scope_rows.order_by("pk")] == [
        ("acme", ["repo.write", "collection.write"]), (None, ["repo.write"]),
    ]  # fmt: skip
    assert token.can_read_gated and token.global_rights == ["discussion.write"] and token.expires_at.year == 2999
    assert "acme: repo.write, collection.write" in page and "alice/m: repo.write" in page and "31 January 2999" in page


@pytest.mark.parametrize(
    "change",
    [{"repositories": "bob/none"}, {"repositories": "", "right": []}, {"expires": "soon"}, {"expires": "2020-01-01"},
     {"repositories": "alice/m", "right": ["no.such"]}, {"repositories": "a\0/b"}, {"expires": "2027-02-30"}],
)  # fmt: skip
def test_a_fine_grained_token_which_can_not_be_made_is_a_sentence(alice_browser, alice, change):
    form = {"name": "ci", "role": "fineGrained", "repositories": "", "right": ["repo.write"]} | change
    answer = alice_browser.post("/settings/tokens", form)
    assert answer.status_code == 400 and 'role="alert"' in answer.content.decode() and not AccessToken.objects.exists()


def test_a_token_gets_a_new_value_in_the_browser(alice_browser, bob_browser, alice):
    old = create_token(alice, "laptop", "write")
    token = AccessToken.objects.get()
    assert bob_browser.post(f"/settings/tokens/{token.pk}/renew").status_code == 404
    page = alice_browser.post(f"/settings/tokens/{token.pk}/renew").content.decode()
    value = page.partition("<pre><code>")[2].partition("</code>")[0]
    statuses = [
        Client(headers={"authorization": f"Bearer {v}"}).get("/api/whoami-v2").status_code for v in (old, value)
    ]
    assert statuses == [401, 200]
