"""Many clients at one branch, and a web process which dies at any moment of a commit, a merge or a git push."""

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import skip_or_fail
from tests.live.hub_process import Answer, Hub, outer_environment
from tests.live.test_kills import expect_soon, is_ready, kill

pytestmark = pytest.mark.live
SEED = int(os.environ.get("LIVE_SEED", "20261122"))
CLIENTS, COMMITS_EACH = 8, 6
REPO = "alice/raced"
API = f"/api/models/{REPO}"


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub which is hurt, with the repository alice/raced."""
    hub = Hub(tmp_path_factory.mktemp("raced")).start()
    try:
        hub.add_user("alice")
        assert post(hub, "/api/repos/create", {"name": "raced"}).status == 200
        yield hub
    finally:
        left = hub.stop()
    assert not left, left
    hub.check_log()
    hub.clear()


def post(hub: Hub, path: str, body: dict[str, Any], **options: Any) -> Answer:
    return hub.call("POST", path, body, token=hub.tokens["alice"], **options)


def commit(hub: Hub, path: str, branch: str = "main", parent: str | None = None, api: str = API) -> Answer:
    header = {"summary": f"Add {path}"} | ({"parentCommit": parent} if parent else {})
    lines = [{"key": "header", "value": header}, {"key": "file", "value": {"path": path, "content": "eA=="}}]
    body = "\n".join(json.dumps(line) for line in lines).encode()
    kind = {"Content-Type": "application/x-ndjson"}
    return hub.call("POST", f"{api}/commit/{branch}", body, token=hub.tokens["alice"], headers=kind, timeout=30)


def paths(hub: Hub, revision: str = "main") -> set[str]:
    """All of them: the listing's pages are followed."""
    found, url = set(), f"{API}/tree/{revision}?recursive=true"
    while url:
        answer = hub.call("GET", url, token=hub.tokens["alice"])
        assert answer.status == 200, answer
        found |= {row["path"] for row in answer.json() if row["type"] == "file"}
        link = answer.headers.get("link", "")
        url = link[1 : link.index(">")].removeprefix(hub.url) if link else ""
    return found


def head(hub: Hub, revision: str = "main") -> str:
    sha: str = hub.get(f"{API}/revision/{revision}")["sha"]
    return sha


@pytest.mark.parametrize("with_parent", [True, False], ids=["each names its parent", "nobody names a parent"])
def test_eight_clients_at_one_branch_lose_nothing(with_parent: bool, raced: Hub) -> None:
    hub, refused = raced, []
    before = int(hub.call("GET", f"{API}/commits/main?limit=1").headers["x-total-count"])
    folder = "parents" if with_parent else "free"

    def work(client: int) -> None:
        for number in range(COMMITS_EACH):
            for _ in range(200):
                answer = commit(hub, f"{folder}/{client}-{number}", parent=head(hub) if with_parent else None)
                if answer.status == 200:
                    break
                assert answer.status == 412, (answer.status, answer.body[:300])
                refused.append(client)
            else:
                raise AssertionError("no turn in 200 attempts")

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    wanted = {f"{folder}/{client}-{number}" for client in range(CLIENTS) for number in range(COMMITS_EACH)}
    assert wanted <= paths(hub)
    after = int(hub.call("GET", f"{API}/commits/main?limit=1").headers["x-total-count"])
    assert after - before == len(wanted), "a commit came twice, or one swallowed another"
    print(f"{len(wanted)} commits, {len(refused)} times 412")


# --- kill -9 -----------------------------------------------------------------------------------------------------
def killed_during(hub: Hub, rng: random.Random, act: Callable[[], Any], longest_s: float) -> Any:
    """Run the act in a thread, kill all of the web somewhere in it; what the act brought, or None when it broke."""
    brought: list[Any] = []

    def run() -> None:
        try:
            brought.append(act())
        except OSError:
            brought.append(None)
        except Exception as error:
            brought.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(rng.uniform(0, longest_s))
    for process in hub.web():
        kill(process)
    thread.join(60)
    expect_soon(lambda: is_ready(hub), 30, "the web did not come back")
    return brought[0] if brought else None


@pytest.mark.parametrize("round_", range(4))
def test_web_killed_at_any_moment_of_commits(round_: int, raced: Hub) -> None:
    hub, rng, taken = raced, random.Random(f"{SEED} commits {round_}"), []
    count = int(hub.call("GET", f"{API}/commits/main?limit=1").headers["x-total-count"])

    def act() -> None:
        for number in range(400):
            path = f"killed/{round_}-{number}"
            taken.append([path, 0])
            taken[-1][1] = commit(hub, path).status

    killed_during(hub, rng, act, 1.5)
    now = paths(hub)
    done = [path for path, status in taken if status == 200]
    assert set(done) <= now, "a commit which was confirmed is gone"
    open_path = taken[-1][0]
    there = open_path in now
    after = int(hub.call("GET", f"{API}/commits/main?limit=1").headers["x-total-count"])
    assert after - count == len(done) + (there and taken[-1][1] != 200), (count, after, len(done), taken[-1])
    assert commit(hub, open_path).status == 200 and open_path in paths(hub)
    print(f"round {round_}: killed after {len(done)} commits, the open one was {'whole' if there else 'not there'}")


@pytest.mark.parametrize("round_", range(4))
def test_web_killed_at_any_moment_of_a_merge(round_: int, raced: Hub) -> None:
    hub, rng = raced, random.Random(f"{SEED} merge {round_}")
    numbers = []
    for number in range(12):
        made = post(hub, f"{API}/discussions", {"title": f"PR {number}", "description": "x", "pullRequest": True})
        assert made.status == 200, made
        numbers.append(made.json()["num"])
        answer = commit(hub, f"merged/{round_}-{number}", branch=f"refs%2Fpr%2F{numbers[-1]}")
        assert answer.status == 200, answer
        assert post(hub, f"{API}/discussions/{numbers[-1]}/status", {"status": "open"}).status == 200
    answers: dict[int, int] = {}

    def act() -> None:
        for num in numbers:
            answers[num] = post(hub, f"{API}/discussions/{num}/merge", {}, timeout=30).status

    killed_during(hub, rng, act, 0.8)
    now, merged = paths(hub), 0
    for number, num in enumerate(numbers):
        status = hub.get(f"{API}/discussions/{num}")["status"]
        there = f"merged/{round_}-{number}" in now
        assert status in ("open", "merged") and there == (status == "merged"), (num, status, there)
        assert answers.get(num) != 200 or there, "a merge which was confirmed is gone"
        merged += there
        if not there:
            assert post(hub, f"{API}/discussions/{num}/merge", {}).status == 200
    assert {f"merged/{round_}-{number}" for number in range(12)} <= paths(hub)
    print(f"round {round_}: killed after {merged} of 12 merges")


def git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("git")
    if program is None:
        skip_or_fail("git is not installed")
    environment = outer_environment() | {
        "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
    }  # fmt: skip
    options = ["-c", "user.name=alice", "-c", "user.email=alice@example.org"]
    return subprocess.run(
        [str(program), *options, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize("round_", range(4))
def test_web_killed_at_any_moment_of_a_git_push(round_: int, raced: Hub, tmp_path: Path) -> None:
    hub, rng = raced, random.Random(f"{SEED} push {round_}")
    url = f"http://alice:{hub.tokens['alice']}@127.0.0.1:{hub.port}/{REPO}"
    assert git(tmp_path, "clone", "-q", url, "work").returncode == 0
    work = tmp_path / "work"
    for number in range(40):
        (work / f"pushed-{round_}-{number}.txt").write_text("x" * 5000 + str(rng.random()))
        assert git(work, "add", ".").returncode == 0
        assert git(work, "commit", "-q", "-m", f"Push {number}").returncode == 0
    wanted, before = git(work, "rev-parse", "HEAD").stdout.strip(), head(hub)
    done = killed_during(hub, rng, lambda: git(work, "push", "origin", "HEAD:main"), 1.2)
    seen = head(hub)
    assert seen in (before, wanted), (seen, before, wanted)
    assert not (done and done.returncode == 0) or seen == wanted, "a push which was confirmed is gone"
    again = git(work, "push", "origin", "HEAD:main")
    assert again.returncode == 0, again.stderr
    assert head(hub) == wanted
    assert git(tmp_path, "clone", "-q", url, "fresh").returncode == 0
    checked = git(tmp_path / "fresh", "fsck", "--full", "--strict")
    assert checked.returncode == 0 and git(tmp_path / "fresh", "rev-parse", "HEAD").stdout.strip() == wanted, checked
    print(f"round {round_}: the push was {'whole' if seen == wanted else 'not there'}")
