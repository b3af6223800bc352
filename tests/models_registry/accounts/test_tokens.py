"""Fine-grained tokens: scopes, rights, an end; what is made on behalf of a token keeps its limits."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken, Membership, TokenScope
from models_registry.accounts.policies import (
    can_create_in,
    can_read,
    can_read_files,
    can_write,
    files_readable_by,
    readable_by,
)
from models_registry.accounts.services import create_organization
from models_registry.accounts.tokens import (
    FineGrained,
    Scope,
    actor_of_token,
    create_token,
    renew_token,
    revoke_token,
    scope_of_text,
)
from models_registry.errors import BadRequest, NotFound, Unauthorized
from models_registry.repos.models import Repository
from models_registry.xet import services as xet
from tests.factories import make_repository, make_user

pytestmark = pytest.mark.django_db
INVALID = "Invalid credentials in Authorization header"


def fine(user, *scopes: str, **options) -> str:
    asked = FineGrained([scope_of_text(user, text) for text in scopes], **options)
    return create_token(user, "narrow", "fineGrained", fine_grained=asked)


def bearer(value: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {value}"})


@pytest.fixture
def private(alice):
    return make_repository(alice, "p", private=True, files={"a.txt": b"1", "w.bin": b"weights"})


def test_without_a_scope_a_private_repository_does_not_exist(alice, private):
    make_repository(alice, "open", files={"a.txt": b"1"})
    client = bearer(fine(alice))
    missing = client.get("/api/models/alice/p")
    assert missing.status_code == 404 and missing["X-Error-Code"] == "RepoNotFound"
    assert client.get("/alice/p/resolve/main/a.txt").status_code == 404
    assert client.get("/api/models/alice/open").status_code == 200
    assert [row["id"] for row in client.get("/api/models").json()] == ["alice/open"]
    assert client.post("/api/models/alice/open/branch/b", "{}", content_type="application/json").status_code == 403


def test_a_scope_holds_for_its_repository_only(alice, private):
    other = make_repository(alice, "other", private=True)
    actor = actor_of_token(fine(alice, "alice/p:repo.content.read"))
    assert can_read(actor, private) and not can_write(actor, private) and not can_read(actor, other)
    assert list(Repository.objects.filter(readable_by(actor))) == [private]
    writer = actor_of_token(fine(alice, "alice/p:repo.write"))
    assert can_write(writer, private) and can_read(writer, private), "who may write may read"
    assert not can_create_in(writer, alice.namespace) and not can_write(writer, other)


def test_a_scope_of_a_namespace_holds_for_all_its_repositories(alice, private):
    acme = create_organization("acme", alice)
    actor = actor_of_token(fine(alice, "alice:repo.write"))
    assert can_write(actor, private) and can_create_in(actor, alice.namespace) and not can_create_in(actor, acme)


def test_a_token_never_widens_what_its_user_may(alice, bob):
    acme = create_organization("acme", alice)
    Membership.objects.create(namespace=acme, user=bob, role="read")
    repository = make_repository(alice, "shared")
    Repository.objects.update(namespace=acme, full_name="acme/shared", private=True)
    repository.refresh_from_db()
    actor = actor_of_token(fine(bob, "acme:repo.write", "acme/shared:repo.write"))
    assert can_read(actor, repository) and not can_write(actor, repository) and not can_create_in(actor, acme)
    Membership.objects.all().delete()
    assert not can_read(actor, repository) and not Repository.objects.filter(readable_by(actor)).exists()


def test_a_superusers_fine_grained_token_keeps_to_its_scopes(private):
    root = make_user("root", admin=True)
    actor = actor_of_token(fine(root))
    assert not can_read(actor, private) and not Repository.objects.filter(readable_by(actor)).exists()
    inside = actor_of_token(fine(root, "alice/p:repo.write"))
    assert can_write(inside, private) and Repository.objects.filter(readable_by(inside)).exists()
    assert Repository.objects.filter(files_readable_by(inside)).exists()


@pytest.mark.parametrize("reaches", [False, True])
def test_gated_files_need_a_scope_or_the_mark_for_gated_ones(alice, bob, reaches):
    gated = make_repository(alice, "g", files={"a.txt": b"1"})
    Repository.objects.update(gated="manual")
    gated.refresh_from_db()
    bob.access_requests.create(repository=gated, status="accepted")
    actor = actor_of_token(fine(bob, can_read_gated=reaches))
    assert can_read(actor, gated) and can_read_files(actor, gated) is reaches
    assert Repository.objects.filter(files_readable_by(actor)).exists() is reaches
    assert can_read_files(Actor(bob), gated)
    own = actor_of_token(fine(alice, "alice:repo.content.read"))
    assert can_read_files(own, gated) and Repository.objects.filter(files_readable_by(own)).exists()


def test_whoami_tells_the_scopes(alice, private):
    create_organization("acme", alice)
    ends = timezone.now() + timedelta(days=3)
    asked = FineGrained(
        [scope_of_text(alice, text) for text in ("alice/p:repo.write", "acme:repo.content.read,org.write")],
        ["discussion.write"],
        True,
    )
    token = bearer(create_token(alice, "ci", "fineGrained", fine_grained=asked, expires_at=ends))
    told = token.get("/api/whoami-v2").json()["auth"]["accessToken"]
    assert told["role"] == "fineGrained" and told["displayName"] == "ci" and told["expiresAt"].endswith("Z")
    assert told["fineGrained"]["canReadGatedRepos"] is True and told["fineGrained"]["global"] == ["discussion.write"]
    scoped = [
        (row["entity"]["type"], row["entity"]["name"], row["permissions"]) for row in told["fineGrained"]["scoped"]
    ]
    assert scoped == [("model", "alice/p", ["repo.write"]), ("org", "acme", ["repo.content.read", "org.write"])]


def test_an_expired_token_is_refused_with_the_clients_own_words(alice):
    value = create_token(alice, "short", "write", expires_at=timezone.now() + timedelta(hours=1))
    assert bearer(value).get("/api/whoami-v2").status_code == 200
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    answer = bearer(value).get("/api/whoami-v2")
    assert answer.status_code == 401 and answer.json()["error"] == answer["X-Error-Message"] == INVALID
    assert bearer(value).get("/alice/none/resolve/main/a").status_code == 401


def test_a_renewed_token_has_a_new_value_and_the_same_rights(alice, bob, private):
    old = fine(alice, "alice/p:repo.write")
    pk = AccessToken.objects.get().pk
    new = renew_token(alice, pk)
    assert actor_of_token(old) is None and can_write(actor_of_token(new), private)
    with pytest.raises(NotFound):
        renew_token(bob, pk)


@pytest.mark.parametrize(
    "change",
    [
        {"role": "admin"}, {"expires_at": timezone.now() - timedelta(days=1)}, {"value": "short"},
        {"fine_grained": FineGrained(global_rights=["repo.write"])},
        {"fine_grained": FineGrained(global_rights=["no.such"])},
        {"fine_grained": FineGrained([Scope(["org.write"], repository_pk=1)])},
        {"fine_grained": FineGrained([Scope(["repo.write"], repository_pk=1)] * 101)},
    ],
)  # fmt: skip
def test_tokens_which_can_not_be_made(alice, change):
    with pytest.raises(BadRequest):
        create_token(alice, "t", **{"role": "fineGrained"} | change)
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("text", ["alice/p", "alice/p:", ":repo.write", "a//b:repo.write", "alice\0:repo.write"])
def test_scopes_which_are_not_well_written(alice, text):
    with pytest.raises(BadRequest):
        scope_of_text(alice, text)


@pytest.mark.parametrize(
    "text", ["bob:repo.write", "alice/p:repo.write", "castles/alice/p:repo.write", "nobody:repo.write"]
)
def test_scopes_of_what_the_user_does_not_see(alice, bob, private, text):
    with pytest.raises(NotFound):
        scope_of_text(bob if text.startswith("alice") else alice, text)


def test_the_command_makes_fine_grained_tokens_with_an_end(alice, private):
    out = io.StringIO()
    scopes = ["alice/p:repo.write,discussion.write", "alice:collection.write"]
    call_command("create_token", "alice", role="fineGrained", scope=scopes, expires="30d", name="ci", stdout=out)
    token = AccessToken.objects.get()
    assert out.getvalue().strip().startswith("hf_") and token.name == "ci"
    assert timedelta(days=29) < token.expires_at - timezone.now() < timedelta(days=31)
    assert TokenScope.objects.count() == 2
    call_command("create_token", "alice", expires="2999-01-31", stdout=io.StringIO())
    for wrong in (
        {"expires": "soon"},
        {"expires": "2020-01-01"},
        {"scope": ["alice:repo.write"]},
        {"expires": "2027-13-45"},
    ):
        with pytest.raises(CommandError):
            call_command("create_token", "alice", stdout=io.StringIO(), **wrong)


def test_a_xet_token_keeps_its_tokens_limits_and_ends_with_it(alice, private):
    other = make_repository(alice, "other", private=True)
    value = fine(alice, "alice/p:repo.write")
    actor = actor_of_token(value)
    xet_value, _ = xet.make_token(actor, private, write=True)
    assert xet.read_token(xet_value).may_write
    assert bearer(value).get("/api/models/alice/other/xet-write-token/main").status_code == 404
    assert xet.realm_of(actor) != xet.realm_of(Actor(alice)), "what another token sent is not taken for sent"
    TokenScope.objects.update(rights=["repo.content.read"])
    assert not xet.read_token(xet_value).may_write
    AccessToken.objects.update(expires_at=timezone.now())
    with pytest.raises(Unauthorized):
        xet.read_token(xet_value)
    assert other.private


def test_an_lfs_link_ends_with_the_token_which_asked_for_it(alice, private):
    value = fine(alice, "alice/p:repo.content.read")
    row = private.blob_rows.get().blob
    body = {"operation": "download", "objects": [{"oid": row.sha256, "size": row.size_bytes}]}
    url = "/alice/p.git/info/lfs/objects/batch"
    answer = bearer(value).post(url, body, content_type="application/json").json()
    link = answer["objects"][0]["actions"]["download"]["href"].partition("testserver")[2]
    assert b"".join(Client().get(link).streaming_content) == b"weights"
    upload = bearer(value).post(url, body | {"operation": "upload"}, content_type="application/json")
    assert upload.status_code == 403
    revoke_token(alice, AccessToken.objects.get().pk)
    assert Client().get(link).status_code == 404


def test_a_git_password_is_the_token_with_its_limits(alice, private):
    import base64

    def basic(value: str) -> Client:
        return Client(headers={"Authorization": "Basic " + base64.b64encode(f"alice:{value}".encode()).decode()})

    assert basic(fine(alice)).get("/alice/p/resolve/main/a.txt").status_code == 404
    assert basic(fine(alice, "alice/p:repo.content.read")).get("/alice/p/resolve/main/a.txt").status_code == 200


def test_scopes_go_with_their_repository(alice, private):
    fine(alice, "alice/p:repo.write")
    Repository.objects.filter(pk=private.pk).delete()
    assert not TokenScope.objects.exists() and AccessToken.objects.exists()
