"""Creation with all that clients send, settings, defaults of an organisation, branches, duplicates."""

import base64
import io
import json

import pytest
from django.core.management import call_command

from compression_service.jobs.models import Job
from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Membership, Role
from models_registry.accounts.services import create_organization
from models_registry.errors import Conflict
from models_registry.repos import duplicating
from models_registry.repos.duplicating import duplicate_repository, reachable
from models_registry.repos.events import repository_created, repository_settings_changed
from models_registry.repos.models import GitObject, Ref, Repository, RepositoryBlob, RepoType
from models_registry.xet.models import XetFile, Xorb, XorbHolder
from tests.factories import api_commit, client_of, make_repository, push


def send(client, url, body, method="post"):
    return getattr(client, method)(url, json.dumps(body), content_type="application/json")


def create(client, **body):
    return send(client, "/api/repos/create", body)


# --- creation --------------------------------------------------------------------------------------------------------
def test_a_new_repository_has_one_commit_with_its_attributes(as_alice):
    assert create(as_alice, name="m", organization=None, resourceGroupId=None, region=None).status_code == 200
    commits = as_alice.get("/api/models/alice/m/commits/main").json()
    assert [(row["title"], row["authors"][0]["user"]) for row in commits] == [("initial commit", "alice")]
    assert [row["path"] for row in as_alice.get("/api/models/alice/m/tree/main").json()] == [".gitattributes"]


def test_files_and_a_license_come_with_the_first_commit(as_alice):
    files = [
        {"path": "a.txt", "content": "é", "encoding": "utf-8"},
        {"path": "d/b.txt", "content": base64.b64encode(b"2").decode(), "encoding": "base64"},
    ]
    assert create(as_alice, name="m", license="mit", files=files).status_code == 200
    assert len(as_alice.get("/api/models/alice/m/commits/main").json()) == 1
    info = as_alice.get("/api/models/alice/m").json()
    assert info["cardData"] == {"license": "mit"} and "license:mit" in info["tags"]
    assert b"".join(as_alice.get("/alice/m/resolve/main/a.txt")) == "é".encode()
    assert b"".join(as_alice.get("/alice/m/resolve/main/d/b.txt")) == b"2"


@pytest.mark.parametrize(
    "body",
    [
        {"license": "my-own"}, {"license": 3}, {"files": "x"}, {"files": [1]}, {"files": [{"path": "a"}]},
        {"files": [{"path": "a", "content": "x", "encoding": "base64"}]},
        {"files": [{"path": "a", "content": "x", "encoding": "rot13"}]},
        {"files": [{"path": f"{n}", "content": ""} for n in range(101)]},
        {"files": [{"path": "README.md", "content": "---\nlicense: nope\n---\n"}]},
        {"resourceGroupId": "66670e5163145ca562cb1988"}, {"region": "eu"}, {"visibility": "protected"},
        {"type": "space"}, {"type": "space", "sdk": "cobol"}, {"type": "space", "sdk": 3},
        {"type": "space", "sdk": "gradio", "visibility": "protected"},
        {"type": "space", "sdk": "gradio", "hardware": "t4-medium"},
        {"type": "space", "sdk": "gradio", "secrets": [{"key": "a", "value": "b"}]},
    ],
)  # fmt: skip
def test_what_can_not_be_honoured_is_refused_and_nothing_is_made(as_alice, body):
    answer = create(as_alice, name="m", **body)
    assert answer.status_code == 400 and len(answer.json()["error"]) > 20
    assert not Repository.objects.exists()


def test_a_bad_path_in_the_first_files_makes_nothing(as_alice):
    assert create(as_alice, name="m", files=[{"path": "../x", "content": ""}]).status_code == 422
    assert not Repository.objects.exists()


@pytest.mark.parametrize("sdk", ["gradio", "streamlit", "docker", "static"])
def test_spaces_are_kept_with_their_sdk(as_alice, sdk):
    assert create(as_alice, name="s", type="space", sdk=sdk, hardware="cpu-basic").status_code == 200
    assert Repository.objects.get().sdk == sdk
    assert as_alice.get("/api/spaces/alice/s").json()["id"] == "alice/s"
    card = b"".join(as_alice.get("/spaces/alice/s/resolve/main/README.md").streaming_content)
    assert card == f'---\ntitle: "s"\nsdk: {sdk}\n---\n'.encode()


def test_a_space_may_bring_its_own_card(as_alice):
    files = [{"path": "README.md", "content": base64.b64encode(b"# Mine\n").decode(), "encoding": "base64"}]
    assert create(as_alice, name="s", type="space", sdk="static", files=files).status_code == 200
    assert b"".join(as_alice.get("/spaces/alice/s/resolve/main/README.md").streaming_content) == b"# Mine\n"


def test_an_organisation_whose_repositories_are_private_unless_they_say_otherwise(as_alice, alice):
    call_command("create_org", "quiet", "--owner", "alice", "--private-by-default", stdout=io.StringIO())
    assert create(as_alice, name="a", organization="quiet").status_code == 200
    assert create(as_alice, name="b", organization="quiet", private=False).status_code == 200
    assert dict(Repository.objects.values_list("name", "private")) == {"a": True, "b": False}


def test_kernels_are_repositories_of_their_own_type(as_alice):
    answer = create(as_alice, name="k", type="kernel")
    assert answer.json()["url"] == "http://testserver/kernels/alice/k"
    assert as_alice.get("/api/kernels/alice/k").status_code == 200
    assert as_alice.get("/kernels/alice/k/resolve/main/.gitattributes").status_code == 200
    body = {"name": "k", "organization": None, "type": "kernel"}
    assert send(as_alice, "/api/repos/delete", body, "delete").status_code == 200


def test_creating_again_tells_the_url_and_names_in_foreign_namespaces_are_refused(as_alice, as_bob, alice):
    make_repository(alice, "m")
    again = create(as_alice, name="m")
    assert again.status_code == 409 and again.json()["url"] == "http://testserver/alice/m" and again.json()["id"]
    assert create(as_bob, name="m", organization="alice").status_code == 403


def test_an_organisation_may_make_its_repositories_private(as_alice, alice):
    org = create_organization("acme", alice)
    create(as_alice, name="open", organization="acme")
    org.private_by_default = True
    org.save()
    create(as_alice, name="quiet", organization="acme")
    create(as_alice, name="said", organization="acme", visibility="public")
    create(as_alice, name="old", organization="acme", private=False)
    create(as_alice, name="mine")
    private = dict(Repository.objects.values_list("name", "private"))
    assert private == {"open": False, "quiet": True, "said": False, "old": False, "mine": False}


def test_the_signal_of_a_creation_shares_its_transaction(as_alice):
    def refuse(sender, **_):
        raise Conflict("not today")

    repository_created.connect(refuse)
    try:
        assert create(as_alice, name="m").status_code == 409
    finally:
        repository_created.disconnect(refuse)
    assert not Repository.objects.exists()


# --- settings --------------------------------------------------------------------------------------------------------
def test_settings_change_together_and_are_told(as_alice, model):
    heard = []

    def listen(sender, **facts):
        heard.append(facts["changes"])

    repository_settings_changed.connect(listen)
    try:
        body = {"gated": "manual", "visibility": "private", "description": " what ", "discussionsDisabled": True}
        url = "/api/models/alice/m/settings"
        assert send(as_alice, url, body, "put").json() == {
            "gated": "manual", "private": True, "description": "what", "discussionsDisabled": True,
        }  # fmt: skip
        assert send(as_alice, url, {"gated": "manual", "xetEnabled": True}, "put").status_code == 200
        assert send(as_alice, url, {"gated": False, "private": None}, "put").json()["gated"] is False
    finally:
        repository_settings_changed.disconnect(listen)
    assert heard == [
        {"gated": "", "private": False, "description": "", "discussions_disabled": False}, {"gated": "manual"},
    ]  # fmt: skip
    assert as_alice.get("/api/models/alice/m?expand=gated&expand=private").json()["private"] is True


@pytest.mark.parametrize("gated", ["auto", "manual", False])
@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("kind", [RepoType.MODEL, RepoType.DATASET])
def test_every_gate_with_every_visibility(as_alice, alice, kind, gated, private):
    make_repository(alice, "r", kind)
    send(as_alice, f"/api/{kind.plural}/alice/r/settings", {"gated": gated, "private": private}, "put")
    info = as_alice.get(f"/api/{kind.plural}/alice/r").json()
    assert (info["gated"], info["private"]) == (gated, private)
    assert len(as_alice.get(f"/api/{kind.plural}?gated={str(bool(gated)).lower()}").json()) == 1
    assert as_alice.get(f"/api/{kind.plural}?gated={str(not gated).lower()}").json() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"gated": "maybe"}, "auto"), ({"gated": True}, "auto"), ({"gated": 1}, "auto"), ({"private": "yes"}, "true or"),
        ({"visibility": "hidden"}, "public or private"), ({"visibility": "protected"}, "Only Spaces"),
        ({"description": 3}, "text"), ({"description": "a\0b"}, "NUL"), ({"description": "x" * 10_001}, "10,000"),
        ({"discussionsDisabled": "no"}, "true or false"), ({"xetEnabled": False}, "Xet"), ({"sdk": "x"}, "sdk"),
        ({"gatedNotificationsEmail": "a@b"}, "no mail"), ({"discussionsSorting": "trending"}, "sorts"), ([], "object"),
    ],
)  # fmt: skip
def test_settings_which_are_refused_change_nothing(as_alice, model, body, words):
    if isinstance(body, dict):
        body = {"discussionsDisabled": True} | body
    answer = send(as_alice, "/api/models/alice/m/settings", body, "put")
    assert answer.status_code == 400 and words in answer.json()["error"]
    model.refresh_from_db()
    assert not model.discussions_disabled and not model.private


def test_settings_need_the_right_to_write(as_bob, anonymous, alice, model):
    for client, status in ((as_bob, 403), (anonymous, 401), (client_of(alice, "read"), 403)):
        assert send(client, "/api/models/alice/m/settings", {"gated": "auto"}, "put").status_code == status
    model.refresh_from_db()
    assert model.gated == ""


# --- branches --------------------------------------------------------------------------------------------------------
def test_empty_branches_and_overwriting(as_alice, alice, model):
    first = Ref.objects.get(repository=model).oid
    head = push(model, alice, {"a.txt": b"1"})
    base = "/api/models/alice/m"
    assert send(as_alice, f"{base}/branch/bare", {"emptyBranch": True}).status_code == 200
    assert as_alice.get(f"{base}/tree/bare").json() == []
    assert len(as_alice.get(f"{base}/commits/bare").json()) == 1
    assert send(as_alice, f"{base}/branch/bare", {"emptyBranch": True}).status_code == 409
    assert send(as_alice, f"{base}/branch/bare", {"startingPoint": first}).status_code == 409
    assert send(as_alice, f"{base}/branch/bare", {"startingPoint": first, "overwrite": True}).status_code == 200
    assert as_alice.get(f"{base}/revision/bare").json()["sha"] == first
    assert send(as_alice, f"{base}/branch/bare", {"emptyBranch": True, "overwrite": True}).status_code == 200
    assert as_alice.get(f"{base}/tree/bare").json() == [] and as_alice.get(base).json()["sha"] == head
    operation = {"key": "file", "value": {"path": "a.txt", "content": "MQ=="}}
    assert api_commit(as_alice, model, operation, branch="bare").status_code == 200


# --- duplicates ------------------------------------------------------------------------------------------------------
@pytest.fixture
def source(alice):
    repository = make_repository(alice, "m", files={"README.md": b"---\nlicense: mit\n---\n", "d/e/a.txt": b"1"})
    push(repository, alice, {"w.bin": b"weights", "model.onnx": b"not a model"})
    return repository


def duplicate(client, body, source="alice/m", kind="models"):
    return send(client, f"/api/{kind}/{source}/duplicate", body)


def test_a_duplicate_has_the_history_the_contents_and_the_card(as_alice, as_bob, bob, alice, source):
    head = Ref.objects.get(repository=source).oid
    send(as_alice, "/api/models/alice/m/branch/dev", {})
    send(as_alice, "/api/models/alice/m/tag/main", {"tag": "v1"})
    Ref.objects.create(repository=source, name="refs/variants/int8", oid=head)
    Job.objects.all().delete()
    answer = duplicate(as_bob, {"repository": "bob/copy"})
    assert answer.status_code == 200
    body = answer.json()
    assert body["url"] == "http://testserver/bob/copy" and body["filesCopyPending"] is False
    info = as_bob.get("/api/models/bob/copy").json()
    assert info["sha"] == head and info["cardData"] == {"license": "mit"} and "license:mit" in info["tags"]
    refs = as_bob.get("/api/models/bob/copy/refs").json()
    assert [row["name"] for row in refs["branches"] + refs["tags"]] == ["main", "dev", "v1"] and refs["variants"] == []
    assert len(as_bob.get("/api/models/bob/copy/commits/main").json()) == 3
    assert b"".join(as_bob.get("/bob/copy/resolve/main/w.bin")) == b"weights"
    made = Repository.objects.get(full_name="bob/copy")
    assert made.creator == bob and made.used_storage_bytes == len(b"weights") + len(b"not a model")
    assert list(Job.objects.filter(kind="convert").values_list("repository", flat=True)) == [made.pk]
    assert push(made, bob, {"more.bin": b"more"})
    as_alice.delete("/api/repos/delete", '{"name": "m"}', content_type="application/json")
    assert b"".join(as_bob.get("/bob/copy/resolve/main/d/e/a.txt")) == b"1"


def test_a_duplicate_which_is_there_is_a_conflict_with_its_url(as_alice, as_bob, bob, source):
    make_repository(bob, "m")
    answer = duplicate(as_bob, {"repository": "bob/M"})
    assert answer.status_code == 409 and answer.json()["url"] == "http://testserver/bob/m"
    assert "A model repository called bob/M already exists" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({"repository": "alice/x"}, 403), ({"repository": "nobody/x"}, 403), ({"repository": 3}, 400), ({"repository": "bob/a..b"}, 400),
     ({"repository": "bob/x", "visibility": "protected"}, 400), ({"repository": "bob/x", "resourceGroupId": "a"}, 400), ([], 400)],
)  # fmt: skip
def test_what_is_not_duplicated(as_bob, source, body, status):
    assert duplicate(as_bob, body).status_code == status
    assert Repository.objects.count() == 1


def test_a_duplicate_needs_the_right_to_read_the_files(as_alice, as_bob, anonymous, alice, bob, source):
    assert duplicate(anonymous, {"repository": "bob/copy"}).status_code == 401
    assert duplicate(client_of(bob, "read"), {"repository": "bob/copy"}).status_code == 403
    send(as_alice, "/api/models/alice/m/settings", {"gated": "manual"}, "put")
    gated = duplicate(as_bob, {"repository": "bob/copy"})
    assert gated.status_code == 403 and gated["X-Error-Code"] == "GatedRepo"
    send(as_alice, "/api/models/alice/m/settings", {"gated": False, "private": True}, "put")
    assert duplicate(as_bob, {"repository": "bob/copy"}).status_code == 404
    assert duplicate(as_alice, {"repository": "alice/copy"}).status_code == 200
    assert Repository.objects.get(full_name="alice/copy").private
    assert duplicate(as_alice, {"repository": "alice/shown", "visibility": "public"}).status_code == 200
    assert not Repository.objects.get(full_name="alice/shown").private


def test_a_duplicate_of_a_gated_repository_has_a_gate(as_alice, source):
    send(as_alice, "/api/models/alice/m/settings", {"gated": "auto"}, "put")
    assert duplicate(as_alice, {"repository": "alice/copy"}).status_code == 200
    assert Repository.objects.get(full_name="alice/copy").gated == "auto"


def test_what_no_branch_leads_to_is_left_behind(as_bob, alice, source):
    before = Ref.objects.get(repository=source).oid
    secret = push(source, alice, {"secret.txt": b"hidden", "secret.bin": b"hidden too"})
    Ref.objects.filter(repository=source).update(oid=before)
    assert duplicate(as_bob, {"repository": "bob/copy"}).status_code == 200
    made = Repository.objects.get(full_name="bob/copy")
    assert as_bob.get(f"/bob/copy/resolve/{secret}/secret.txt")["X-Error-Code"] == "RevisionNotFound"
    assert not GitObject.objects.filter(repository=made, data=b"hidden").exists()
    assert RepositoryBlob.objects.filter(repository=made).count() == 2


def test_a_duplicate_holds_the_xorbs_of_its_contents_only(as_bob, alice, source):
    named = RepositoryBlob.objects.filter(repository=source).first().blob_id
    for letter, sha256 in (("a", named), ("b", "0" * 64)):
        xorb = Xorb.objects.create(hash=letter * 64, size_bytes=1, index=b"")
        XorbHolder.objects.create(xorb=xorb, repository=source)
        XetFile.objects.create(hash=letter * 64, sha256=sha256, size_bytes=1, terms=[[letter * 64, 1, 0, 1]])
    assert duplicate(as_bob, {"repository": "bob/copy"}).status_code == 200
    held = XorbHolder.objects.filter(repository__full_name="bob/copy").values_list("xorb_id", flat=True)
    assert list(held) == ["a" * 64]


def test_a_source_which_is_rewritten_meanwhile_leaves_no_half_copy(alice, source, monkeypatch):
    def with_a_lost_object(repository, heads):
        found = reachable(repository, heads)
        GitObject.objects.filter(repository=repository, oid=next(iter(found))).delete()
        return found

    monkeypatch.setattr(duplicating, "reachable", with_a_lost_object)
    with pytest.raises(Conflict, match="try again"):
        duplicate_repository(Actor(alice), source, "copy", hub="")
    assert Repository.objects.count() == 1 and Ref.objects.count() == 1


def test_a_duplicate_costs_no_query_a_file(alice, django_assert_max_num_queries):
    repository = make_repository(alice, "many", files={f"d{n % 7}/f{n}.bin": str(n).encode() for n in range(300)})
    with django_assert_max_num_queries(60):
        duplicate_repository(Actor(alice), repository, "copy", hub="")
    assert RepositoryBlob.objects.filter(repository__full_name="alice/copy").count() == 300


def test_a_contributor_duplicates_into_their_organisation(as_bob, alice, bob, source):
    org = create_organization("acme", alice)
    Membership.objects.create(namespace=org, user=bob, role=Role.CONTRIBUTOR)
    assert duplicate(as_bob, {"repository": "acme/copy"}).status_code == 200
    assert api_commit(as_bob, Repository.objects.get(full_name="acme/copy"),
                      {"key": "file", "value": {"path": "a.txt", "content": "MQ=="}}).status_code == 200  # fmt: skip
