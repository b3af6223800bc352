"""Whole files going out: beside nginx with the same file, through nginx (accel), and the API while 100 slow clients read."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.clock import compare
from tests.live.hub_process import Hub, _free_port

MB = 1024 * 1024
SIZE_MB = int(os.environ.get("BENCHMARK_FILE_MB", "200"))
TURNS = 15
REPO, NAME = "alice/out", "large.bin"
_CONFIGURATION = """
{user}daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 2;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location /plain/ {{ alias {storage}/; }}
    location /fithub-storage/ {{ internal; alias {storage}/; }}
    location / {{ proxy_pass http://127.0.0.1:{hub}; proxy_set_header Host $http_host; proxy_http_version 1.1; }}
  }}
}}
"""


def run(database: str, hub: Hub) -> None:
    """Print nginx's seconds, ours, and the ratio (nginx over ours: 1 is as fast)."""
    if shutil.which("nginx") is None:
        print("delivery left out: nginx is not here (Debian: apt-get install nginx-light)")
        return
    with tempfile.TemporaryDirectory(prefix="fithub-bench-") as folder:
        key = send_whole(hub, REPO, NAME, os.urandom(SIZE_MB * MB))
        resolve = f"/{REPO}/resolve/main/{NAME}"
        with nginx(Path(folder), hub) as port:
            for streams in (1, 8):
                _compare(database, "the hub", (hub.port, resolve), (port, f"/plain/{key}"), streams)
        idle = _api_ms(hub)
        with _slow_readers(hub.port, resolve, 100):
            busy = _api_ms(hub)
        text = f"an API call while 100 slow clients read: p50 {busy[0]:.1f} ms, p90 {busy[1]:.1f}"
        print(f"{database:<10} {text}; idle {idle[0]:.1f}, {idle[1]:.1f}   {busy[0] / idle[0]:.2f}", flush=True)
    _accel(database)


def send_whole(hub: Hub, repo: str, name: str, data: bytes) -> str:
    """Push one file by LFS's single PUT; returns its path below the storage folder."""
    token, oid = hub.tokens["alice"], hashlib.sha256(data).hexdigest()
    hub.call("POST", "/api/repos/create", {"name": repo.partition("/")[2], "type": "model"}, token=token)
    body = {"operation": "upload", "objects": [{"oid": oid, "size": len(data)}]}
    answer = hub.call("POST", f"/{repo}.git/info/lfs/objects/batch", body, token=token).json()
    link = "/" + answer["objects"][0]["actions"]["upload"]["href"].split("/", 3)[3]
    assert hub.call("PUT", link, data, timeout=600).status == 200
    lines = [
        {"key": "header", "value": {"summary": "large"}},
        {"key": "lfsFile", "value": {"path": name, "algo": "sha256", "oid": oid, "size": len(data)}},
    ]
    text, kind = "\n".join(map(json.dumps, lines)).encode(), {"Content-Type": "application/x-ndjson"}
    done = hub.call("POST", f"/api/models/{repo}/commit/main", text, token=token, headers=kind)
    assert done.status == 200, done.body
    return f"blobs/{oid[:2]}/{oid}"


@contextmanager
def nginx(folder: Path, hub: Hub) -> Iterator[int]:
    """nginx in front of the hub; its port. `/plain/` gives the storage folder itself."""
    port = _free_port()
    user = "user root; " if os.geteuid() == 0 else ""
    storage = hub.data / "storage"
    text = _CONFIGURATION.format(user=user, folder=folder, port=port, storage=storage, hub=hub.port)
    (folder / "nginx.conf").write_text(text)
    argv = ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


def _accel(database: str) -> None:
    with tempfile.TemporaryDirectory(prefix="fithub-bench-") as name:
        folder = Path(name)
        hub = Hub(folder / "hub", FITHUB_LOG_LEVEL="WARNING", FILE_DELIVERY="accel").start()
        try:
            hub.add_user("alice")
            key = send_whole(hub, REPO, NAME, os.urandom(SIZE_MB * MB))
            with nginx(folder, hub) as port:
                through = (port, f"/{REPO}/resolve/main/{NAME}")
                _compare(database, "the hub through nginx (accel)", through, (port, f"/plain/{key}"), 1)
        finally:
            hub.stop()


def _compare(database: str, what: str, ours: tuple[int, str], nginx: tuple[int, str], streams: int) -> None:
    """Medians of downloads in turns: single ones differ by a factor of two on a machine which others use."""
    mine, theirs = compare(TURNS, lambda: _download(*ours, streams), lambda: _download(*nginx, streams))
    _line(database, f"nginx, {streams} at once", theirs, streams, "")
    _line(database, f"{what}, {streams} at once", mine, streams, f"{theirs / mine:.2f}")


def _download(port: int, path: str, streams: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(streams) as pool:
        lengths = list(pool.map(lambda _: _read_away(port, path), range(streams)))
    took = time.perf_counter() - began
    assert lengths == [SIZE_MB * MB] * streams, "a download was cut short"
    return took


def _read_away(port: int, path: str) -> int:
    buffer, total = bytearray(MB), 0
    with _asked(port, path) as connection:
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            assert more, head
            head += more
        assert b" 200 " in head.split(b"\r\n")[0], head
        total = len(head.partition(b"\r\n\r\n")[2])
        while length := connection.recv_into(buffer):
            total += length
    return total


def _asked(port: int, path: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=120)
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
    return connection


@contextmanager
def _slow_readers(port: int, path: str, count: int) -> Iterator[None]:
    """So many clients which take 64 KiB a second each."""
    connections, ended = [_asked(port, path) for _ in range(count)], threading.Event()

    def sip() -> None:
        while not ended.wait(0.25):
            for connection in connections:
                connection.recv(16 * 1024)

    thread = threading.Thread(target=sip)
    thread.start()
    try:
        time.sleep(1)
        yield
    finally:
        ended.set()
        thread.join()
        for connection in connections:
            connection.close()


def _api_ms(hub: Hub, count: int = 100) -> tuple[float, float]:
    took = []
    for _ in range(count):
        began = time.perf_counter()
        assert hub.call("GET", f"/api/models/{REPO}").status == 200
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took), statistics.quantiles(took, n=10)[-1]


def _line(database: str, what: str, seconds: float, streams: int, ratio: str) -> None:
    rate = f"{streams * SIZE_MB / seconds:,.0f} MB/s"
    print(f"{database:<10} {what:<44} {seconds:>10.2f} s  {rate:>14}   {ratio}", flush=True)
