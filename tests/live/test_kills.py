"""Processes which die at the worst moment: workers, web, clients, the whole hub. Nothing is lost, nothing comes twice."""

import contextlib
import hashlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live.conftest import REPORTS, write_model
from tests.live.hub_process import CLIENT_TOOL, PROJECT, Hub, is_web

pytestmark = pytest.mark.live
SEED = int(os.environ.get("LIVE_SEED", "20261122"))
LEASE = {"FITHUB_LEASE_SECONDS": "3"}
MakeHub = Callable[..., Hub]


# --- workers -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("round_", range(3))
def test_a_killed_worker_costs_a_lease_and_no_result(
    round_: int, make_hub: MakeHub, hub: Hub, fitted: str, small_model: Path
) -> None:
    rng = random.Random(f"{SEED} {round_}")
    shaken = make_hub(**LEASE)
    shaken.push("alice/m", small_model)
    killed: set[int] = set()
    while len(killed) < 4 and shaken.family("alice/m")["source"]["status"] == "making":
        time.sleep(rng.uniform(0.1, 3.0))
        # A job may lose its worker three times before the hub gives it up: each one is hit once.
        if heavy_jobs_running(shaken, "alice/m") - killed:
            for worker in shaken.workers("heavy"):
                worker.kill()
            # Asked again: what ran before the blow may have ended, and the next one begun.
            killed |= heavy_jobs_running(shaken, "alice/m")
    shaken.wait_family("alice/m")
    assert len(killed) >= 3, "the family was complete before it was disturbed: make the pauses shorter"
    expect_whole_family(shaken, "alice/m", like=hub.family(fitted))
    jobs = {job["id"]: job for job in shaken.jobs("alice/m")}
    assert all(job["state"] == "done" for job in jobs.values()), jobs
    assert all(jobs[number]["attempts"] > 1 for number in killed), [jobs[number] for number in killed]
    expect_clean_folders(shaken)


def heavy_jobs_running(hub: Hub, repo: str) -> set[int]:
    return {job["id"] for job in hub.jobs(repo) if job["state"] == "running" and job["kind"] != "scan_files"}


def test_two_workers_publish_once(make_hub: MakeHub, hub: Hub, fitted: str, small_model: Path, tmp_path: Path) -> None:
    """A second machine on the same database; the first is frozen until it has lost its lease, then wakes up."""
    shaken = make_hub(**LEASE)
    (tmp_path / "other").mkdir()
    log = shaken.log_path.open("ab")
    second = subprocess.Popen(
        [sys.executable, "manage.py", "run_worker", "--queue", "heavy"], cwd=PROJECT,
        env=shaken.env | {"TMPDIR": str(tmp_path / "other")}, stdout=subprocess.DEVNULL, stderr=log,
    )  # fmt: skip
    try:
        for number in range(3):
            shaken.push(
                f"alice/m{number}",
                small_model if number == 0 else write_model(tmp_path / f"m{number}", hidden=40 + number),
            )
        frozen = [worker for worker in shaken.workers("heavy") if worker.pid != second.pid]
        for _ in range(3):
            for worker in frozen:
                worker.suspend()
            time.sleep(4.5)
            for worker in frozen:
                worker.resume()
            time.sleep(2)
        if not re.search(r"lost its (lease|worker)", shaken.log):
            REPORTS.append("two workers: no lease was lost this time, the frozen worker had nothing in hand")
        for number in range(3):
            shaken.wait_family(f"alice/m{number}")
            expect_whole_family(shaken, f"alice/m{number}", like=hub.family(fitted) if number == 0 else None)
    finally:
        second.terminate()
        second.wait(timeout=20)
        log.close()
    expect_clean_folders(shaken)


def expect_whole_family(hub: Hub, repo: str, like: dict[str, Any] | None) -> None:
    """Everything is made and measured, as in an undisturbed hub; published once; refs and tables agree."""
    family = hub.family(repo)
    assert family["source"]["status"] == "ready" and not family["source"]["reason"], family["source"]
    ready = {variant["name"]: variant for variant in family["variants"] if variant["status"] == "ready"}
    assert all(variant["footprints"] for variant in ready.values())
    if like:
        wanted = {v["name"]: (v["status"], v["files"]) for v in like["variants"]}
        assert {v["name"]: (v["status"], v["files"]) for v in family["variants"]} == wanted
    published = re.findall(rf"published (\S+) of {re.escape(repo)} as", hub.log)
    assert sorted(published) == sorted(ready), published
    refs = {ref["name"]: ref["targetCommit"] for ref in hub.get(f"/api/models/{repo}/refs")["variants"]}
    assert refs == {name: variant["commit"] for name, variant in ready.items()}
    tree = hub.get(f"/api/models/{repo}/tree/refs%2Fconvert%2Fonnx?recursive=true")
    sums = {row["path"]: row["lfs"]["oid"] for row in tree if "lfs" in row}
    for variant in ready.values():
        for file in variant["files"]:
            if file["path"].startswith("onnx/"):
                assert sums[file["path"]] == file["sha256"], file
                body = hub.call("GET", f"/{repo}/resolve/{variant['commit']}/{file['path']}").body
                assert hashlib.sha256(body).hexdigest() == file["sha256"]


def expect_clean_folders(hub: Hub) -> None:
    """No job's folder is left, what is stored is what its name says, and the sweeper takes old staged bytes away."""
    old = time.time() - 2 * 24 * 3600
    staging = hub.data / "storage" / "staging"
    for path in staging.iterdir() if staging.exists() else []:
        os.utime(path, (old, old))
    expect_soon(lambda: not list((hub.data / "work").iterdir()), 15, "job folders are left")
    memos = hub.data / "memos"
    expect_soon(lambda: not memos.exists() or not list(memos.iterdir()), 30, "what recipes shared is left")
    expect_soon(lambda: not staging.exists() or not list(staging.iterdir()), 15, "staged files are left")
    for path in (hub.data / "storage" / "blobs").glob("??/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def expect_soon(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


# --- cancel and stop ---------------------------------------------------------------------------------------------
def running_job(hub: Hub, repo: str, kind: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []

    def look() -> bool:
        found[:] = [
            job for job in hub.jobs(repo) if job["kind"] == kind and job["state"] == "running" and job["sandbox"]
        ]
        return bool(found)

    expect_soon(look, 60, f"no {kind} job of {repo} is running: {hub.jobs(repo)}")
    return found[0]


@pytest.mark.parametrize(("kind", "ends"), [("convert", "failed"), ("make_variant", "ready"), ("measure", "ready")])
def test_cancel_ends_a_running_job(kind: str, ends: str, hub: Hub, tmp_path: Path) -> None:
    repo = f"alice/cancelled-{kind.replace('_', '-')}"
    hub.push(repo, write_model(tmp_path / "model", hidden=60 + len(kind)))
    job = running_job(hub, repo, kind)
    path = f"/api/models/{repo}/jobs/{job['id']}"
    assert hub.call("POST", f"{path}/cancel", token=hub.tokens["bob"]).status == 403
    began = time.monotonic()
    assert hub.call("POST", f"{path}/cancel", token=hub.tokens["alice"]).status == 200
    expect_soon(lambda: hub.get(path)["state"] != "running", 8, "the job goes on")
    assert hub.get(path)["state"] == "cancelled", hub.get(path)
    assert time.monotonic() - began < 8
    family = hub.wait_family(repo)
    assert family["source"]["status"] == ends, family["source"]
    if kind == "make_variant":
        cancelled = [variant for variant in family["variants"] if "cancelled" in (variant["reason"] or "")]
        assert len(cancelled) == 1 and cancelled[0]["status"] == "failed", family["variants"]
    else:
        assert "cancelled" in family["source"]["reason"], family["source"]
    again = hub.call("POST", f"{path}/cancel", token=hub.tokens["alice"])
    assert again.status == 409 and "ended already" in again.error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_stopped_hub_goes_on_where_it_was(
    number: int, make_hub: MakeHub, hub: Hub, fitted: str, small_model: Path
) -> None:
    stopped = make_hub()  # with the lease of every day: what is given back must not wait for its end
    stopped.push("alice/m", small_model)
    job = running_job(stopped, "alice/m", "measure" if number == signal.SIGINT else "make_variant")
    assert stopped.stop(number) == []
    with contextlib.closing(sqlite3.connect(stopped.data / "fithub.sqlite3")) as rows:
        row = rows.execute("SELECT state, lease_token FROM jobs_job WHERE id = ?", (job["id"],)).fetchone()
    assert row == ("queued", None), "it was not given back"
    stopped.start()
    stopped.wait_family("alice/m")
    expect_whole_family(stopped, "alice/m", like=hub.family(fitted))
    assert {job["attempts"] for job in stopped.jobs("alice/m")} == {1}
    expect_clean_folders(stopped)


def test_deleting_a_repository_while_its_jobs_run(hub: Hub, tmp_path: Path) -> None:
    for number, kind in enumerate(("convert", "make_variant", "measure")):
        repo = f"alice/deleted-{number}"
        hub.push(repo, write_model(tmp_path / repo, hidden=70 + number))
        running_job(hub, repo, kind)
        body: dict[str, Any] = {"name": repo, "type": "model"}
        answer = hub.call("DELETE", "/api/repos/delete", body, token=hub.tokens["alice"])
        assert answer.status == 200, answer
        assert hub.call("GET", f"/api/models/{repo}", token=hub.tokens["alice"]).status == 404
    expect_soon(lambda: not list((hub.data / "work").iterdir()), 60, "job folders are left")


# --- web and clients ---------------------------------------------------------------------------------------------
def start_client(hub: Hub, calls: str) -> "subprocess.Popen[bytes]":
    client = subprocess.Popen(
        [sys.executable, str(CLIENT_TOOL)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=hub.client_environment() | {"HF_XET_HIGH_PERFORMANCE": "0"}, start_new_session=True,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write(calls.encode())
    client.stdin.close()
    client.stdin = None  # or `communicate` would flush it once more
    return client


def large_folder(folder: Path, seed: int, megabytes: int = 60) -> tuple[Path, dict[str, str]]:
    """Random files, and the SHA-256 of each."""
    rng, sums = random.Random(seed), {}
    folder.mkdir(parents=True)
    for number in range(3):
        data = rng.randbytes(megabytes * 1_000_000 // 3)
        (folder / f"part-{number}.bin").write_bytes(data)
        sums[f"part-{number}.bin"] = hashlib.sha256(data).hexdigest()
    return folder, sums


def upload_call(repo: str, folder: Path) -> str:
    return f'[{{"call": "upload_folder", "repo_id": "{repo}", "folder_path": "{folder}"}}]'


def listed(hub: Hub, repo: str) -> dict[str, str]:
    tree = hub.get(f"/api/models/{repo}/tree/main?recursive=true")
    return {row["path"]: row["lfs"]["oid"] for row in tree if "lfs" in row}


def commits(hub: Hub, repo: str) -> int:
    return len(hub.get(f"/api/models/{repo}/commits/main"))


@pytest.mark.parametrize("round_", range(3))
def test_a_client_killed_in_an_upload_leaves_nothing(round_: int, hub: Hub, tmp_path: Path) -> None:
    repo, rng = f"alice/half-{round_}", random.Random(f"{SEED} client {round_}")
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": repo}])[0]
    folder, sums = large_folder(tmp_path / "large", SEED + round_)
    client = start_client(hub, upload_call(repo, folder))
    wait_for_bytes(hub, client)
    time.sleep(rng.uniform(0, 0.3))
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
    time.sleep(0.5)  # what was under way comes to its end
    seen = listed(hub, repo)
    # Whole or not at all; and all of it, if the client was faster than the signal.
    expected = (({}, 1), (sums, 2)) if client.returncode == -signal.SIGKILL else ((sums, 2),)
    assert (seen, commits(hub, repo)) in expected, seen
    hub.push(repo, folder)
    assert listed(hub, repo) == sums
    expect_served(hub, repo, sums)


@pytest.mark.parametrize("master", [False, True], ids=["its workers", "granian and all"])
def test_web_killed_in_an_upload(master: bool, make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub()
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": "alice/half"}])[0]
    folder, sums = large_folder(tmp_path / "large", SEED)
    client = start_client(hub, upload_call("alice/half", folder))
    wait_for_bytes(hub, client)
    for process in hub.web():
        if master or is_web(process.parent()):
            kill(process)
    out, errors = client.communicate(timeout=200)
    expect_soon(lambda: is_ready(hub), 30, "the web did not come back")
    seen = listed(hub, "alice/half")
    assert seen in ({}, sums), seen
    assert commits(hub, "alice/half") == (2 if seen else 1), (out, errors)
    hub.push("alice/half", folder)
    assert listed(hub, "alice/half") == sums
    expect_served(hub, "alice/half", sums)


def test_a_web_whose_workers_died_and_were_not_replaced_is_started_anew(make_hub: MakeHub) -> None:
    """As when granian loses them: it is frozen here, so that it can not notice."""
    shaken = make_hub()
    masters = [p for p in shaken.web() if not is_web(p.parent())]
    for master in masters:
        workers = master.children(recursive=True)
        master.suspend()
        for worker in workers:
            worker.kill()

    def answers() -> bool:
        with contextlib.suppress(OSError):
            return shaken.call("GET", "/healthz", timeout=5).status == 200
        return False

    expect_soon(answers, 120, "the web stayed away")
    assert "nobody took connections" in shaken.log
    assert not any(master.is_running() and master.status() != psutil.STATUS_ZOMBIE for master in masters)


def test_web_killed_in_a_commit(make_hub: MakeHub) -> None:
    """The body of a commit is half there when the process which reads it dies."""
    import http.client

    hub = make_hub()
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": "alice/half"}])[0]
    lines = b'{"key":"header","value":{"summary":"half"}}\n{"key":"file","value":{"path":"a.txt","content":"YQ=="}}\n'
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=20)
    connection.putrequest("POST", "/api/models/alice/half/commit/main")
    for name, value in {
        "Authorization": f"Bearer {hub.tokens['alice']}", "Content-Type": "application/x-ndjson",
        "Content-Length": str(len(lines) + 1000),
    }.items():  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders(lines)
    time.sleep(0.5)
    for process in hub.web():
        kill(process)
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()
    expect_soon(lambda: is_ready(hub), 30, "the web did not come back")
    assert commits(hub, "alice/half") == 1
    answer = hub.call(
        "POST", "/api/models/alice/half/commit/main", lines, token=hub.tokens["alice"],
        headers={"Content-Type": "application/x-ndjson"},
    )  # fmt: skip
    assert answer.status == 200 and commits(hub, "alice/half") == 2


def wait_for_bytes(hub: Hub, client: "subprocess.Popen[bytes]") -> None:
    """Until the first bytes of an upload lie in the staging folder or the store."""
    storage = hub.data / "storage"
    before = sum(1 for _ in storage.rglob("*")) if storage.exists() else 0

    def arrived() -> bool:
        return client.poll() is not None or sum(1 for _ in storage.rglob("*")) > before

    expect_soon(arrived, 60, "nothing arrives")


def kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def is_ready(hub: Hub) -> bool:
    try:
        return hub.call("GET", "/healthz", timeout=5).status == 200
    except OSError:
        return False


def expect_served(hub: Hub, repo: str, sums: dict[str, str]) -> None:
    for path, sha256 in sums.items():
        body = hub.call("GET", f"/{repo}/resolve/main/{path}").body
        assert hashlib.sha256(body).hexdigest() == sha256
