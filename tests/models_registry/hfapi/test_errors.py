"""What is the machine's fault is said as such, and never as a bug."""

import errno

import pytest
from django.db import OperationalError

from models_registry.repos import commits
from tests.factories import api_commit, make_repository


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


@pytest.mark.parametrize(
    "path",
    [
        "/api/models/gpt2", "/api/datasets/squad/revision/main", "/api/models/gpt2/commits/main", "/api/models/gpt2/refs",
        "/api/models/gpt2/tree/main/x", "/api/spaces/gpt2/discussions/3", "/gpt2/resolve/main/config.json",
        "/datasets/squad/resolve/main/x", "/gpt2/raw/main/config.json", "/api/models/gpt2/user-access-request/pending",
    ],
)  # fmt: skip
def test_a_name_of_one_word_is_a_repository_which_is_not_there(anonymous, as_bob, path):
    for client, status in ((anonymous, 401), (as_bob, 404)):
        answer = client.get(path)
        assert (answer.status_code, answer["X-Error-Code"]) == (status, "RepoNotFound"), answer.content


def test_writes_to_a_name_of_one_word(as_bob):
    for path in ("/api/models/gpt2/preupload/main", "/api/models/gpt2/commit/main", "/api/models/gpt2/paths-info/main"):
        answer = as_bob.post(path, "{}", content_type="application/json")
        assert (answer.status_code, answer["X-Error-Code"]) == (404, "RepoNotFound"), answer.content
    for path in ("/api/models", "/api/nowhere/gpt2", "/api/models/a/b/nowhere"):
        assert "X-Error-Code" not in as_bob.get(path)


def test_a_repository_may_be_called_raw(as_alice, alice):
    make_repository(alice, "raw", files={"a.txt": b"a"})
    assert as_alice.get("/alice/raw/resolve/main/a.txt").status_code == 200
    assert as_alice.get("/alice/raw/tree/main", headers={"Accept": "text/html"}).status_code == 200
