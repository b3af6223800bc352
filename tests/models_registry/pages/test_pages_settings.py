"""A repository's settings, its gate and the requests there, as people use them in a browser."""

import pytest

from models_registry.accounts.models import Membership, Role
from models_registry.accounts.services import create_organization
from models_registry.repos.models import AccessRequest, Repository, RepoType
from tests.factories import make_repository, push

SETTINGS = "/alice/m/settings"


def change(browser, url=SETTINGS, **fields):
    return browser.post(url, {"act": "settings", "visibility": "public", "gated": "", "discussions": "on", **fields})


def test_the_form_shows_and_changes_what_is_set(alice_browser, model):
    assert b'value="public" checked' in alice_browser.get(SETTINGS).content
    answer = change(alice_browser, visibility="private", gated="manual", description="what it is")
    assert (answer.status_code, answer["Location"]) == (302, SETTINGS)
    model.refresh_from_db()
    assert (model.private, model.gated, model.description, model.discussions_disabled) == (
        True,
        "manual",
        "what it is",
        False,
    )
    alice_browser.post(SETTINGS, {"act": "settings", "visibility": "public", "gated": ""})
    model.refresh_from_db()
    assert not model.private and model.gated == "" and model.discussions_disabled and model.description == ""


@pytest.mark.parametrize("fields", [{"gated": "maybe"}, {"description": "a\0b"}, {"description": "x" * 10_001}])
def test_a_bad_form_is_told_and_changes_nothing(alice_browser, model, fields):
    answer = change(alice_browser, visibility="private", **fields)
    assert answer.status_code == 400 and b'role="alert"' in answer.content
    model.refresh_from_db()
    assert not model.private
    assert alice_browser.post(SETTINGS, {"act": "other"}).status_code == 400


def test_renaming_and_handing_over(alice_browser, alice, model):
    org = create_organization("acme", alice)
    assert b"<option>acme</option>" in alice_browser.get(SETTINGS).content
    answer = alice_browser.post(SETTINGS, {"act": "move", "owner": "acme", "name": "n"})
    assert answer["Location"] == "/acme/n/settings"
    assert Repository.objects.get().namespace == org
    assert alice_browser.get(SETTINGS)["Location"] == "/acme/n/settings"
    make_repository(alice, "taken")
    taken = alice_browser.post("/acme/n/settings", {"act": "move", "owner": "alice", "name": "taken"})
    assert taken.status_code == 400 and b"already exists" in taken.content


def test_deleting_asks_for_the_name(alice_browser, model):
    assert alice_browser.post(SETTINGS, {"act": "delete", "confirm": "m"}).status_code == 400
    assert alice_browser.post(SETTINGS, {"act": "delete", "confirm": "alice/m"})["Location"] == "/alice"
    assert not Repository.objects.exists()


def test_settings_are_for_those_who_manage(bob_browser, visitor, browser_of, alice, bob, model):
    for page in (SETTINGS, f"{SETTINGS}/access"):
        assert bob_browser.get(page).status_code == 403
        assert visitor.get(page)["Location"].startswith("/login?next=")
        assert bob_browser.get(page.replace("/m/", "/none/")).status_code == 404
    assert change(bob_browser, visibility="private").status_code == 403
    assert b">Settings</a>" not in bob_browser.get("/alice/m").content
    org = create_organization("acme", alice)
    Membership.objects.create(namespace=org, user=bob, role=Role.WRITE)
    Repository.objects.filter(pk=model.pk).update(namespace=org, full_name="acme/m")
    assert b">Settings</a>" in bob_browser.get("/acme/m").content


def test_forms_need_their_csrf_token(browser_of, alice, bob, model):
    Repository.objects.update(gated="manual")
    assert change(browser_of(alice, enforce_csrf_checks=True), visibility="private").status_code == 403
    assert browser_of(bob, enforce_csrf_checks=True).post("/alice/m/ask-access").status_code == 403
    assert not AccessRequest.objects.exists()


def test_asking_and_answering_in_a_browser(alice_browser, bob_browser, visitor, alice, model):
    push(model, alice, {"a.txt": b"1"})
    change(alice_browser, gated="manual")
    assert b"Sign in to ask for access" in visitor.get("/alice/m").content
    assert b"You need access" not in alice_browser.get("/alice/m").content
    assert b"Ask for access" in bob_browser.get("/alice/m").content
    assert bob_browser.post("/alice/m/ask-access")["Location"] == "/alice/m"
    assert b"have not answered yet" in bob_browser.get("/alice/m").content
    assert b"1 waiting" in alice_browser.get(SETTINGS).content
    access = f"{SETTINGS}/access"
    assert b"bob" in alice_browser.get(access).content
    assert alice_browser.post(access, {"act": "rejected", "user": "bob", "reason": "who are you?"}).status_code == 302
    assert b"who are you?" in bob_browser.get("/alice/m").content
    assert alice_browser.post(access, {"act": "accepted", "user": "bob"}).status_code == 302
    assert bob_browser.get("/alice/m/blob/main/a.txt").status_code == 200
    assert b"You need access" not in bob_browser.get("/alice/m").content
    assert alice_browser.post(access, {"act": "grant", "user": "bob"}).status_code == 400
    assert alice_browser.post(access, {"act": "grant", "user": "nobody"}).status_code == 400
    assert alice_browser.get(f"{access}?status=maybe").status_code == 400


def test_the_gate_has_the_cards_words_and_they_are_safe(bob_browser, alice, model):
    card = (
        b"---\nextra_gated_heading: Come in\nextra_gated_prompt: '**Terms** <script>alert(1)</script>'\n"
        b"extra_gated_button_content: Agree\nextra_gated_fields:\n  '\"><b>x': text\n  Yes: checkbox\n---\n"
    )
    push(model, alice, {"README.md": card})
    Repository.objects.update(gated="auto")
    html = bob_browser.get("/alice/m").content.decode()
    assert "Come in" in html and "<strong>Terms</strong>" in html and "Agree</button>" in html
    assert "<script>alert" not in html and "<b>x" not in html
    bob_browser.post("/alice/m/ask-access", {'"><b>x': "me", "Yes": "on"})
    assert AccessRequest.objects.get().status == "accepted"


def test_datasets_have_the_same_pages(alice_browser, bob_browser, alice):
    make_repository(alice, "d", RepoType.DATASET)
    assert change(alice_browser, "/datasets/alice/d/settings", gated="auto")["Location"] == "/datasets/alice/d/settings"
    assert bob_browser.post("/datasets/alice/d/ask-access")["Location"] == "/datasets/alice/d"
    assert alice_browser.get("/datasets/alice/d/settings/access?status=accepted").status_code == 200


def test_an_organisations_default_is_set_on_its_profile(alice_browser, alice):
    org = create_organization("acme", alice)
    alice_browser.post("/organizations/acme/profile", {"full_name": "Acme", "private_by_default": "on"})
    org.refresh_from_db()
    assert org.private_by_default
    assert b'name="private_by_default" value="on" checked' in alice_browser.get("/organizations/acme/profile").content
    alice_browser.post("/organizations/acme/profile", {"full_name": "Acme"})
    org.refresh_from_db()
    assert not org.private_by_default


def test_the_same_content_counts_once_in_a_repositorys_storage(alice, model):
    push(model, alice, {"a.bin": b"12345", "b.bin": b"12345"})
    push(model, alice, {"c.bin": b"12345"})
    assert Repository.objects.get(pk=model.pk).used_storage_bytes == 5
