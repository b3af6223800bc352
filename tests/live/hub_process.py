"""A hub of its own for live tests: `manage.py run` as a process, with its own port, data and temporary folder."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[2]
CLIENT_TOOL = Path(__file__).with_name("client_tool.py")
START_S, STOP_S = 120, 20
_OUTER = ("FITHUB_", "HF_", "S3_", "DJANGO_", "SECRET_KEY", "DATABASE_URL", "BROKER_URL", "FILE_DELIVERY")
WORDS_OF_A_BROKEN_HUB = ("Traceback (most recent call last)", "Internal Server Error")


@dataclass(frozen=True)
class Answer:
    """What a request brought. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The hub's sentence, "" where there is none."""
        try:
            data = self.json()
        except ValueError:
            return ""
        return str(data.get("error", "")) if isinstance(data, dict) else ""


class Hub:
    """One hub. `tokens` holds a write token for each user, and `<user>:read`."""

    def __init__(self, folder: Path, python: str = sys.executable, **environment: str) -> None:
        self.folder, self.python = folder, python
        self.data, self.log_path = folder / "data", folder / "hub.log"
        self.temporary = folder / "tmp"
        for path in (self.data, self.temporary, folder / "home"):
            path.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.tokens: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.env = outer_environment() | {
            "FITHUB_DATA": str(self.data),
            "FITHUB_PORT": str(self.port),
            "FITHUB_MEASURE_SECONDS": "0.2",
            "FITHUB_ALLOWANCE_SECONDS": "21",  # the first four recipes of a small model: there are many
            # Its own folder, so that the slot of the machine is not shared with hubs which other people run here.
            "TMPDIR": str(self.temporary),
            "PYTHONUNBUFFERED": "1",
            **environment,
        }

    # --- its life ------------------------------------------------------------------------------------------------
    def start(self) -> "Hub":
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, "manage.py", "run"], cwd=PROJECT, env=self.env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the hub ended at its start:\n{self.log[-3000:]}"
            try:
                if self.call("GET", "/healthz", timeout=5).status == 200:
                    return self
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"the hub was not ready within {START_S} s:\n{self.log[-3000:]}")

    def stop(self, number: int = signal.SIGINT) -> list[str]:
        """Ask it to end; returns the command lines of what still runs after STOP_S (which is then killed)."""
        if self.process is None:
            return []
        if self.process.poll() is None:
            self.process.send_signal(number)
        deadline = time.monotonic() + STOP_S
        while (left := self.processes()) and time.monotonic() < deadline:
            self.process.poll()
            time.sleep(0.1)
        names = [f"{process.pid} {' '.join(_command(process))[:200]}" for process in left]
        for process in left:
            process.kill()
        self.process.wait(timeout=10)
        self.process = None
        return names

    def processes(self) -> list[psutil.Process]:
        """Everything which runs for this hub: by its data folder in the environment, arguments or working folder."""
        mark, found = str(self.data), []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                own = process.environ().get("FITHUB_DATA") == mark or process.cwd().startswith(mark)
                if own or any(mark in word for word in process.cmdline()):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def workers(self, queue: str) -> list[psutil.Process]:
        return [p for p in self.processes() if _command(p)[-3:] == ["run_worker", "--queue", queue]]

    def web(self) -> list[psutil.Process]:
        """granian and the processes which it started."""
        masters = [p for p in self.processes() if is_web(p)]
        children = [child for master in masters for child in master.children(recursive=True)]
        return list({process.pid: process for process in (*masters, *children)}.values())

    def check_log(self, allowed: Iterable[str] = ()) -> None:
        lines = self.log.splitlines()
        bad = [
            number
            for number, line in enumerate(lines)
            if any(word in line for word in WORDS_OF_A_BROKEN_HUB) and not any(word in line for word in allowed)
        ]
        assert not bad, "the hub's log holds errors:\n" + "\n".join(lines[max(0, bad[0] - 3) : bad[0] + 40])

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- what people do with it ----------------------------------------------------------------------------------
    def manage(self, *arguments: str, check: bool = True, timeout: float = 120) -> str:
        """Run a command of manage.py against this hub's data; returns what it printed."""
        done = subprocess.run(
            [self.python, "manage.py", *arguments], cwd=PROJECT, env=self.env, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"manage.py {' '.join(arguments)}: {done.stderr[-2000:]}"
        return done.stdout.strip()

    def add_user(self, name: str, *, read_token: bool = False) -> None:
        self.manage("create_user", name)
        self.tokens[name] = self.manage("create_token", name, "--role", "write", "--name", "live tests")
        if read_token:
            self.tokens[f"{name}:read"] = self.manage("create_token", name, "--role", "read", "--name", "reader")

    def call(
        self,
        method: str,
        path: str,
        body: bytes | dict[str, Any] | None = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request, its path sent as it is given."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        if isinstance(body, dict):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def get(self, path: str, user: str = "alice") -> Any:
        """The JSON at a path, which must be there."""
        answer = self.call("GET", path, token=self.tokens[user])
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:500]!r}"
        return answer.json()

    def client_environment(self, home: Path | None = None, user: str = "alice") -> dict[str, str]:
        """For a client which knows nothing but this hub."""
        return outer_environment() | {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home or self.folder / "home"),
            "HF_TOKEN": self.tokens[user],
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "DO_NOT_TRACK": "1",
        }

    def client(self, calls: list[dict[str, Any]], user: str = "alice", timeout: float = 600) -> list[dict[str, Any]]:
        """Call methods of HfApi in a process of their own: [{"call": name, …arguments}] → [{"value"} or {"error"}]."""
        done = subprocess.run(
            [sys.executable, str(CLIENT_TOOL)], input=json.dumps(calls), env=self.client_environment(user=user),
            capture_output=True, text=True, check=False, timeout=timeout,
        )  # fmt: skip
        assert done.returncode == 0, f"the client broke: {done.stderr[-3000:]}"
        results: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return results

    def push(self, repo: str, folder: Path, kind: str = "model") -> None:
        """create_repo and upload_folder with the stock client."""
        calls = [
            {"call": "create_repo", "repo_id": repo, "repo_type": kind, "exist_ok": True},
            {"call": "upload_folder", "repo_id": repo, "repo_type": kind, "folder_path": str(folder)},
        ]
        for result in self.client(calls):
            assert "error" not in result, result

    def family(self, repo: str) -> dict[str, Any]:
        family: dict[str, Any] = self.get(f"/api/models/{repo}/variants")
        return family

    def jobs(self, repo: str) -> list[dict[str, Any]]:
        """Newest first."""
        jobs: list[dict[str, Any]] = self.get(f"/api/models/{repo}/jobs")
        return jobs

    def wait_family(self, repo: str, seconds: float = 900) -> dict[str, Any]:
        """The family of variants once nothing is being made or measured any more."""
        deadline = time.monotonic() + seconds
        while True:
            family = self.family(repo)
            if family["source"] and family["source"]["status"] != "making":
                return family
            if time.monotonic() > deadline:
                jobs = [(job["kind"], job["state"], job["progress"], job["message"]) for job in self.jobs(repo)]
                raise AssertionError(f"{repo} was not complete within {seconds:.0f} s: {jobs}\n{self.log[-2000:]}")
            time.sleep(0.3)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def outer_environment() -> dict[str, str]:
    """This process's environment without what would configure a hub or a client."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OUTER)}


def is_web(process: psutil.Process | None) -> bool:
    """Whether it is granian, or one of its processes."""
    return process is not None and _command(process)[1:] == ["-m", "hub.web"]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return [""]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
