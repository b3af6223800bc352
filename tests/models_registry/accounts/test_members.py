"""Organisations: members and their roles, profiles, followers."""

import io

import pytest
from django.core.management import CommandError, call_command

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.accounts.members import found_organization, remove_member, set_follow, set_member, set_profile
from models_registry.accounts.models import Follow, Membership, Namespace, Role
from models_registry.accounts.services import create_organization
from models_registry.accounts.tokens import actor_of_token, create_token
from models_registry.errors import BadRequest, Conflict, Forbidden, NotFound, TooManyRequests, Unauthorized
from tests.factories import make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def acme(alice):
    return create_organization("acme", alice)


def role_of(organization: Namespace, user) -> str | None:
    return Membership.objects.filter(namespace=organization, user=user).values_list("role", flat=True).first()


@pytest.mark.parametrize("role", Role.values)
def test_an_admin_adds_a_member_and_changes_their_role(alice, bob, acme, role):
    set_member(Actor(alice), acme, "BOB", "read")
    set_member(Actor(alice), acme, "bob", role)
    assert role_of(acme, bob) == role and acme.memberships.count() == 2


@pytest.mark.parametrize("role", ["read", "contributor", "write"])
def test_only_admins_decide_about_members(alice, bob, acme, role):
    make_user("carol")
    set_member(Actor(alice), acme, "bob", role)
    for refused in (
        lambda: set_member(Actor(bob), acme, "carol", "read"),
        lambda: set_member(Actor(bob), acme, "bob", "admin"),
        lambda: remove_member(Actor(bob), acme, "alice"),
        lambda: set_profile(Actor(bob), acme, full_name="x", details=""),
    ):
        with pytest.raises(Forbidden):
            refused()
    with pytest.raises(Unauthorized):
        set_member(ANONYMOUS, acme, "bob", "admin")
    with pytest.raises(Unauthorized):
        remove_member(ANONYMOUS, acme, "bob")
    assert role_of(acme, bob) == role


def test_the_last_admin_stays(alice, bob, acme):
    with pytest.raises(BadRequest, match="at least one admin"):
        remove_member(Actor(alice), acme, "alice")
    with pytest.raises(BadRequest, match="at least one admin"):
        set_member(Actor(alice), acme, "alice", "write")
    set_member(Actor(alice), acme, "bob", "admin")
    set_member(Actor(bob), acme, "alice", "read")
    assert role_of(acme, alice) == "read"
    bob.is_active = False
    bob.save()
    set_member(Actor(make_user("root", admin=True)), acme, "alice", "admin")
    with pytest.raises(BadRequest):
        remove_member(Actor(alice), acme, "alice")  # an admin who is shut out looks after nobody


def test_every_member_may_leave(alice, bob, acme):
    set_member(Actor(alice), acme, "bob", "read")
    remove_member(Actor(bob), acme, "bob")
    assert role_of(acme, bob) is None
    with pytest.raises(Forbidden):
        remove_member(Actor(bob), acme, "bob")
    with pytest.raises(NotFound):
        remove_member(Actor(alice), acme, "bob")


def test_what_can_not_be_set(alice, bob, acme):
    with pytest.raises(BadRequest, match="read, contributor, write, admin"):
        set_member(Actor(alice), acme, "bob", "king")
    for nobody in ("nobody", "acme", "a\0b"):
        with pytest.raises(NotFound):
            set_member(Actor(alice), acme, nobody, "read")


def test_a_token_needs_the_right_over_the_organisation(alice, bob, acme):
    reader = actor_of_token(create_token(alice, "r", "read"))
    with pytest.raises(Forbidden):
        set_member(reader, acme, "bob", "read")
    set_member(actor_of_token(create_token(alice, "w", "write")), acme, "bob", "read")


def test_the_api_manages_members(as_alice, as_bob, acme, bob):
    url = "/api/organizations/acme/members/bob"
    assert as_bob.put(url, {"role": "admin"}, content_type="application/json").status_code == 403
    assert as_alice.put(url, {"role": "write"}, content_type="application/json").json()["role"] == "write"
    assert as_alice.put(url, {"role": 1}, content_type="application/json").status_code == 400
    assert as_bob.delete(url).status_code == 200 and role_of(acme, bob) is None


def test_anybody_signed_in_founds_an_organisation(alice):
    made = found_organization(Actor(alice), "lab", "The lab")
    assert role_of(made, alice) == "admin" and made.full_name == "The lab"
    with pytest.raises(Conflict):
        found_organization(Actor(alice), "LAB")
    with pytest.raises(BadRequest):
        found_organization(Actor(alice), "follow", "a\0")
    with pytest.raises(Unauthorized):
        found_organization(ANONYMOUS, "x")
    with pytest.raises(Forbidden):
        found_organization(actor_of_token(create_token(alice, "r", "read")), "x")
    with pytest.raises(TooManyRequests):
        for number in range(30):
            found_organization(Actor(alice), f"lab-{number}")


def test_the_command_sets_members(alice, bob, acme):
    call_command("set_member", "acme", "bob", "write", stdout=io.StringIO())
    assert role_of(acme, bob) == "write"
    call_command("set_member", "acme", "bob", "none", stdout=io.StringIO())
    assert role_of(acme, bob) is None
    with pytest.raises(CommandError, match="at least one admin"):
        call_command("set_member", "acme", "alice", "none")
    with pytest.raises(CommandError, match="no organisation"):
        call_command("set_member", "alice", "bob", "read")


def test_profiles(alice, acme):
    set_profile(Actor(alice), acme, full_name=" Acme Inc. ", details=" We make things. ")
    acme.refresh_from_db()
    assert acme.full_name == "Acme Inc." and acme.details == "We make things."
    for wrong in (
        {"full_name": "x" * 201, "details": ""},
        {"full_name": "", "details": "x" * 501},
        {"full_name": "\0", "details": ""},
    ):
        with pytest.raises(BadRequest):
            set_profile(Actor(alice), acme, **wrong)


def test_following(alice, bob, acme):
    for _ in range(2):
        set_follow(Actor(bob), alice.namespace, follows=True)
        set_follow(Actor(bob), acme, follows=True)
    assert Follow.objects.count() == 2
    set_follow(Actor(bob), acme, follows=False)
    assert list(Follow.objects.values_list("namespace__name", flat=True)) == ["alice"]
    with pytest.raises(BadRequest):
        set_follow(Actor(bob), bob.namespace, follows=True)
    with pytest.raises(Unauthorized):
        set_follow(ANONYMOUS, acme, follows=True)
    with pytest.raises(Forbidden):
        set_follow(actor_of_token(create_token(bob, "r", "read")), acme, follows=True)
