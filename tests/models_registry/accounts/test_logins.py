"""Signing in: tries are counted; devices are let in by their person (RFC 8628)."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from models_registry.accounts import logins
from models_registry.accounts.actors import Actor
from models_registry.accounts.models import AccessToken, DeviceGrant, RefreshToken, Throttle
from models_registry.accounts.throttles import Limit, address_of, count_try, forget_tries
from models_registry.accounts.tokens import actor_of_token, revoke_token
from models_registry.errors import Forbidden, NotFound, TooManyRequests
from tests.factories import PASSWORD, client_of, make_user

pytestmark = pytest.mark.django_db
CLIENT_ID = next(iter(logins.CLIENTS))
DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


@pytest.fixture
def device(db):
    """What a device gets when it begins."""
    answer = Client().post("/oauth/device", {"client_id": CLIENT_ID})
    assert answer.status_code == 200, answer.content
    return answer.json()


def ask(device, **change):
    fields = {"grant_type": DEVICE_CODE, "device_code": device["device_code"], "client_id": CLIENT_ID} | change
    return Client().post("/oauth/token", fields)


def renew(refresh_token: str, **change):
    fields = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": CLIENT_ID} | change
    return Client().post("/oauth/token", fields)


def approve(browser, device, answer="approve", **form):
    return browser.post("/oauth/device/answer", {"user_code": device["user_code"], "answer": answer} | form)


def later(seconds: int) -> None:
    """As if so much time had gone by since the device asked last."""
    DeviceGrant.objects.update(polled_at=timezone.now() - timedelta(seconds=seconds))


# --- devices --------------------------------------------------------------------------------------------------------
def test_a_device_is_let_in_once(device, alice_browser, alice):
    assert device["interval"] == 5 and device["expires_in"] == 900
    assert (
        device["verification_uri"].endswith("/oauth/device")
        and device["user_code"] in device["verification_uri_complete"]
    )
    waiting = ask(device)
    assert waiting.status_code == 400 and waiting.json()["error"] == "authorization_pending"
    page = alice_browser.get("/oauth/device", {"user_code": device["user_code"].lower()}).content.decode()
    assert (
        device["user_code"] in page and "command line of huggingface_hub" in page and "only if you started this" in page
    )
    assert "is signed in" in approve(alice_browser, device).content.decode()
    got = ask(device)
    assert got.status_code == 200 and got["Cache-Control"] == "no-store"
    tokens = got.json()
    assert tokens["token_type"] == "bearer" and tokens["expires_in"] > 24 * 3600, "the client renews on the last day"
    told = Client(headers={"authorization": f"Bearer {tokens['access_token']}"}).get("/api/whoami-v2").json()
    assert told["name"] == "alice" and told["auth"]["accessToken"]["role"] == "write"
    assert tokens["access_token"] not in str(vars(AccessToken.objects.get()))
    assert ask(device).json()["error"] == "invalid_grant", "a device code is used once"


def test_a_person_may_let_a_device_only_read(device, alice_browser):
    approve(alice_browser, device, role="read")
    actor = actor_of_token(ask(device).json()["access_token"])
    assert actor is not None and not actor.may_write
    assert approve(alice_browser, device, role="admin").status_code == 403


def test_a_denied_device_is_told(device, alice_browser):
    assert "was refused" in approve(alice_browser, device, "deny").content.decode()
    assert ask(device).json()["error"] == "access_denied" and not AccessToken.objects.exists()
    assert approve(alice_browser, device).status_code == 404, "the answer stands"


def test_a_device_which_asks_too_often_slows_down(device):
    assert ask(device).json()["error"] == "authorization_pending"
    assert ask(device).json()["error"] == "slow_down"
    later(7)
    assert ask(device).json()["error"] == "slow_down", "the interval has grown to 10 s"
    later(20)
    assert ask(device).json()["error"] == "authorization_pending"


def test_a_code_which_is_late_is_told_and_let_in_no_more(device, alice_browser):
    DeviceGrant.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert ask(device).json()["error"] == "expired_token"
    assert approve(alice_browser, device).status_code == 404
    approved = DeviceGrant.objects.get()
    DeviceGrant.objects.update(status="approved", user=make_user("carol"))
    assert ask(device).json()["error"] == "expired_token" and approved.status == "pending"


def test_an_inactive_user_gets_nothing(device, alice_browser, alice):
    approve(alice_browser, device)
    alice.is_active = False
    alice.save()
    assert ask(device).json()["error"] == "access_denied"


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"device_code": "hf_device_guess"}, "invalid_grant"), ({"client_id": "other"}, "invalid_grant"),
        ({"grant_type": "password"}, "unsupported_grant_type"), ({"device_code": "a\0b"}, "invalid_grant"),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange"}, "unsupported_grant_type"),
    ],
)  # fmt: skip
def test_what_the_token_route_refuses(device, alice_browser, change, error):
    approve(alice_browser, device)
    answer = ask(device, **change)
    assert answer.status_code == 400 and answer.json()["error"] == error and answer.json()["error_description"]
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("body", ["", "grant_type", "{", "[]", '{"grant_type": 1}'])
@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
@pytest.mark.parametrize("url", ["/oauth/token", "/oauth/device"])
def test_bad_bodies_are_no_crash(db, body, kind, url):
    answer = Client().post(url, body, content_type=kind)
    assert answer.status_code == 400 and answer.json()["error"]
    assert len(Client().post(url, "x" * 70_000, content_type=kind).content) and not DeviceGrant.objects.exists()
    assert Client().post(url, "x" * 70_000, content_type=kind).status_code == 413


def test_an_unknown_client_gets_no_code(db):
    answer = Client().post("/oauth/device", {"client_id": "mine"})
    assert answer.status_code == 401 and answer.json()["error"] == "invalid_client" and not DeviceGrant.objects.exists()


def test_only_a_person_in_a_browser_answers(device, alice, browser_of):
    url = {"user_code": device["user_code"], "answer": "approve"}
    assert Client().post("/oauth/device/answer", url)["Location"].startswith("/login")
    assert client_of(alice).post("/oauth/device/answer", url).status_code == 403
    assert browser_of(alice, enforce_csrf_checks=True).post("/oauth/device/answer", url).status_code == 403
    assert (
        Client()
        .get(f"/oauth/device?user_code={device['user_code']}")["Location"]
        .startswith("/login?next=%2Foauth%2Fdevice")
    )
    with pytest.raises(Forbidden):
        logins.answer_grant(Actor(), device["user_code"], "1.2.3.4", approve=True)
    assert DeviceGrant.objects.get().status == "pending"


def test_codes_can_not_be_guessed(device, alice_browser, alice):
    for number in range(10):
        assert alice_browser.get("/oauth/device", {"user_code": f"BCDF-{number}"}).status_code == 404
    blocked = alice_browser.get("/oauth/device", {"user_code": "BCDFGHJK"})
    assert blocked.status_code == 429 and int(blocked["Retry-After"]) > 0
    with pytest.raises(NotFound):
        logins.find_grant(Actor(make_user("carol")), "\0", "9.9.9.9")


# --- renewing -------------------------------------------------------------------------------------------------------
@pytest.fixture
def tokens(device, alice_browser):
    approve(alice_browser, device)
    return ask(device).json()


def test_a_refresh_token_renews_and_the_old_value_holds_a_little(tokens):
    new = renew(tokens["refresh_token"]).json()
    assert actor_of_token(new["access_token"]) and new["refresh_token"] != tokens["refresh_token"]
    old = AccessToken.objects.order_by("pk").first()
    assert old.expires_at < timezone.now() + timedelta(hours=2), "programs which hold it may end their work"
    assert renew(tokens["refresh_token"]).status_code == 200, "an answer which was lost is asked for again"


def test_a_refresh_token_which_is_used_again_later_ends_the_login(tokens):
    new = renew(tokens["refresh_token"]).json()
    RefreshToken.objects.exclude(used_at=None).update(used_at=timezone.now() - timedelta(minutes=5))
    answer = renew(tokens["refresh_token"])
    assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant"
    assert actor_of_token(new["access_token"]) is None and renew(new["refresh_token"]).status_code == 400


@pytest.mark.parametrize("change", [{"refresh_token": "hf_refresh_guess"}, {"client_id": "other"}])
def test_refresh_tokens_which_are_refused(tokens, change):
    assert renew(**{"refresh_token": tokens["refresh_token"]} | change).json()["error"] == "invalid_grant"


def test_an_ended_refresh_token_is_refused(tokens):
    RefreshToken.objects.update(expires_at=timezone.now())
    assert renew(tokens["refresh_token"]).json()["error"] == "invalid_grant"


def test_an_access_token_which_ended_can_still_be_renewed(tokens, alice):
    AccessToken.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert actor_of_token(tokens["access_token"]) is None
    assert actor_of_token(renew(tokens["refresh_token"]).json()["access_token"])


def test_revoking_one_token_of_a_login_ends_all_of_it(tokens, alice):
    new = renew(tokens["refresh_token"]).json()
    revoke_token(alice, AccessToken.objects.order_by("pk").first().pk)
    assert not AccessToken.objects.exists() and renew(new["refresh_token"]).status_code == 400


# --- how often ------------------------------------------------------------------------------------------------------
def test_guessing_a_password_is_slowed_down_by_name_and_address(visitor, alice):
    for _ in range(10):
        assert visitor.post("/login", {"username": "alice", "password": "wrong"}).status_code == 401
    for password in ("wrong", PASSWORD):
        blocked = visitor.post("/login", {"username": "alice", "password": password})
        assert blocked.status_code == 429 and 0 < int(blocked["Retry-After"]) <= 300
        assert "r=0;t=" in blocked["RateLimit"] and "Too many tries" in blocked.content.decode()
    elsewhere = Client(headers={"accept": "text/html"}, REMOTE_ADDR="9.9.9.9")
    assert elsewhere.post("/login", {"username": "ALICE", "password": "wrong"}).status_code == 401
    assert elsewhere.post("/login", {"username": "alice", "password": PASSWORD}).status_code == 302


def test_a_success_forgets_the_tries_before(visitor, alice):
    for _ in range(3):
        for _ in range(6):
            visitor.post("/login", {"username": "alice", "password": "wrong"})
        assert visitor.post("/login", {"username": "alice", "password": PASSWORD}).status_code == 302


def test_a_window_ends_and_old_windows_are_swept(db):
    limit = Limit("test", 2, 60)
    for _ in range(2):
        count_try(limit, "x")
    with pytest.raises(TooManyRequests) as refused:
        count_try(limit, "x")
    assert refused.value.headers["Retry-After"] in ("59", "60")
    count_try(limit, "y")
    Throttle.objects.update(ends_at=timezone.now() - timedelta(hours=2))
    count_try(limit, "x")
    count_try(limit, "z")
    assert Throttle.objects.count() == 2
    forget_tries(limit, "x")
    assert Throttle.objects.count() == 1


@pytest.mark.parametrize(
    ("proxies", "header", "found"),
    [(0, "6.6.6.6", "127.0.0.1"), (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"), (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
     (1, "", "127.0.0.1"), (2, "1.1.1.1", "127.0.0.1")],
)  # fmt: skip
def test_an_address_is_believed_as_far_as_the_proxies_reach(rf, settings, proxies, header, found):
    settings.FITHUB_PROXIES = proxies
    assert address_of(rf.get("/", headers={"x-forwarded-for": header})) == found
