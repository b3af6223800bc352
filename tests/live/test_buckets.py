"""Buckets by the stock client: its whole API, its command line, its file system."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.hub_process import Hub

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("story", "checks"), [("bucket_story.py", 12), ("bucket_more.py", 6)])
def test_what_the_stock_client_does_with_buckets(story: str, checks: int, hub: Hub, tmp_path: Path) -> None:
    environment = hub.client_environment(tmp_path / "home") | {"BOB": hub.tokens["bob"]}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name(story))], env=environment, capture_output=True,
        text=True, check=False, timeout=600,
    )  # fmt: skip
    results = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    wrong = {name: text for name, text in results.items() if text != "ok"}
    assert not wrong, "\n".join(f"{name}:\n{text}" for name, text in wrong.items())
    assert len(results) == checks, done.stderr[-2000:]


def test_a_bucket_of_others_is_not_there(hub: Hub) -> None:
    token = hub.tokens["alice"]
    assert hub.call("POST", "/api/buckets/alice/own", {"visibility": "private"}, token=token).status == 200
    for path in ("/api/buckets/alice/own", "/api/buckets/alice/own/tree", "/buckets/alice/own/resolve/x"):
        missing = path.replace("own", "none")
        for other in (hub.tokens["bob"], None):
            answer, nothing = hub.call("GET", path, token=other), hub.call("GET", missing, token=other)
            assert answer.status == nothing.status == (404 if other else 401), (path, answer, nothing)
            assert answer.headers["x-error-code"] == nothing.headers["x-error-code"] == "RepoNotFound"
    assert hub.call("GET", "/api/buckets/alice/own/xet-write-token", token=hub.tokens["bob"]).status == 404
