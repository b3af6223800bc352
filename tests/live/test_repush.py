"""A changed file is pushed again: only what changed travels and is kept, also from a machine which never pushed before."""

import hashlib
import os
import random
from pathlib import Path

import pytest

from tests.live.conftest import REPORTS
from tests.live.counting_proxy import CountingProxy
from tests.live.hub_process import Hub
from tests.live.repushing import changed, push, stored

pytestmark = pytest.mark.live
MB = 1024 * 1024
SIZE_MB = int(os.environ.get("LIVE_REPUSH_MB", "120"))


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
