"""A backup is a dump of the database and a copy of the store; another machine serves the same bytes from them."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.live.hub_process import Hub

pytestmark = pytest.mark.live
MakeHub = Callable[..., Hub]


def dump(hub: Hub, to: Path) -> None:
    with (
        closing(sqlite3.connect(hub.data / "fithub.sqlite3")) as source,
        closing(sqlite3.connect(to / "fithub.sqlite3")) as target,
    ):
        source.backup(target)


def copy(hub: Hub, to: Path) -> None:
    """As rsync does it: what is there already stays."""
    skip = shutil.ignore_patterns("staging")
    shutil.copytree(hub.data / "storage", to / "storage", dirs_exist_ok=True, ignore=skip)


def push(hub: Hub, name: str, folder: Path, size: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "w.bin").write_bytes(hashlib.shake_256(name.encode()).digest(size))
    (folder / "notes.txt").write_text(name)
    hub.push(f"alice/{name}", folder)


def sums(hub: Hub, names: list[str]) -> dict[str, str]:
    found = {}
    for name in names:
        for path in ("w.bin", "notes.txt"):
            answer = hub.call("GET", f"/alice/{name}/resolve/main/{path}")
            assert answer.status == 200, answer
            found[f"{name}/{path}"] = hashlib.sha256(answer.body).hexdigest()
    return found


@pytest.mark.parametrize("order", ["database first", "store first, and once more"])
def test_a_restored_hub_has_the_same_bytes(order: str, make_hub: MakeHub, tmp_path: Path) -> None:
    hub = make_hub()
    push(hub, "first", tmp_path / "f", 300_000)
    push(hub, "second", tmp_path / "f", 200_000)
    wanted = sums(hub, ["first", "second"])
    backup = tmp_path / "backup"
    backup.mkdir()
    if order == "store first, and once more":
        copy(hub, backup)
    dump(hub, backup)
    # What goes on meanwhile is not in the backup, and takes nothing from it.
    push(hub, "third", tmp_path / "f", 100_000)
    body = {"name": "second", "type": "model"}
    assert hub.call("DELETE", "/api/repos/delete", body, token=hub.tokens["alice"]).status == 200
    hub.manage("collect_garbage")
    copy(hub, backup)
    restored = Hub(tmp_path / "restored")
    shutil.rmtree(restored.data)
    shutil.copytree(backup, restored.data)
    try:
        restored.start()
        assert sums(restored, ["first", "second"]) == wanted
        assert restored.call("GET", "/api/models/alice/third").status == 401
        assert "verified" in restored.manage("verify_storage")
        restored.tokens = hub.tokens
        push(restored, "fourth", tmp_path / "f", 50_000)
    finally:
        restored.stop()
    restored.check_log()
