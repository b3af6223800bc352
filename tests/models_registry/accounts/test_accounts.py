"""Users, organisations, tokens, and who may do what."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from models_registry.accounts.actors import ANONYMOUS, Actor
from models_registry.accounts.models import AccessToken, Membership, Role, User
from models_registry.accounts.policies import can_create_in, can_read, can_use, can_write, readable_by
from models_registry.accounts.services import check_name, create_organization, create_user
from models_registry.accounts.tokens import actor_of_token, create_token, revoke_token
from models_registry.errors import BadRequest, Conflict, NotFound
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import create_repository
from tests.factories import make_repository, make_user

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["a", "Alice", "a-b_c.d", "x" * 96, "__ROBOT__", "_"])
def test_names_which_are_taken(name):
    assert check_name(name, "user") == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "a--b", "a..b", "a/b", "a b", "x.git", "é", "x" * 97, "a\n", "../x"])
def test_names_which_are_refused(name):
    with pytest.raises(BadRequest):
        check_name(name, "user")


def test_a_user_owns_the_namespace_of_the_same_name_in_any_case():
    user = make_user("Alice")
    assert user.namespace.name == "Alice"
    with pytest.raises(Conflict):
        make_user("aLICE")


@pytest.mark.parametrize("name", ["api", "datasets", "Settings", "healthz"])
def test_words_of_the_site_name_nobody(name):
    with pytest.raises(BadRequest, match="word of the site"):
        make_user(name)


def test_weak_passwords_are_refused_and_no_user_is_left():
    with pytest.raises(BadRequest):
        create_user("weak", "password")
    assert not User.objects.filter(username="weak").exists()


def test_a_token_is_kept_as_a_digest_only_and_works_until_revoked(alice):
    value = create_token(alice, "laptop", "write")
    row = AccessToken.objects.get()
    assert value.startswith("hf_") and value not in str(vars(row))
    actor = actor_of_token(value)
    assert actor is not None and actor.user == alice and actor.may_write
    revoke_token(alice, row.pk)
    assert actor_of_token(value) is None


def test_nobody_revokes_anothers_token(alice, bob):
    create_token(alice, "laptop")
    with pytest.raises(NotFound):
        revoke_token(bob, AccessToken.objects.get().pk)


def test_a_token_of_an_inactive_user_is_nobodys(alice):
    value = create_token(alice, "t")
    User.objects.update(is_active=False)
    assert actor_of_token(value) is None


def _roles():
    """Every act × role × visibility: (who, private, may read, may write)."""
    yield from [
        ("anonymous", False, True, False), ("anonymous", True, False, False),
        ("stranger", False, True, False), ("stranger", True, False, False),
        ("read", False, True, False), ("read", True, True, False),
        ("contributor", False, True, False), ("contributor", True, True, False),
        ("contributor-creator", True, True, True),
        ("write", False, True, True), ("write", True, True, True),
        ("admin", False, True, True), ("admin", True, True, True),
        ("write by a read token", True, True, False),
        ("superuser", True, True, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("who", "private", "reads", "writes"), list(_roles()))
def test_policy_table(who, private, reads, writes):
    owner, other = make_user("owner"), make_user("other")
    acme = create_organization("acme", owner)
    repository = create_repository(Actor(owner), RepoType.MODEL, "m", "acme", private=private)
    actor = Actor(other)
    if who == "anonymous":
        actor = ANONYMOUS
    elif who == "superuser":
        other.is_superuser = True
    elif who == "write by a read token":
        Membership.objects.create(namespace=acme, user=other, role=Role.WRITE)
        create_token(other, "t", "read")
        actor = Actor(other, AccessToken.objects.get())
    elif who != "stranger":
        Membership.objects.create(namespace=acme, user=other, role=who.partition("-")[0])
        if who.endswith("creator"):
            repository.creator = other
    assert can_read(actor, repository) is reads
    assert can_write(actor, repository) is writes
    assert Repository.objects.filter(readable_by(actor)).exists() is reads


def test_who_may_create_where(alice, bob):
    acme = create_organization("acme", alice)
    assert can_create_in(Actor(alice), acme) and can_create_in(Actor(alice), alice.namespace)
    assert not can_create_in(Actor(bob), acme) and not can_create_in(Actor(bob), alice.namespace)
    assert not can_create_in(ANONYMOUS, acme)


def test_commands_make_users_organisations_and_tokens(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("a long pass phrase\n"))
    call_command("create_user", "carol", "--admin", "--password-stdin", stdout=io.StringIO())
    assert User.objects.get(username="carol").is_superuser
    out = io.StringIO()
    call_command("create_org", "acme", "--owner", "carol", stdout=out)
    assert out.getvalue() == "organisation acme\n"
    out = io.StringIO()
    call_command("create_token", "carol", "--role", "write", "--value", "hf_given_value", stdout=out)
    assert out.getvalue() == "hf_given_value\n" and actor_of_token("hf_given_value")
    with pytest.raises(CommandError, match="taken"):
        call_command("create_org", "carol", "--owner", "carol")
    with pytest.raises(CommandError, match="no user"):
        call_command("create_token", "nobody")


def test_an_anonymous_listing_never_names_a_private_repository(alice):
    make_repository(alice, "seen")
    make_repository(alice, "hidden", private=True)
    assert [row.name for row in Repository.objects.filter(readable_by(ANONYMOUS))] == ["seen"]


def test_a_card_uses_a_private_dataset_only_if_all_its_writers_may_read_it():
    alice, bob, admin = make_user("alice"), make_user("bob"), make_user("root", admin=True)
    team = create_organization("team", alice)
    Membership.objects.create(namespace=team, user=bob, role=Role.WRITE)
    rows = make_repository(alice, "rows", RepoType.DATASET, private=True)
    shared = create_repository(Actor(alice), RepoType.DATASET, "shared", "team", private=True)
    own = make_repository(alice, "m")
    of_team = create_repository(Actor(alice), RepoType.MODEL, "m", "team")
    made_by_admin = create_repository(Actor(admin), RepoType.MODEL, "gift", "bob")
    assert can_use(own, rows) and can_use(own, shared) and can_use(of_team, shared)
    assert not can_use(of_team, rows), "bob writes this card and may not read alice's rows"
    assert not can_use(made_by_admin, rows), "an administrator's rights are not lent to bob's card"
    rows.private = False
    assert can_use(of_team, rows)


def test_the_names_by_which_people_are_shown():
    call_command("create_user", "__ROBOT__", "--full-name", "A Robot", stdout=io.StringIO())
    call_command("create_org", "makers", "--owner", "__ROBOT__", "--full-name", "The Makers", stdout=io.StringIO())
    user = User.objects.get(username="__ROBOT__")
    value = create_token(user, "laptop")
    me = Client(headers={"Authorization": f"Bearer {value}"}).get("/api/whoami-v2").json()
    assert (me["name"], me["fullname"], me["orgs"][0]["fullname"]) == ("__ROBOT__", "A Robot", "The Makers")
    assert (user.namespace.full_name, make_user("plain").namespace.full_name) == ("A Robot", "plain")
