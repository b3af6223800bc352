"""What is the machine's fault is said as such, and never as a bug."""

import errno

import pytest
from django.db import OperationalError

from models_registry.repos import commits
from tests.factories import api_commit


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OperationalError("database is locked"), 503, "try again"),
        (OperationalError("database or disk is full"), 507, "disk is full"),
        (OSError(errno.ENOSPC, "No space left on device"), 507, "disk is full"),
    ],
)
def test_a_full_disk_and_a_busy_database(as_alice, model, monkeypatch, error, status, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(commits.git, "put", fail)
    answer = api_commit(as_alice, model, {"key": "file", "value": {"path": "x", "content": ""}})
    assert answer.status_code == status and words in answer.json()["error"]


def test_a_bug_is_still_a_bug(as_alice, model, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(commits.git, "put", fail)
    with pytest.raises(ZeroDivisionError):
        api_commit(as_alice, model, {"key": "file", "value": {"path": "x", "content": ""}})


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_a_line_break_in_an_address_gets_into_no_header(anonymous, model, accept):
    answer = anonymous.get("/alice/m/commit/main%0d%0aX-Evil:%201", headers={"Accept": accept})
    assert answer.status_code == 404 and "X-Evil" not in answer
    assert answer["X-Error-Message"].isprintable()
