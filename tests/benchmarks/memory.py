"""The web processes' memory while a file goes in and out which is larger than it: BENCHMARK_LARGE_GB, 10 unless given."""

import contextlib
import hashlib
import http.client
import json
import os
import threading
import time
from collections.abc import Iterator

import psutil

from tests.live.hub_process import Hub

MB = 1024 * 1024
SIZE_GB = float(os.environ.get("BENCHMARK_LARGE_GB", "10"))
_NOISE = os.urandom(16 * MB)


def run(database: str, hub: Hub) -> None:
    size = int(SIZE_GB * 1024) * MB
    digest = hashlib.sha256()
    for block in _blocks(size):
        digest.update(block)
    oid, token = digest.hexdigest(), hub.tokens["alice"]
    before = _memory(hub)
    hub.call("POST", "/api/repos/create", {"name": "huge", "type": "model"}, token=token)
    body = {"operation": "upload", "objects": [{"oid": oid, "size": size}]}
    answer = hub.call("POST", "/alice/huge.git/info/lfs/objects/batch", body, token=token).json()
    link = "/" + answer["objects"][0]["actions"]["upload"]["href"].split("/", 3)[3]
    with _Peak(hub) as into:
        connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=3600)
        connection.request("PUT", link, _blocks(size), {"Content-Length": str(size)})
        assert connection.getresponse().status == 200
        connection.close()
    lines = [
        {"key": "header", "value": {"summary": "huge"}},
        {"key": "lfsFile", "value": {"path": "huge.bin", "algo": "sha256", "oid": oid, "size": size}},
    ]
    text, kind = "\n".join(map(json.dumps, lines)).encode(), {"Content-Type": "application/x-ndjson"}
    assert hub.call("POST", "/api/models/alice/huge/commit/main", text, token=token, headers=kind).status == 200
    with _Peak(hub) as out:
        assert _read(hub) == oid, "other bytes came back"
    hub.manage("chunk_contents", timeout=3600)
    hub.manage("collect_garbage", "--days", "0", timeout=3600)
    with _Peak(hub) as chunks:
        assert _read(hub) == oid, "other bytes came back out of chunks"
    figures = ", ".join(
        f"{name} {peak.bytes / MB:.0f}" for name, peak in (("in", into), ("out", out), ("chunks", chunks))
    )
    text = f"memory of the web processes, {SIZE_GB:g} GB: before {before / MB:.0f} MB, most while {figures}"
    print(f"{database:<10} {text}", flush=True)


def _blocks(size: int) -> Iterator[bytes]:
    """Bytes of which no two blocks are alike, made without a file."""
    for number in range(0, size, len(_NOISE)):
        yield (number.to_bytes(8, "little") + _NOISE[8:])[: size - number]


def _read(hub: Hub) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=3600)
    with contextlib.closing(connection):
        connection.request("GET", "/alice/huge/resolve/main/huge.bin")
        answer, found = connection.getresponse(), hashlib.sha256()
        while block := answer.read(MB):
            found.update(block)
    return found.hexdigest()


def _memory(hub: Hub) -> int:
    return sum(_resident(process) for process in hub.web())


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


class _Peak:
    """The most memory of the web processes while the block runs, looked at ten times a second."""

    def __init__(self, hub: Hub) -> None:
        self.bytes, self._web, self._ended = 0, hub.web(), threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "_Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.bytes = max(self.bytes, sum(map(_resident, self._web)))
            time.sleep(0.1)
