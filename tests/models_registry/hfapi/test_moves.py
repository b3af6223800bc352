"""Renaming and handing over: rights, refusals, and the old names which go on to work."""

import json

import pytest
from django.test import Client

from models_registry.accounts.actors import Actor
from models_registry.accounts.models import Membership, Role
from models_registry.accounts.services import create_organization
from models_registry.errors import Conflict
from models_registry.repos import services
from models_registry.repos.events import repository_moved
from models_registry.repos.models import GIT_TYPES, Repository, RepositoryRedirect, RepoType
from models_registry.repos.moving import move_repository
from tests.factories import api_commit, client_of, make_repository, make_user, push


def move(client, old, new, kind="model"):
    body = {"fromRepo": old, "toRepo": new, "type": kind}
    return client.post("/api/repos/move", json.dumps(body), content_type="application/json")


@pytest.fixture
def acme(alice):
    return create_organization("acme", alice)


@pytest.mark.parametrize("kind", GIT_TYPES)
def test_a_moved_repository_goes_on_under_both_names(as_alice, anonymous, alice, kind):
    repository = make_repository(alice, "m", kind, files={"a b.txt": b"1", "w.bin": b"2"})
    answer = move(as_alice, "alice/m", "alice/n", kind.value)
    assert answer.status_code == 200 and answer.json()["url"] == f"http://testserver/{kind.url_prefix}alice/n"
    api, files = f"/api/{kind.plural}", f"/{kind.url_prefix}"
    assert anonymous.get(f"{api}/alice/n").json()["id"] == "alice/n"
    for path, target in (
        (f"{api}/alice/m", f"{api}/alice/n"),
        (f"{api}/ALICE/M/revision/main?expand=sha&expand=tags", f"{api}/alice/n/revision/main?expand=sha&expand=tags"),
        (f"{api}/alice/m/tree/main?recursive=true", f"{api}/alice/n/tree/main?recursive=true"),
        (
            f"{files}alice/m/resolve/main/a%20b.txt?download=true",
            f"{files}alice/n/resolve/main/a%20b.txt?download=true",
        ),
        (f"{files}alice/m/resolve/main/w.bin", f"{files}alice/n/resolve/main/w.bin"),
        (f"{files}alice/m/raw/main/50%25%23.txt", f"{files}alice/n/raw/main/50%25%23.txt"),
    ):
        answer = anonymous.get(path)
        assert (answer.status_code, answer["Location"]) == (307, target), path
        assert answer["Cache-Control"] == "no-store"
    followed = anonymous.get(anonymous.get(f"{files}alice/m/resolve/main/a%20b.txt")["Location"])
    assert b"".join(followed) == b"1"
    assert Repository.objects.get().pk == repository.pk


def test_writes_to_an_old_name_keep_method_and_body(as_alice, as_bob, model):
    move(as_alice, "alice/m", "alice/n")
    operation = {"key": "file", "value": {"path": "a.txt", "content": "MQ=="}}
    answer = api_commit(as_alice, model, operation)
    assert (answer.status_code, answer["Location"]) == (307, "/api/models/alice/n/commit/main")
    lines = json.dumps({"key": "header", "value": {"summary": "x"}}) + "\n" + json.dumps(operation)
    url, body = answer["Location"], {"data": lines, "content_type": "application/x-ndjson"}
    assert as_alice.post(url, **body).json()["success"] is True
    assert as_bob.post(url, **body).status_code == 403
    batch = as_alice.post("/alice/m.git/info/lfs/objects/batch", "{}", content_type="application/json")
    assert (batch.status_code, batch["Location"]) == (307, "/alice/n.git/info/lfs/objects/batch")
    put = as_alice.put("/api/models/alice/m/settings", '{"gated": "auto"}', content_type="application/json")
    assert (put.status_code, put["Location"]) == (307, "/api/models/alice/n/settings")


def test_git_is_led_to_the_new_name(as_alice, as_bob, anonymous, alice):
    make_repository(alice, "m", RepoType.DATASET)
    move(as_alice, "alice/m", "alice/n", "dataset")
    for old, new in (("m", "n"), ("m.git", "n.git")):
        url = "/datasets/alice/{}/info/refs?service=git-upload-pack"
        answer = anonymous.get(url.format(old))
        assert (answer.status_code, answer["Location"]) == (307, url.format(new))
    Repository.objects.update(private=True)
    assert as_bob.get(url.format("m")).status_code == 404 and anonymous.get(url.format("m")).status_code == 401


def test_pages_of_an_old_name_lead_on(as_alice, visitor, model):
    move(as_alice, "alice/m", "alice/n")
    for page in ("", "/tree/main", "/commits/main", "/jobs"):
        answer = visitor.get(f"/alice/m{page}?page=1")
        assert (answer.status_code, answer["Location"]) == (307, f"/alice/n{page}?page=1")
        assert visitor.get(answer["Location"]).status_code == 200


def test_an_outsider_learns_nothing_of_a_private_repositorys_names(as_alice, as_bob, anonymous, alice):
    make_repository(alice, "m", private=True, files={"a.txt": b"1"})
    move(as_alice, "alice/m", "alice/n")
    for path in ("/api/models/alice/{}", "/alice/{}/resolve/main/a.txt", "/api/models/alice/{}/refs"):
        old, never = as_bob.get(path.format("m")), as_bob.get(path.format("nothing"))
        assert old.status_code == never.status_code == 404 and old.content == never.content
        assert old["X-Error-Code"] == "RepoNotFound" and "Location" not in old
        assert anonymous.get(path.format("m")).status_code == 401
        assert as_alice.get(path.format("m"))["Location"] == path.format("n")


def test_chains_and_the_way_back(as_alice, anonymous, model):
    for old, new in (("m", "n"), ("n", "o"), ("o", "p")):
        assert move(as_alice, f"alice/{old}", f"alice/{new}").status_code == 200
    for old in "mno":
        assert anonymous.get(f"/api/models/alice/{old}")["Location"] == "/api/models/alice/p"
    assert move(as_alice, "alice/p", "alice/m").status_code == 200
    assert anonymous.get("/api/models/alice/m").status_code == 200
    assert sorted(RepositoryRedirect.objects.values_list("full_name", flat=True)) == ["alice/n", "alice/o", "alice/p"]


def test_a_change_of_case_leaves_no_redirect(as_alice, anonymous, model):
    assert move(as_alice, "alice/m", "alice/M").status_code == 200
    assert anonymous.get("/api/models/alice/m").json()["id"] == "alice/M"
    assert not RepositoryRedirect.objects.exists()


def test_creating_under_an_old_name_ends_the_redirect(as_alice, anonymous, model):
    move(as_alice, "alice/m", "alice/n")
    made = as_alice.post("/api/repos/create", '{"name": "M"}', content_type="application/json")
    assert made.status_code == 200
    assert anonymous.get("/api/models/alice/m").json()["id"] == "alice/M"
    assert not RepositoryRedirect.objects.exists()


def test_deleting_ends_the_redirects_and_needs_the_name_of_today(as_alice, anonymous, model):
    move(as_alice, "alice/m", "alice/n")

    def delete(name):
        body = json.dumps({"name": name, "organization": None})
        return as_alice.delete("/api/repos/delete", body, content_type="application/json")

    old = delete("m")
    assert old.status_code == 404 and old["X-Error-Code"] == "RepoNotFound" and "alice/n" in old.json()["error"]
    assert delete("n").status_code == 200
    assert anonymous.get("/api/models/alice/m").status_code == 401 and not RepositoryRedirect.objects.exists()


def test_names_are_kept_by_type(as_alice, anonymous, alice, model):
    move(as_alice, "alice/m", "alice/n")
    assert anonymous.get("/api/datasets/alice/m").status_code == 401
    make_repository(alice, "m", RepoType.DATASET)
    assert anonymous.get("/api/models/alice/m").status_code == 307


@pytest.mark.parametrize(
    ("old", "new", "status", "words"),
    [
        ("alice/m", "alice/taken", 409, "A model repository called alice/taken already exists"),
        ("alice/m", "alice/TAKEN", 409, "already exists"), ("alice/m", "alice/m", 409, "already exists"),
        ("alice/nothing", "alice/x", 404, "Repository not found"), ("alice/m", "bob/m", 403, "namespace 'bob'"),
        ("alice/m", "nobody/m", 403, "namespace"), ("alice/m", "x", 400, "namespace/name"),
        ("alice/m", "alice/a..b", 400, "can not name"), ("alice/m", "alice/b/c", 400, "can not name"),
        ("alice/m", "alice/x\0", 400, "can not name"), ("alice/m", "x\0/y", 403, "namespace"),
        ("alice/m\0", "alice/x", 404, "Repository not found"), ("gpt2", "alice/x", 404, "Repository not found"),
    ],
)  # fmt: skip
def test_what_is_not_moved(as_alice, alice, bob, model, old, new, status, words):
    make_repository(alice, "taken")
    answer = move(as_alice, old, new)
    assert answer.status_code == status and words in answer.json()["error"]
    assert Repository.objects.get(pk=model.pk).full_name == "alice/m" and not RepositoryRedirect.objects.exists()


@pytest.mark.parametrize("body", [{}, {"fromRepo": 1, "toRepo": "a/b"}, {"fromRepo": "alice/m"}, [],
                                  {"fromRepo": "alice/m", "toRepo": "alice/x", "type": "barrel"}])  # fmt: skip
def test_bodies_of_a_move_are_checked(as_alice, model, body):
    answer = as_alice.post("/api/repos/move", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400 and answer.json()["error"]


def test_rights_are_needed_on_both_sides(as_alice, as_bob, anonymous, alice, bob, acme, model):
    assert move(anonymous, "alice/m", "alice/n").status_code == 401
    assert move(as_bob, "alice/m", "bob/m").status_code == 403
    assert move(client_of(alice, "read"), "alice/m", "alice/n").status_code == 403
    assert move(as_alice, "alice/m", "acme/m").status_code == 200
    member = Membership.objects.create(namespace=acme, user=bob, role=Role.READ)
    assert move(as_bob, "acme/m", "bob/m").status_code == 403
    member.role = Role.WRITE
    member.save()
    assert move(as_bob, "acme/m", "bob/m").status_code == 200
    assert as_alice.get("/api/models/alice/m")["Location"] == "/api/models/bob/m"


def test_the_private_who_is_moved_away_from_its_people_is_gone_for_them(as_alice, as_bob, alice, bob, acme):
    Membership.objects.create(namespace=acme, user=bob, role=Role.READ)
    make_repository(alice, "m", private=True)
    assert move(as_alice, "alice/m", "acme/m").status_code == 200
    assert as_bob.get("/api/models/alice/m")["Location"] == "/api/models/acme/m"
    move(as_alice, "acme/m", "alice/other")
    assert as_bob.get("/api/models/acme/m").status_code == as_bob.get("/api/models/alice/m").status_code == 404


def test_a_contributor_does_not_capture_the_old_names_of_others(as_alice, alice, bob, acme):
    make_repository(alice, "m")
    move(as_alice, "alice/m", "acme/m")
    move(as_alice, "acme/m", "acme/n")
    Membership.objects.create(namespace=acme, user=bob, role=Role.CONTRIBUTOR)
    as_bob = client_of(bob)
    make_repository(bob, "mine")
    body = json.dumps({"name": "m", "organization": "acme"})
    for answer in (
        move(as_bob, "bob/mine", "acme/m"),
        as_bob.post("/api/repos/create", body, content_type="application/json"),
    ):
        assert answer.status_code == 403 and "choose another name" in answer.json()["error"]
    assert as_bob.get("/api/models/acme/m")["Location"] == "/api/models/acme/n"
    assert (
        as_bob.post("/api/repos/create", body.replace('"m"', '"new"'), content_type="application/json").status_code
        == 200
    )
    assert as_alice.post("/api/repos/create", body, content_type="application/json").status_code == 200


def test_refs_rights_and_the_signal_stay_with_the_repository(as_alice, alice, acme, model):
    sha = push(model, alice, {"a.txt": b"1"})
    heard = []

    def listen(sender, **facts):
        heard.append((facts["old_full_name"], facts["old_namespace"].name, facts["repository"].full_name))

    repository_moved.connect(listen)
    try:
        move(as_alice, "alice/m", "acme/n")
    finally:
        repository_moved.disconnect(listen)
    assert heard == [("alice/m", "alice", "acme/n")]
    assert as_alice.get("/api/models/acme/n").json()["sha"] == sha
    model.refresh_from_db()
    assert push(model, alice, {"b.txt": b"1"})  # an upload which began before goes on


def test_of_two_moves_of_one_repository_one_wins(alice, model):
    actor, seen = Actor(alice), Repository.objects.select_related("namespace").get(pk=model.pk)
    move_repository(actor, model, "alice/n")
    with pytest.raises(Conflict, match="was moved to alice/n a moment ago"):
        move_repository(actor, seen, "alice/o")


def test_ids_of_the_first_days_are_not_found_in_the_protocols_words(anonymous, as_bob):
    for path in ("/api/models/gpt2", "/gpt2/resolve/main/config.json", "/api/models/gpt2/tree/main",
                 "/datasets/squad/resolve/main/a.txt", "/api/datasets/squad/revision/main"):  # fmt: skip
        answer = as_bob.get(path)
        assert answer.status_code == 404 and answer["X-Error-Code"] == "RepoNotFound", path
        assert answer.json()["error"].startswith("Repository not found")
        assert anonymous.head(path).status_code == 401
    assert "X-Error-Code" not in as_bob.get("/api/nope") and as_bob.get("/api/nope").status_code == 404


def test_repositories_with_odd_names_are_reached(as_alice, alice):
    for name in ("tree", "resolve", "revision"):
        make_repository(alice, name, files={"a.txt": b"1"})
        assert as_alice.get(f"/api/models/alice/{name}").status_code == 200
        assert as_alice.get(f"/alice/{name}/resolve/main/a.txt").status_code == 200
        assert as_alice.get(f"/alice/{name}/tree/main", headers={"accept": "text/html"}).status_code == 200
    assert move(as_alice, "alice/tree", "alice/alice").status_code == 200
    assert as_alice.get("/alice/tree/tree/main")["Location"] == "/alice/alice/tree/main"


@pytest.mark.django_db
def test_a_person_who_has_the_name_of_a_folder_is_led_right():
    owner = make_user("owner")
    make_repository(owner, "owner")
    client = client_of(owner)
    assert move(client, "owner/owner", "owner/next").status_code == 200
    assert Client().get("/api/models/owner/owner/tree/main/owner/owner")["Location"] == (
        "/api/models/owner/next/tree/main/owner/owner"
    )


def test_a_repository_moved_back_between_two_looks_is_found(model, alice, monkeypatch):
    """A look for the name finds nothing, and before the look for the old name it is there again."""
    Repository.objects.filter(pk=model.pk).update(full_name="alice/elsewhere")

    def moved_back(kind, full_name):
        Repository.objects.filter(pk=model.pk).update(full_name="alice/m")

    monkeypatch.setattr(services, "repository_once_named", moved_back)
    assert services.find_repository(Actor(alice), RepoType.MODEL, "alice/m").pk == model.pk
