"""A changed file is pushed again: only what changed travels and is kept, also from a machine which never pushed before."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.conftest import REPORTS
from tests.live.counting_proxy import CountingProxy
from tests.live.hub_process import Hub

pytestmark = pytest.mark.live
MB = 1024 * 1024
SIZE_MB = int(os.environ.get("LIVE_REPUSH_MB", "120"))


def changed(data: bytes, seed: int, share: float = 0.05, regions: int = 5) -> tuple[bytes, int]:
    """Two bytes inserted in the middle, and `share` of the rest written anew in a few regions; with the bytes changed."""
    rng, out = random.Random(seed), bytearray(data)
    length = int(len(data) * share / regions)
    for number in range(regions):
        at = int(len(data) * (number + 0.3) / regions)
        out[at : at + length] = rng.randbytes(length)
    middle = len(out) // 2
    return bytes(out[:middle] + b"xy" + out[middle:]), length * regions + 2


def push(hub: Hub, proxy: CountingProxy, home: Path, path: Path, repo: str, user: str = "alice") -> tuple[int, int]:
    """Bytes (sent, got) on the wire by the stock client with an empty cache in `home`."""
    program = (
        "import sys; from huggingface_hub import HfApi; api = HfApi(); api.create_repo(sys.argv[1], exist_ok=True);"
        "api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo='model.bin', repo_id=sys.argv[1])"
    )
    environment = hub.client_environment(home, user) | {"HF_ENDPOINT": proxy.url}
    proxy.reset()
    done = subprocess.run(
        [sys.executable, "-c", program, repo, str(path)], env=environment, capture_output=True, text=True, check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return proxy.sent, proxy.got


def stored(hub: Hub) -> int:
    return sum(path.stat().st_size for path in (hub.data / "storage").rglob("*") if path.is_file())


def test_a_fine_tune_costs_what_it_changed(hub: Hub, tmp_path: Path) -> None:
    first = random.Random(0).randbytes(SIZE_MB * MB)
    (tmp_path / "first.bin").write_bytes(first)
    tunes = {"second.bin": changed(first, 1)[0], "third.bin": changed(first, 2)[0]}
    changed_bytes = changed(first, 1)[1]
    for name, data in tunes.items():
        (tmp_path / name).write_bytes(data)
    with CountingProxy(hub.port) as proxy:
        sent, _ = push(hub, proxy, tmp_path / "one", tmp_path / "first.bin", "alice/repushed")
        assert sent >= len(first)
        lines = [f"re-push of {SIZE_MB} MB, {changed_bytes:,} bytes changed; sent on the wire:"]
        for what, home, repo, user, name in (
            ("a fresh machine of another user, another repository", "two", "bob/tuned", "bob", "second.bin"),
            ("the same machine, same repository", "one", "alice/repushed", "alice", "third.bin"),
        ):
            before = stored(hub)
            sent, got = push(hub, proxy, tmp_path / home, tmp_path / name, repo, user)
            lines.append(
                f"  {what}: {sent:,} sent ({sent / changed_bytes:.2f} of what changed), {got:,} got, "
                f"{stored(hub) - before:,} more kept"
            )
            assert sent <= 1.5 * changed_bytes + MB, lines
            assert stored(hub) - before <= 1.5 * changed_bytes + MB, lines
        fresh, got = push(hub, proxy, tmp_path / "three", tmp_path / "first.bin", "bob/repushed", "bob")
        lines.append(f"  another user, the same file from a fresh machine: {fresh:,} sent, {got:,} got")
        assert fresh < 2 * MB, lines
    REPORTS.append("\n".join(lines))
    for repo, name in (("bob/tuned", "second.bin"), ("alice/repushed", "third.bin")):
        body = hub.call("GET", f"/{repo}/resolve/main/model.bin", timeout=300).body
        assert hashlib.sha256(body).hexdigest() == hashlib.sha256(tunes[name]).hexdigest()


def test_a_private_file_helps_nobody_else(hub: Hub, tmp_path: Path) -> None:
    secret = random.Random(5).randbytes(12 * MB)
    (tmp_path / "secret.bin").write_bytes(secret)
    token = hub.tokens["alice"]
    assert hub.call("POST", "/api/repos/create", {"name": "hidden", "private": True}, token=token).status == 200
    with CountingProxy(hub.port) as proxy:
        push(hub, proxy, tmp_path / "one", tmp_path / "secret.bin", "alice/hidden")
        sent, _ = push(hub, proxy, tmp_path / "two", tmp_path / "secret.bin", "bob/guess", "bob")
        assert sent >= len(secret), "bob was told of chunks which he may not read"
        sent, _ = push(hub, proxy, tmp_path / "three", tmp_path / "secret.bin", "alice/again")
        assert sent < 2 * MB
