"""What all tests share: no network, a data folder a test, the assets if they are here."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from django.test import Client

from compression_service.ledger import pulls
from compression_service.selection import services as selection
from models_registry.repos import history
from models_registry.storage import blobstore
from tests import factories

ASSETS = Path(__file__).resolve().parents[2] / "shared" / "assets"


def pytest_runtest_setup(item: pytest.Item) -> None:
    from pytest_socket import socket_allow_hosts

    socket_allow_hosts(["127.0.0.1", "localhost", "::1"], allow_unix_socket=True)


def skip_or_fail(reason: str) -> None:
    """On a developer's machine a missing part skips its tests; in CI it is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (a skip is a failure in CI)")
    pytest.skip(reason)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything is installed first, so a skip there hides something: it fails the run."""
    if os.environ.get("CI") != "true" or hasattr(session.config, "workerinput"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    for report in skipped:
        print(f"\nskipped in CI: {report.nodeid}: {report.longrepr[-1] if report.longrepr else ''}")
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture
def assets() -> Path:
    """The folder of real and hostile files beside the project."""
    if not ASSETS.is_dir():
        pytest.skip("../shared/assets is not beside the project")
    return ASSETS


@pytest.fixture(autouse=True)
def data_folder(tmp_path_factory: pytest.TempPathFactory, settings) -> Iterator[Path]:
    """Each test stores its bytes in a folder of its own."""
    settings.FITHUB_DATA = tmp_path_factory.mktemp("data")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    blobstore.forget()
    history.forget()  # ids begin anew with every test's transaction
    selection.forget()
    pulls.forget()
    cache.clear()
    yield settings.FITHUB_DATA
    blobstore.forget()


@pytest.fixture
def alice(db):
    return factories.make_user("alice")


@pytest.fixture
def bob(db):
    return factories.make_user("bob")


@pytest.fixture
def model(alice):
    return factories.make_repository(alice, "m")


@pytest.fixture
def as_alice(alice) -> Client:
    return factories.client_of(alice)


@pytest.fixture
def as_bob(bob) -> Client:
    return factories.client_of(bob)


@pytest.fixture
def anonymous(db) -> Client:
    return Client()


# --- browsers: clients with a session which ask for HTML -----------------------------------------------------------
def _browser_of(user=None, **options) -> Client:
    client = Client(headers={"accept": "text/html"}, **options)
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture
def browser_of(db) -> Callable[..., Client]:
    return _browser_of


@pytest.fixture
def visitor(db) -> Client:
    return _browser_of()


@pytest.fixture
def alice_browser(alice) -> Client:
    return _browser_of(alice)


@pytest.fixture
def bob_browser(bob) -> Client:
    return _browser_of(bob)
