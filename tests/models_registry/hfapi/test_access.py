"""The gate: what stays open, what is refused in which words, and how people come in."""

import json

import pytest

from models_registry.accounts.models import Membership, Role
from models_registry.accounts.services import create_organization
from models_registry.repos.models import AccessRequest, Ref, Repository, RepoType
from tests.factories import client_of, make_repository, make_user, push

SENTENCE = (
    "Access to model alice/m is restricted and you are not in the authorized list. "
    "Visit http://testserver/alice/m to ask for access."
)
API = "/api/models/alice/m"


def send(client, url, body, method="post"):
    return getattr(client, method)(url, json.dumps(body), content_type="application/json")


def gate(client, value, url=API):
    assert send(client, f"{url}/settings", {"gated": value}, "put").status_code == 200


def ask(client, url="/alice/m", **answers):
    return client.post(f"{url}/ask-access", answers)


def listed(client, status, url=API):
    answer = client.get(f"{url}/user-access-request/{status}")
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
def gated(as_alice, alice):
    repository = make_repository(alice, "m", files={"README.md": b"# hello", "a.txt": b"1", "w.bin": b"weights"})
    sha = Ref.objects.get(repository=repository).oid
    Ref.objects.create(repository=repository, name="refs/variants/int8", oid=sha)
    Ref.objects.create(repository=repository, name="refs/pr/1", oid=sha)
    gate(as_alice, "manual")
    return repository


# --- what is open, what is shut --------------------------------------------------------------------------------------
OPEN = [
    API, f"{API}?blobs=true", f"{API}/revision/main", f"{API}/refs", f"{API}/tree/main", f"{API}/commits/main",
    "/alice/m/resolve/main/README.md", "/alice/m/raw/main/README.md",
]  # fmt: skip
SHUT = [
    "/alice/m/resolve/main/a.txt", "/alice/m/resolve/main/w.bin", "/alice/m/raw/main/w.bin",
    "/alice/m/resolve/refs%2Fvariants%2Fint8/w.bin", "/alice/m/resolve/refs%2Fpr%2F1/a.txt",
    "/alice/m/resolve/{sha}/a.txt", "/alice/m/resolve/nope/a.txt", "/alice/m/resolve/nope/README.md",
    "/alice/m/resolve/main/none.txt", "/alice/m/resolve/main/d/README.md", f"{API}/auth-check",
    f"{API}/xet-read-token/main",
]  # fmt: skip


@pytest.mark.parametrize("path", OPEN)
def test_info_listings_and_the_card_stay_readable(as_bob, anonymous, gated, path):
    for client in (as_bob, anonymous):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", SHUT)
def test_everything_else_is_refused_in_the_protocols_words(as_bob, anonymous, alice, gated, path):
    path = path.format(sha=Ref.objects.get(repository=gated, name="refs/heads/main").oid)
    for client, status in ((as_bob, 403), (anonymous, 401), (client_of(make_user("carol"), "read"), 403)):
        for call in (client.get, client.head):
            answer = call(path)
            if answer.status_code == 405:
                continue
            assert (answer.status_code, answer["X-Error-Code"]) == (status, "GatedRepo"), path
            assert answer["X-Error-Message"] == SENTENCE
        assert client.get(path).json()["error"] == SENTENCE


def test_the_order_is_repository_gate_revision_entry(as_alice, as_bob, gated):
    assert as_bob.get("/alice/none/resolve/nope/none")["X-Error-Code"] == "RepoNotFound"
    assert as_bob.get("/alice/m/resolve/nope/none")["X-Error-Code"] == "GatedRepo"
    assert as_alice.get("/alice/m/resolve/nope/none")["X-Error-Code"] == "RevisionNotFound"
    assert as_alice.get("/alice/m/resolve/main/none")["X-Error-Code"] == "EntryNotFound"
    send(as_alice, f"{API}/settings", {"private": True}, "put")
    assert as_bob.get("/alice/m/resolve/main/a.txt")["X-Error-Code"] == "RepoNotFound"


def test_lfs_gives_nothing_to_those_outside(as_alice, as_bob, gated):
    sha256 = gated.blob_rows.get().blob_id
    body = {"operation": "download", "objects": [{"oid": sha256, "size": 7}]}
    url = "/alice/m.git/info/lfs/objects/batch"
    refused = send(as_bob, url, body)
    assert refused.status_code == 403 and refused["X-Error-Code"] == "GatedRepo"
    assert send(as_alice, url, body).json()["objects"][0]["actions"]["download"]["href"]


def test_pages_show_the_card_and_no_file(bob_browser, alice_browser, visitor, gated):
    assert bob_browser.get("/alice/m").status_code == bob_browser.get("/alice/m/tree/main").status_code == 200
    assert bob_browser.get("/alice/m/blob/main/README.md").status_code == 200
    for browser, status in ((bob_browser, 403), (visitor, 401), (alice_browser, 200)):
        assert browser.get("/alice/m/blob/main/a.txt").status_code == status


def test_rows_of_a_gated_dataset_are_not_shown(as_alice, alice, visitor, alice_browser):
    make_repository(alice, "d", RepoType.DATASET, files={"a.csv": b"x\n1\n"})
    assert b"First rows" in visitor.get("/datasets/alice/d").content
    gate(as_alice, "auto", "/api/datasets/alice/d")
    assert b"First rows" not in visitor.get("/datasets/alice/d").content
    assert b"First rows" in alice_browser.get("/datasets/alice/d").content


def test_a_strangers_gated_dataset_calibrates_nothing(as_alice, alice, bob):
    from compression_service.variants.datasets import usable_dataset

    model = make_repository(bob, "m")
    make_repository(alice, "d", RepoType.DATASET, files={"a.csv": b"x\n1\n"})
    assert usable_dataset(model, "alice/d") is not None
    gate(as_alice, "manual", "/api/datasets/alice/d")
    assert usable_dataset(model, "alice/d") is None
    AccessRequest.objects.create(repository=Repository.objects.get(name="d"), user=bob, status="accepted")
    assert usable_dataset(model, "alice/d") is not None


@pytest.mark.parametrize("role", list(Role))
def test_members_of_the_organisation_stand_inside(as_alice, as_bob, alice, bob, role):
    org = create_organization("acme", alice)
    send(as_alice, "/api/repos/create", {"name": "m", "organization": "acme", "files": [{"path": "a", "content": "1"}]})
    gate(as_alice, "manual", "/api/models/acme/m")
    assert as_bob.get("/acme/m/resolve/main/a").status_code == 403
    Membership.objects.create(namespace=org, user=bob, role=role)
    assert as_bob.get("/acme/m/resolve/main/a").status_code == 200


# --- asking and answering --------------------------------------------------------------------------------------------
def test_the_way_in_by_asking(as_alice, as_bob, bob, gated):
    bob.email = "bob@example.com"
    bob.save()
    assert ask(as_bob).json() == {"status": "pending"}
    assert as_bob.get("/alice/m/resolve/main/a.txt").status_code == 403
    again = ask(as_bob)
    assert again.status_code == 409 and "already" in again.json()["error"]
    (row,) = listed(as_alice, "pending")
    assert row["user"] == {"user": "bob", "fullname": "bob", "email": "bob@example.com"}
    assert row["status"] == "pending" and len(row["requestId"]) == 24 and row["timestamp"].endswith("Z")
    handled = send(as_alice, f"{API}/user-access-request/handle", {"requestId": row["requestId"], "status": "accepted"})
    assert handled.status_code == 200
    assert b"".join(as_bob.get("/alice/m/resolve/main/a.txt")) == b"1"
    assert as_bob.get(f"{API}/auth-check").status_code == 200
    assert ask(as_bob).status_code == 400
    assert listed(as_alice, "pending") == [] and len(listed(as_alice, "accepted")) == 1


def test_an_automatic_gate_opens_at_once(as_alice, as_bob, gated):
    ask(as_bob)
    gate(as_alice, "auto")
    assert as_bob.get("/alice/m/resolve/main/a.txt").status_code == 403
    assert ask(as_bob).json() == {"status": "accepted"}
    assert as_bob.get("/alice/m/resolve/main/a.txt").status_code == 200


def test_granting_and_going_through_every_state(as_alice, as_bob, bob, gated):
    bob.email = "bob@example.com"
    bob.save()

    def handle(status, **more):
        return send(
            as_alice, f"{API}/user-access-request/handle", {"user": "bob", "status": status, **more}
        ).status_code

    grant = send(as_alice, f"{API}/user-access-request/grant", {"user": "BOB"})
    assert grant.status_code == 200 and grant.json()["status"] == "accepted"
    assert listed(as_alice, "accepted")[0]["user"]["email"] is None
    assert send(as_alice, f"{API}/user-access-request/grant", {"user": "bob"}).status_code == 400
    assert as_bob.get("/alice/m/resolve/main/a.txt").status_code == 200
    assert handle("accepted") == 400 and handle("pending") == 200 and handle("pending") == 400
    assert as_bob.get("/alice/m/resolve/main/a.txt").status_code == 403
    assert [row["user"]["user"] for row in listed(as_alice, "pending")] == ["bob"]
    assert handle("rejected", rejectionReason="not now") == 200 and handle("rejected") == 400
    assert listed(as_alice, "rejected")[0]["rejectionReason"] == "not now"
    refused = ask(as_bob)
    assert refused.status_code == 403 and refused.json()["error"] == "Your request was rejected. not now"
    assert handle("accepted") == 200 and as_bob.get("/alice/m/resolve/main/a.txt").status_code == 200


@pytest.mark.parametrize(
    ("route", "body", "status"),
    [
        ("handle", {"user": "bob", "status": "accepted"}, 404), ("handle", {"user": "nobody", "status": "accepted"}, 404),
        ("handle", {"user": "b\0b", "status": "accepted"}, 404), ("handle", {"status": "accepted"}, 400),
        ("handle", {"user": "bob", "requestId": "0" * 24, "status": "accepted"}, 400), ("handle", {"user": "bob"}, 400),
        ("handle", {"requestId": "f" * 24, "status": "accepted"}, 404), ("handle", {"requestId": "x", "status": "accepted"}, 400),
        ("handle", {"user": "bob", "status": "maybe"}, 400), ("handle", {"user": 3, "status": "accepted"}, 400),
        ("handle", {"user": "bob", "status": "accepted", "rejectionReason": "x"}, 400),
        ("handle", {"user": "bob", "status": "rejected", "rejectionReason": "x" * 1001}, 400),
        ("handle", {"user": "bob", "status": "rejected", "rejectionReason": 3}, 400), ("handle", [], 400),
        ("grant", {"user": "nobody"}, 404), ("grant", {"user": "\0"}, 404), ("grant", {}, 400), ("grant", {"user": None}, 400),
    ],
)  # fmt: skip
def test_answers_which_are_refused(as_alice, bob, gated, route, body, status):
    answer = send(as_alice, f"{API}/user-access-request/{route}", body)
    assert answer.status_code == status and answer.json()["error"]
    assert not AccessRequest.objects.exists()


def test_only_its_managers_see_and_decide(as_bob, anonymous, alice, gated):
    for client, status in ((as_bob, 403), (anonymous, 401), (client_of(alice, "read"), 403)):
        assert client.get(f"{API}/user-access-request/pending").status_code == status
        assert send(client, f"{API}/user-access-request/grant", {"user": "bob"}).status_code == status
        body = {"user": "bob", "status": "accepted"}
        assert send(client, f"{API}/user-access-request/handle", body).status_code == status
    missing = as_bob.get("/api/models/alice/none/user-access-request/pending")
    assert missing.status_code == 404 and missing["X-Error-Code"] == "RepoNotFound"


def test_a_list_is_paged_and_names_no_other_status(as_alice, gated):
    for number in range(3):
        AccessRequest.objects.create(repository=gated, user=make_user(f"u{number}"))
    first = as_alice.get(f"{API}/user-access-request/pending?limit=2")
    assert [row["user"]["user"] for row in first.json()] == ["u2", "u1"]
    url = first["Link"].split(">")[0].lstrip("<")
    second = as_alice.get(url)
    assert [row["user"]["user"] for row in second.json()] == ["u0"] and "Link" not in second
    assert as_alice.get(f"{API}/user-access-request/maybe").status_code == 400


def test_who_may_ask(as_alice, as_bob, bob, anonymous, alice, gated):
    assert ask(anonymous).status_code == 401
    assert ask(client_of(bob, "read")).status_code == 403
    assert ask(as_alice).status_code == 400  # it is hers
    assert ask(as_bob, "/alice/none").status_code == 404
    gate(as_alice, False)
    open_to_all = ask(as_bob)
    assert open_to_all.status_code == 400 and "not gated" in open_to_all.json()["error"]
    assert not AccessRequest.objects.exists()


QUESTIONS = b"""---
extra_gated_fields:
  Company: text
  Country: country
  Born: date_picker
  Use:
    type: select
    options:
      - Research
      - label: Other
        value: other
  I agree: checkbox
---
"""


def test_the_cards_questions_are_asked(as_alice, as_bob, alice, gated):
    push(gated, alice, {"README.md": QUESTIONS})
    answers = {"Company": "ACME", "Country": "NL", "Born": "2000-01-01", "Use": "other", "I agree": "on"}
    for bad in ({"Company": ""}, {"I agree": ""}, {"Use": "evil"}, {"Company": "x" * 3000}, {"Country": "a\0"}):
        assert ask(as_bob, **(answers | bad)).status_code == 400, bad
    assert ask(as_bob, **answers, more="dropped").status_code == 200
    assert listed(as_alice, "pending")[0]["fields"] == answers


@pytest.mark.parametrize("kind", [RepoType.DATASET, RepoType.SPACE, RepoType.KERNEL])
def test_gates_of_the_other_types(as_alice, as_bob, alice, kind):
    make_repository(alice, "r", kind, files={"a.txt": b"1"})
    api, path = f"/api/{kind.plural}/alice/r", f"/{kind.url_prefix}alice/r"
    gate(as_alice, "manual", api)
    answer = as_bob.get(f"{path}/resolve/main/a.txt")
    assert answer.status_code == 403 and f"Access to {kind.value} alice/r is restricted" in answer["X-Error-Message"]
    assert f"Visit http://testserver{path} to ask" in answer["X-Error-Message"]
    assert ask(as_bob, path).json() == {"status": "pending"}
    assert len(listed(as_alice, "pending", api)) == 1


def test_a_move_and_a_deletion_take_the_requests_along(as_alice, as_bob, bob, gated):
    send(as_alice, f"{API}/user-access-request/grant", {"user": "bob"})
    send(as_alice, "/api/repos/move", {"fromRepo": "alice/m", "toRepo": "alice/n"})
    assert b"".join(as_bob.get("/alice/n/resolve/main/a.txt")) == b"1"
    send(as_alice, "/api/repos/delete", {"name": "n"}, "delete")
    assert not AccessRequest.objects.exists()
