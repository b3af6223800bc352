"""Sign in and out, tokens, a new repository."""

import pytest
from django.test import Client

from models_registry.accounts.models import AccessToken
from models_registry.accounts.services import create_organization
from models_registry.accounts.tokens import create_token
from models_registry.repos.models import Repository
from tests import factories


def test_sign_in_goes_on_to_where_one_wanted_to_be(visitor, alice):
    answer = visitor.post("/login", {"username": "alice", "password": factories.PASSWORD, "next": "/settings/tokens"})
    assert answer.status_code == 302 and answer["Location"] == "/settings/tokens"
    assert "Menu of alice" in visitor.get("/").content.decode()
    assert visitor.post("/logout")["Location"] == "/"
    assert "Menu of alice" not in visitor.get("/").content.decode()


@pytest.mark.parametrize(
    "address", ["https://evil.example/", "//evil.example", "javascript:alert(1)", r"/\evil.example"]
)
def test_sign_in_leads_nobody_away(visitor, alice, address):
    answer = visitor.post("/login", {"username": "alice", "password": factories.PASSWORD, "next": address})
    assert answer["Location"] == "/"


@pytest.mark.parametrize("name", ["alice", "nobody", "a\0b", ""])
def test_a_wrong_password_is_one_sentence_for_all(visitor, alice, name):
    answer = visitor.post("/login", {"username": name, "password": "wrong"})
    assert answer.status_code == 401 and "do not belong together" in answer.content.decode()


def test_sign_out_needs_a_post(alice_browser):
    assert alice_browser.get("/logout").status_code == 405
    assert "Menu of alice" in alice_browser.get("/").content.decode()


@pytest.mark.parametrize("url", ["/login", "/logout", "/new", "/settings/tokens", "/settings/tokens/1/revoke"])
def test_every_form_needs_its_csrf_token(url, alice, browser_of):
    answer = browser_of(alice, enforce_csrf_checks=True).post(url, {"name": "x", "username": "alice"})
    assert answer.status_code == 403 and "Nothing was changed" in answer.content.decode()
    assert not AccessToken.objects.exists() and not Repository.objects.exists()


def test_a_tokens_value_is_shown_once(alice_browser, alice):
    made = alice_browser.post("/settings/tokens", {"name": "laptop", "role": "write"})
    token = AccessToken.objects.get(user=alice)
    page = made.content.decode()
    value = page.partition("<pre><code>")[2].partition("</code>")[0]
    assert value.startswith("hf_") and len(value) > 30 and token.role == "write"
    assert "no-store" in made["Cache-Control"]
    again = alice_browser.get("/settings/tokens").content.decode()
    assert value not in again and token.digest not in again and "laptop" in again
    assert Client(headers={"authorization": f"Bearer {value}"}).get("/api/whoami-v2").json()["name"] == "alice"


def test_a_revoked_token_is_refused(alice_browser, bob_browser, alice):
    value = create_token(alice, "old", "read")
    token = AccessToken.objects.get(user=alice)
    assert bob_browser.post(f"/settings/tokens/{token.pk}/revoke").status_code == 404
    assert alice_browser.post(f"/settings/tokens/{token.pk}/revoke")["Location"] == "/settings/tokens"
    assert "is revoked" in alice_browser.get("/settings/tokens").content.decode()
    assert Client(headers={"authorization": f"Bearer {value}"}).get("/api/whoami-v2").status_code == 401


@pytest.mark.parametrize("form", [{"name": ""}, {"name": "x", "role": "admin"}, {"name": "a\0b"}])
def test_a_token_which_can_not_be_made_is_a_sentence(alice_browser, form):
    answer = alice_browser.post("/settings/tokens", form)
    assert answer.status_code == 400 and 'role="alert"' in answer.content.decode()
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("url", ["/settings/tokens", "/new"])
def test_settings_ask_visitors_to_sign_in_and_refuse_tokens(url, visitor, alice):
    assert visitor.get(url)["Location"] == f"/login?next={url.replace('/', '%2F')}"
    narrow = Client(headers={"authorization": f"Bearer {create_token(alice, 'r', 'read')}", "accept": "text/html"})
    assert narrow.get(url).status_code == 403
    assert narrow.post(url, {"name": "wider", "role": "write"}).status_code == 403
    assert AccessToken.objects.count() == 1


def test_a_wrong_token_is_a_page_and_not_a_crash(alice):
    factories.make_repository(alice, "m")
    wrong = Client(headers={"authorization": "Bearer hf_wrong", "accept": "text/html"})
    answer = wrong.get("/alice/m")
    assert answer.status_code == 401 and "Invalid credentials" in answer.content.decode()


def test_a_new_repository(alice_browser, alice):
    create_organization("lab", alice)
    assert "<option>lab</option>" in alice_browser.get("/new?type=dataset").content.decode()
    form = {"type": "dataset", "owner": "lab", "name": "scans", "private": "on"}
    assert alice_browser.post("/new", form)["Location"] == "/datasets/lab/scans"
    assert Repository.objects.get().private
    again = alice_browser.post("/new", form)
    assert again.status_code == 400 and "already created" in again.content.decode()


@pytest.mark.parametrize(
    "change", [{"name": "../x"}, {"name": ""}, {"owner": "bob"}, {"type": "castle"}, {"name": "a\0"}]
)
def test_a_repository_which_can_not_be_made_is_a_sentence(alice_browser, bob, change):
    answer = alice_browser.post("/new", {"type": "model", "owner": "alice", "name": "x"} | change)
    assert answer.status_code == 400 and 'role="alert"' in answer.content.decode()
    assert not Repository.objects.exists()
