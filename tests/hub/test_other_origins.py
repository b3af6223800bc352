"""Pages of other origins: what they may read, with whose rights, and what they may never do."""

import pytest
from django.test import Client

from tests.factories import make_repository, push

OTHER = {"Origin": "https://app.example"}
FILE = "/alice/m/resolve/main/w.bin"
READ = (
    FILE, "/alice/m/raw/main/a.txt", "/alice/m/resolve/main/missing.bin", "/api/models/alice/m", "/api/models", "/api/fit?memory=1GB",
    "/api/models/alice/m/fit?memory=1GB", "/api/models/alice/m/variants", "/api/devices", "/api/nothing-here",
)  # fmt: skip
NOT_READ = ("/", "/alice/m", "/alice/m/tree/raw/main", "/login", "/models?search=a", "/healthz", "/oauth/token")


@pytest.fixture
def pushed(model, alice):
    push(model, alice, {"w.bin": bytes(range(256)) * 40, "a.txt": b"hello"})
    return model


def preflight(client, url, method="GET", headers="authorization, range"):
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return client.options(url, headers=OTHER | asked)


@pytest.mark.parametrize("url", READ)
def test_what_anybody_may_read_another_origin_may_too(anonymous, pushed, url):
    answer = anonymous.get(url, headers=OTHER)
    assert answer["Access-Control-Allow-Origin"] == "*", "refusals are readable too: they say what to do"
    exposed = answer["Access-Control-Expose-Headers"].split(", ")
    assert {"X-Repo-Commit", "ETag", "Content-Range", "Content-Length", "Accept-Ranges", "X-Error-Message"} <= {
        *exposed
    }
    assert "Access-Control-Allow-Credentials" not in answer
    asked = preflight(anonymous, url)
    assert asked.status_code == 200 and asked["Access-Control-Allow-Origin"] == "*" and not asked.content
    assert "POST" not in asked["Access-Control-Allow-Methods"]
    assert {"authorization", "range"} <= {*asked["Access-Control-Allow-Headers"].split(", ")}


@pytest.mark.parametrize("url", NOT_READ)
def test_the_site_s_own_pages_are_for_nobody_else(anonymous, pushed, url):
    assert "Access-Control-Allow-Origin" not in anonymous.get(url, headers=OTHER)
    assert "Access-Control-Allow-Origin" not in preflight(anonymous, url)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "", "get"])
def test_another_origin_may_not_write(as_alice, pushed, method):
    url = "/api/repos/create" if method == "POST" else "/api/models/alice/m/settings"
    assert "Access-Control-Allow-Origin" not in preflight(as_alice, url, method)
    if method.isupper():
        sent = as_alice.generic(method, url, b"{}", "application/json", headers=OTHER)
        assert "Access-Control-Allow-Origin" not in sent


def test_cookies_open_nothing_there_and_a_token_what_it_always_opens(alice, as_alice):
    push(secret := make_repository(alice, "secret", private=True), alice, {"a.txt": b"x"})
    url = f"/{secret.full_name}/resolve/main/a.txt"
    browser = Client()
    browser.force_login(alice)
    answer = browser.get(url, headers=OTHER)
    # The file comes, and the browser keeps it from the page: without this header no cookies' answer is given to it.
    assert answer.status_code == 200 and "Access-Control-Allow-Credentials" not in answer
    assert answer["Access-Control-Allow-Origin"] == "*", "a browser refuses * for a request with cookies"
    assert as_alice.get(url, headers=OTHER).status_code == 200
    assert Client().get(url, headers=OTHER).status_code == 401


def test_an_administrator_names_the_origins_or_none(anonymous, pushed, settings):
    settings.CORS_ALLOW_ALL_ORIGINS, settings.CORS_ALLOWED_ORIGINS = False, ["https://app.example"]
    answer = anonymous.get(FILE, headers=OTHER)
    assert answer["Access-Control-Allow-Origin"] == "https://app.example" and "origin" in answer["Vary"].lower()
    for origin in ("https://evil.example", "https://app.example.evil", "http://app.example", "null", "::"):
        assert "Access-Control-Allow-Origin" not in anonymous.get(FILE, headers={"Origin": origin})
    settings.CORS_ALLOWED_ORIGINS = []
    assert "Access-Control-Allow-Origin" not in anonymous.get(FILE, headers=OTHER)
    assert "Access-Control-Allow-Origin" not in preflight(anonymous, FILE)
    assert anonymous.get(FILE).status_code == 200


def test_a_redirect_to_where_a_repository_moved_may_be_followed(as_alice, anonymous, pushed):
    moved = as_alice.post(
        "/api/repos/move", {"fromRepo": "alice/m", "toRepo": "alice/n", "type": "model"}, "application/json"
    )
    assert moved.status_code == 200, moved.content
    for url in (FILE, "/api/models/alice/m"):
        answer = anonymous.get(url, headers=OTHER)
        assert answer.status_code in (307, 308) and answer["Access-Control-Allow-Origin"] == "*"
