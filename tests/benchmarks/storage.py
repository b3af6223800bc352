"""Large files in and out, beside `cp` and `sha256sum` of the same bytes in the same run; and the memory which it takes."""

import contextlib
import hashlib
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tests.benchmarks.killable import Client, timed
from tests.benchmarks.sink import Sink
from tests.live.hub_process import Hub

SIZE_MB = int(os.environ.get("BENCHMARK_FILE_MB", "200"))
MB = 1024 * 1024
TURNS = 5
_PUSH = (
    "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1], exist_ok=True);"
    "api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo='large.bin', repo_id=sys.argv[1])"
)


def run(database: str, hub: Hub) -> None:
    """Print a line for each way in and out. The ratio is the yardstick's seconds over ours: 1 is as fast."""
    with tempfile.TemporaryDirectory(prefix="fithub-bench-") as name:
        folder = Path(name)
        path = folder / "large.bin"
        path.write_bytes(os.urandom(SIZE_MB * MB))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yardstick = min(_seconds(lambda: _copy_and_hash(path, folder / "copy")) for _ in range(3))
        _line(database, f"cp and sha256sum of {SIZE_MB} MB", yardstick, "")
        with Sink() as sink:
            environment = hub.client_environment(folder / "sink") | {"HF_HUB_DISABLE_XET": "1", "HF_ENDPOINT": sink.url}
            argv = [sys.executable, "-c", _PUSH, "alice/sink", str(path)]
            took = min(_seconds(lambda: subprocess.run(argv, env=environment, check=True)) for _ in range(2))
            assert sink.taken_bytes == 2 * SIZE_MB * MB, "the client did not send the file"
        _line(database, "the same client to a server which keeps nothing", took, f"{yardstick / took:.2f}")
        before = _memory(hub)
        for how, disable in (("LFS", "1"), ("Xet", "0")):
            repo = f"alice/{how.lower()}"
            environment = hub.client_environment(folder / how) | {"HF_HUB_DISABLE_XET": disable}
            argv = [sys.executable, "-c", _PUSH, repo, str(path)]
            took = _seconds(lambda argv=argv, env=environment: subprocess.run(argv, env=env, check=True))
            _line(database, f"push by {how}, the client's start included", took, f"{yardstick / took:.2f}")
            took = min(_seconds(lambda repo=repo: _get(hub, repo, digest)) for _ in range(3))
            kept = "whole" if how == "LFS" else "xorbs"
            _line(database, f"one download of what lies as {kept}", took, f"{yardstick / took:.2f}")
            _forget(hub, repo)
            _warm(database, hub, folder, how, disable)
        _line(database, "memory of the web processes, before and after", before / MB, f"{_memory(hub) / MB:.0f} MB")


def _warm(database: str, hub: Hub, folder: Path, how: str, disable: str) -> None:
    """Pushes of other bytes each time by a client which runs already, in turns with the yardstick."""
    path, repo = folder / "warm.bin", f"alice/warm-{how.lower()}"
    client = Client(hub, HF_HUB_DISABLE_XET=disable)
    try:
        assert client.call("create_repo", repo_id=repo)
        ours, yardstick = [], []
        for number in range(TURNS + 1):
            path.write_bytes(os.urandom(SIZE_MB * MB))
            yardstick.append(_seconds(lambda: _copy_and_hash(path, folder / "copy")))
            call = {"path_or_fileobj": str(path), "path_in_repo": f"{number}.bin", "repo_id": repo}
            done, took = timed(lambda call=call: client.call("upload_file", **call))
            assert done, "the push failed"
            ours.append(took)
    finally:
        client.close()
    mine, theirs = statistics.median(ours[1:]), statistics.median(yardstick[1:])  # the first one warms up
    _line(database, f"push by {how}, the client being warm: median of {TURNS}", mine, f"{theirs / mine:.2f}")
    _forget(hub, repo)


def _copy_and_hash(path: Path, copy: Path) -> None:
    subprocess.run(["cp", str(path), str(copy)], check=True)
    subprocess.run(["sha256sum", str(copy)], check=True, stdout=subprocess.DEVNULL)


def _get(hub: Hub, repo: str, digest: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=300)
    with contextlib.closing(connection):
        connection.request("GET", f"/{repo}/resolve/main/large.bin")
        answer, found = connection.getresponse(), hashlib.sha256()
        while block := answer.read(MB):
            found.update(block)
    assert found.hexdigest() == digest, "other bytes came back"


def _forget(hub: Hub, repo: str) -> None:
    """So that the next way does not find the bytes here."""
    body = {"name": repo.partition("/")[2], "type": "model"}
    assert hub.call("DELETE", "/api/repos/delete", body, token=hub.tokens["alice"]).status == 200
    hub.manage("collect_garbage", "--days", "0", "--xorb-days", "0", "--forget-clients")


def _memory(hub: Hub) -> int:
    total = 0
    for process in hub.web():
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _line(database: str, what: str, seconds: float, ratio: str) -> None:
    rate = f"{SIZE_MB / seconds:,.0f} MB/s" if "memory" not in what else ""
    unit = "s" if "memory" not in what else "MB"
    print(f"{database:<10} {what:<44} {seconds:>10.2f} {unit:<2} {rate:>14}   {ratio}", flush=True)
