"""A disk which is full while the hub writes to it."""

import base64
import errno
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.live.conftest import write_model
from tests.live.hub_process import Hub

pytestmark = pytest.mark.live


@contextmanager
def hub_on_a_small_disk(folder: Path, part: str, room_bytes: int) -> Iterator[Hub]:
    """A hub with alice, one folder of whose data is a file system of that size."""
    hub = Hub(folder)
    mounted = hub.data / part
    mounted.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={room_bytes}", "tmpfs", str(mounted)]
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    left: list[str] = []
    try:
        hub.start().add_user("alice")
        yield hub
    finally:
        left = hub.stop()
        subprocess.run(["umount", str(mounted)], check=True)
    assert not left, left
    assert "Internal Server Error" not in hub.log


@pytest.fixture(scope="module")
def small_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Its storage has 12 MiB, its database has room."""
    with hub_on_a_small_disk(tmp_path_factory.mktemp("small"), "storage", 12 * 1024 * 1024) as hub:
        yield hub
        hub.check_log()


@pytest.fixture
def full_hub(tmp_path: Path) -> Iterator[Hub]:
    """Everything of it lies on one disk, as on a laptop."""
    with hub_on_a_small_disk(tmp_path / "one-disk", ".", 48 * 1024 * 1024) as hub:
        yield hub


def stored_bytes(hub: Hub) -> int:
    return sum(path.stat().st_size for path in (hub.data / "storage").rglob("*") if path.is_file())


def test_lfs_upload_says_507(small_hub: Hub) -> None:
    hub, data = small_hub, random.Random(1).randbytes(20_000_000)
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": "alice/full"}])[0]
    before = stored_bytes(hub)
    wanted = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [wanted]}
    answer = hub.call("POST", "/alice/full.git/info/lfs/objects/batch", batch, token=hub.tokens["alice"])
    href = urlsplit(answer.json()["objects"][0]["actions"]["upload"]["href"])
    answer = hub.call("PUT", href.path, data)
    assert answer.status == 507 and "disk is full" in answer.error, answer
    assert stored_bytes(hub) == before, "half of it was kept"


@pytest.mark.parametrize("disable_xet", ["0", "1"], ids=["Xet", "LFS"])
def test_the_stock_client_is_told(disable_xet: str, small_hub: Hub, tmp_path: Path) -> None:
    hub = small_hub
    repo = f"alice/full-{disable_xet}"
    assert "error" not in hub.client([{"call": "create_repo", "repo_id": repo}])[0]
    (tmp_path / "large.bin").write_bytes(random.Random(disable_xet).randbytes(30_000_000))
    before = stored_bytes(hub)
    program = (
        "import sys; from huggingface_hub import HfApi; "
        "HfApi().upload_file(path_or_fileobj=sys.argv[2], path_in_repo='large.bin', repo_id=sys.argv[1])"
    )
    # By default hf_xet tries again for minutes whatever the server's trouble is; what it says then is the same.
    environment = hub.client_environment() | {
        "HF_HUB_DISABLE_XET": disable_xet,
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program, repo, str(tmp_path / "large.bin")], env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode != 0 and "507" in done.stderr, done.stderr[-2000:]
    assert len(hub.get(f"/api/models/{repo}/commits/main")) == 1
    assert hub.call("GET", f"/{repo}/resolve/main/large.bin").status == 404
    if disable_xet == "1":
        assert stored_bytes(hub) == before


def test_a_job_without_room_says_so_and_the_hub_goes_on(small_hub: Hub, tmp_path: Path) -> None:
    hub = small_hub
    filler = hub.data / "storage" / "filler"
    hub.push("alice/variants", write_model(tmp_path / "first"))
    assert hub.wait_family("alice/variants")["source"]["status"] == "ready"
    folder = write_model(tmp_path / "model", inputs=512, hidden=512)
    hub.push("alice/no-room", folder)
    room = os.statvfs(hub.data / "storage")
    filler.write_bytes(bytes(max(0, room.f_bavail * room.f_frsize - 100_000)))
    family = hub.wait_family("alice/no-room")
    reasons = [family["source"]["reason"] or "", *(variant["reason"] or "" for variant in family["variants"])]
    assert any("disk is full" in reason for reason in reasons), reasons
    filler.unlink()
    hub.push("alice/after", write_model(tmp_path / "second", hidden=50))
    assert hub.wait_family("alice/after")["source"]["status"] == "ready"


def fill(path: Path) -> None:
    """Take all the room there is, whatever the hub writes meanwhile."""
    with path.open("wb", buffering=0) as file:
        for block_bytes in (1024 * 1024, 4096, 1):
            try:
                while True:
                    file.write(bytes(block_bytes))
            except OSError as error:
                assert error.errno == errno.ENOSPC, error


def test_a_full_disk_can_still_be_read(full_hub: Hub, tmp_path: Path) -> None:
    hub, token = full_hub, full_hub.tokens["alice"]
    (tmp_path / "first.bin").write_bytes(bytes(range(256)) * 100)
    upload = {"repo_id": "alice/kept", "path_or_fileobj": str(tmp_path / "first.bin"), "path_in_repo": "first.bin"}
    for result in hub.client([{"call": "create_repo", "repo_id": "alice/kept"}, {"call": "upload_file", **upload}]):
        assert "value" in result, result
    filler = hub.data / "filler"
    fill(filler)
    for path in ("/alice/kept/resolve/main/first.bin", "/api/models/alice/kept", "/api/whoami-v2", "/healthz"):
        assert hub.call("GET", path, token=token).status == 200, path
    assert hub.call("GET", "/alice/kept", headers={"Accept": "text/html"}).status == 200
    lines = (
        b'{"key":"header","value":{"summary":"x"}}\n{"key":"file","value":{"path":"a.txt","content":"'
        + base64.b64encode(os.urandom(5_000_000))  # more than SQLite's journal has room for, and nothing shrinks it
        + b'"}}'
    )
    kind = {"Content-Type": "application/x-ndjson"}
    answer = hub.call("POST", "/api/models/alice/kept/commit/main", lines, token=token, headers=kind)
    assert answer.status == 507 and "disk is full" in answer.error, answer
    assert hub.call("POST", "/api/repos/create", {"name": "new"}, token=token).status in (200, 507)
    assert len(hub.get("/api/models/alice/kept/commits/main")) == 2
    filler.unlink()
    answer = hub.call("POST", "/api/models/alice/kept/commit/main", lines, token=token, headers=kind)
    assert answer.status == 200, answer
