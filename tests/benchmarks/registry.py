"""The registry: commits beside git's, resolving and listing beside a static file, downloads beside a plain copy."""

import base64
import http.client
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.clock import compare, line, seconds_of
from tests.live.hub_process import Hub

MODEL = "alice/bench"
FILE_MB = 200
BATCH = 50


def run(database: str, hub: Hub) -> None:
    client = Client(hub)
    client.json("POST", "/api/repos/create", {"name": "bench"})
    with tempfile.TemporaryDirectory() as folder:
        commits(database, client, Path(folder))
        reads(database, client)
        downloads(database, hub, client, Path(folder))


def commits(database: str, client: "Client", folder: Path) -> None:
    git = Git(folder / "git")
    ours, theirs = compare(15, client.commit_next, lambda: git.commit(1))
    line(database, "commit of 1 file", ours, "git add + commit", theirs)
    ours, theirs = compare(3, lambda: client.commit_next(1000), lambda: git.commit(1000))
    line(database, "commit of 1,000 files", ours, "git add + commit", theirs)


def reads(database: str, client: "Client") -> None:
    for number in range(60):
        client.json("POST", "/api/repos/create", {"name": f"listed-{number}"})
    static = client.repeat("GET", "/static/avatar.svg")
    paths = {
        "resolve (HEAD) among 3,000 files": ("HEAD", f"/{MODEL}/resolve/main/d7/f7.txt"),
        "model info": ("GET", f"/api/models/{MODEL}/revision/main?expand=sha"),
        "listing of 50 repositories": ("GET", "/api/models?limit=50"),
        "tree of 1,000 of 3,000 files": ("GET", f"/api/models/{MODEL}/tree/main?recursive=true&limit=1000"),
        "fit answer": ("GET", f"/api/models/{MODEL}/fit?memory=512MB"),
    }
    for what, (method, path) in paths.items():
        ours, theirs = compare(3, client.repeat(method, path), static)
        line(database, what, ours, "a static file", theirs, BATCH)


def downloads(database: str, hub: Hub, client: "Client", folder: Path) -> None:
    source = folder / "big.bin"
    source.write_bytes(os.urandom(FILE_MB * 1_000_000))
    target = folder / "copy.bin"

    def copy() -> None:
        with source.open("rb") as read, target.open("wb") as write:
            while block := read.read(1024 * 1024):
                write.write(block)

    for what, environment in (("kept whole (LFS)", {"HF_HUB_DISABLE_XET": "1"}), ("kept as xorbs (Xet)", {})):
        name = "lfs.bin" if environment else "xet.bin"
        argv = [Path(hub.python).with_name("hf"), "upload", MODEL, str(source), name]
        pushing = seconds_of(lambda a=argv, e=environment: subprocess.run(
            a, env=hub.client_environment() | e, check=True, capture_output=True))  # type: ignore[misc]  # fmt: skip
        copying = seconds_of(copy)
        line(database, f"push of {FILE_MB} MB, {what}", pushing, "a plain copy", copying)
        ours, theirs = compare(3, lambda n=name: client.download(f"/{MODEL}/resolve/main/{n}", target), copy)  # type: ignore[misc]
        line(database, f"download of {FILE_MB} MB, {what}", ours, "a plain copy", theirs)


class Client:
    """One kept-alive connection, as a client's single stream is."""

    def __init__(self, hub: Hub) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=120)
        self.headers = {"Authorization": f"Bearer {hub.tokens['alice']}"}
        self.count = 0

    def json(self, method: str, path: str, body: object) -> None:
        self.send(method, path, json.dumps(body).encode(), "application/json")

    def send(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = self.headers | ({"Content-Type": kind} if kind else {})
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return data

    def commit_next(self, files: int = 1) -> None:
        lines: list[object] = [{"key": "header", "value": {"summary": "bench"}}]
        for number in range(files):
            self.count += 1
            path = f"d{number % 10}/f{number}.txt"
            content = base64.b64encode(str(self.count).encode()).decode()
            lines.append({"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}})
        body = "\n".join(json.dumps(row) for row in lines).encode()
        self.send("POST", f"/api/models/{MODEL}/commit/main", body, "application/x-ndjson")

    def repeat(self, method: str, path: str) -> Callable[[], None]:
        def go() -> None:
            for _ in range(BATCH):
                self.send(method, path)

        return go

    def download(self, path: str, target: Path) -> None:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        with target.open("wb") as file:
            while block := answer.read(1024 * 1024):
                file.write(block)


class Git:
    """The yardstick for commits: git itself in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        folder.mkdir()
        self.run("init", "-q")

    def commit(self, files: int) -> None:
        for number in range(files):
            self.count += 1
            path = self.folder / f"d{number % 10}" / f"f{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(str(self.count))
        self.run("add", ".")
        self.run("-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "bench")

    def run(self, *arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=self.folder, check=True, capture_output=True)
