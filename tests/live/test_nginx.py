"""docker/nginx.conf with FILE_DELIVERY=accel: nginx sends the bytes, and hands on what the hub said of them."""

import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import pytest

from tests.benchmarks.delivery import send_whole
from tests.conftest import skip_or_fail
from tests.live.hub_process import PROJECT, Hub, _free_port

pytestmark = pytest.mark.live
DATA = os.urandom(300_000)
SAID = (
    "ETag", "X-Repo-Commit", "X-Linked-Etag", "X-Linked-Size", "X-Request-Id", "X-Content-Type-Options",
    "Content-Security-Policy", "Content-Disposition", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers",
)  # fmt: skip


@contextmanager
def nginx(folder: Path, hub: Hub) -> Iterator[str]:
    """The shipped configuration in front of a hub; its address."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        skip_or_fail("nginx is not installed")
    port = _free_port()
    server = (PROJECT / "docker" / "nginx.conf").read_text()
    storage = hub.data / "storage"
    for shipped, here in (
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("http://web:8000", hub.url),
        ("/data/storage/", f"{storage}/"),
    ):
        assert shipped in server
        server = server.replace(shipped, here)
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} pid {folder}/pid; error_log {folder}/error.log; daemon off; events {{}}\n"
        f"http {{ access_log off; {temporary}\n{server}\n}}\n"
    )
    process = subprocess.Popen([str(program), "-c", str(folder / "nginx.conf"), "-p", str(folder)])
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            assert process.poll() is None and time.monotonic() < deadline, (folder / "error.log").read_text()
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_file_comes_from_nginx_as_the_hub_described_it(make_hub: Callable[..., Hub], tmp_path: Path):
    hub = make_hub(FILE_DELIVERY="accel")
    send_whole(hub, "alice/m", "w.bin", DATA)
    with nginx(tmp_path, hub) as front:
        url = f"{front}/alice/m/resolve/main/w.bin"

        def get(method: str = "GET", **headers: str) -> "tuple[int, Message, bytes]":
            asked = urllib.request.Request(url, method=method, headers={"Origin": "https://app.example", **headers})
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()

        _, head, _ = get("HEAD")
        status, whole, body = get()
        assert (status, body) == (200, DATA) and whole["Server"].startswith("nginx")
        for name in SAID:
            assert name in whole and (name == "X-Request-Id" or whole[name] == head[name]), name
        assert whole["Access-Control-Allow-Origin"] == "*" and "X-Accel-Redirect" not in whole
        status, part, body = get(Range="bytes=10-19")
        assert (status, body, part.get("ETag")) == (206, DATA[10:20], head["ETag"]), part
        assert part["Content-Range"] == f"bytes 10-19/{len(DATA)}"
