"""The rest of what the stock client offers for buckets: every argument, and what the command line prints.

Run as `bucket_story.py` is: `python bucket_more.py`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bucket_story import run
from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import HfHubHTTPError

api = HfApi()
WORK = Path(tempfile.mkdtemp())
NAME = "alice/more"


def hf(*arguments: str, fails: bool = False, given: str | None = None) -> str:
    """What `hf buckets …` prints."""
    program = str(Path(sys.executable).with_name("hf"))
    done = subprocess.run(
        [program, "buckets", *arguments], capture_output=True, text=True, check=False, input=given, timeout=120
    )
    assert (done.returncode != 0) == fails, (arguments, done.stderr[-800:], done.stdout[-300:])
    return done.stdout + (done.stderr if fails else "")


def paths(bucket: str = NAME) -> list[str]:
    return [item.path for item in api.list_bucket_tree(bucket)]


def every_way_to_create() -> None:
    try:
        api.create_bucket("more", region="eu")
        raise AssertionError("a hub in one place can not keep a bucket in Europe")
    except HfHubHTTPError as error:
        assert "leave region out" in str(error), error
    url = api.create_bucket("more", visibility="private", exist_ok=True)
    assert url.bucket_id == NAME and api.bucket_info(NAME).private
    api.create_bucket("alice/more-public", visibility="public")
    info = api.bucket_info("alice/more-public")
    assert not info.private and info.created_at.timestamp() > time.time() - 600
    assert "more-cli" in hf("create", "alice/more-cli", "--private", "--exist-ok")
    assert "more-cli" in hf("create", "more-cli", "--exist-ok")
    assert api.bucket_info("alice/more-cli").private
    hf("create", "more-cli", fails=True)
    hf("settings", "alice/more-cli", "--public")
    assert not api.bucket_info("alice/more-cli").private
    assert json.loads(hf("info", "alice/more-cli", "--format", "json"))["id"] == "alice/more-cli"
    hf("delete", "alice/more-cli", "--yes")
    hf("delete", "alice/more-cli", "--yes", "--missing-ok")
    hf("info", "alice/more-cli", fails=True)


def what_is_listed() -> None:
    content = {"a.txt": b"1", "data/x.bin": os.urandom(2_000_000), "data/deep/y.txt": b"22", "data/z.log": b"log"}
    api.batch_bucket_files(NAME, add=[(data, path) for path, data in content.items()])
    assert NAME in hf("list") and NAME in hf("list", "alice")
    rows = json.loads(hf("list", NAME, "--format", "json", "-R"))
    assert {row["path"]: row["size"] for row in rows} == {path: len(data) for path, data in content.items()}, rows
    shown = hf("list", NAME, "-h", "--tree", "-R")
    assert "2.0 MB" in shown and "y.txt" in shown, shown
    top = json.loads(hf("list", NAME, "--format", "json"))
    assert {row["path"] for row in top} == {"a.txt", "data"}, top
    below = json.loads(hf("list", f"{NAME}/data", "--format", "json"))
    assert {row["path"] for row in below} == {"data/x.bin", "data/deep", "data/z.log"}, below
    folders = [item for item in api.list_bucket_tree(NAME, recursive=False) if item.type == "directory"]
    assert [item.path for item in folders] == ["data"] and folders[0].uploaded_at.timestamp() > time.time() - 600


def copies_from_everywhere() -> None:
    api.create_repo("more-data", repo_type="dataset", exist_ok=True)
    (WORK / "big.bin").write_bytes(os.urandom(1_500_000))
    api.upload_file(
        path_or_fileobj=str(WORK / "big.bin"), path_in_repo="big.bin", repo_id="alice/more-data", repo_type="dataset"
    )
    hf("cp", "hf://datasets/alice/more-data/big.bin", f"hf://buckets/{NAME}/from/big.bin")
    hf("cp", f"hf://buckets/{NAME}/from/big.bin", "hf://buckets/alice/more-public/big.bin")
    hf("cp", "-", f"hf://buckets/{NAME}/typed.txt", given="by hand")
    assert hf("cp", f"hf://buckets/{NAME}/typed.txt", "-").startswith("by hand")
    source = next(iter(api.get_bucket_paths_info(NAME, ["from/big.bin"])))
    api.batch_bucket_files("alice/more-public", copy=[("bucket", NAME, source.xet_hash, "again.bin")])
    api.download_bucket_files("alice/more-public", files=[("again.bin", WORK / "again.bin"), ("none", WORK / "none")])
    assert (WORK / "again.bin").read_bytes() == (WORK / "big.bin").read_bytes() and not (WORK / "none").exists()
    fs = HfFileSystem(skip_instance_cache=True)
    with fs.open(f"buckets/{NAME}/from/big.bin", "rb") as file:
        file.seek(1_000_000)
        assert file.read(1000) == (WORK / "big.bin").read_bytes()[1_000_000:1_001_000]
    assert len(fs.find(f"buckets/{NAME}/data")) == 3 and f"buckets/{NAME}/data/z.log" in fs.glob(
        f"buckets/{NAME}/**/*.log"
    )


def every_kind_of_sync() -> None:
    here, bucket = WORK / "here", "hf://buckets/alice/more-sync/run"
    for path, data in {"a.txt": b"1", "b.txt": b"2", "sub/c.bin": os.urandom(1000)}.items():
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_bytes(data)
    api.create_bucket("more-sync")
    dry = api.sync_bucket(str(here), bucket, dry_run=True)
    assert dry.summary()["uploads"] == 3 and paths("alice/more-sync") == []
    api.sync_bucket(str(here), bucket, plan=str(WORK / "plan.jsonl"))
    assert paths("alice/more-sync") == []
    api.sync_bucket(apply=str(WORK / "plan.jsonl"))
    assert paths("alice/more-sync") == ["run/a.txt", "run/b.txt", "run/sub/c.bin"]
    (here / "a.txt").write_bytes(b"longer")
    (here / "new.txt").write_bytes(b"new")
    assert api.sync_bucket(str(here), bucket, existing=True).summary()["uploads"] == 1
    assert api.sync_bucket(str(here), bucket, ignore_existing=True).summary()["uploads"] == 1
    assert api.sync_bucket(str(here), bucket, ignore_times=True).summary()["uploads"] == 0
    (WORK / "rules").write_text("- *.bin\n+ *\n")
    back = WORK / "back"
    api.sync_bucket(bucket, str(back), filter_from=str(WORK / "rules"))
    assert sorted(path.name for path in back.rglob("*.*")) == ["a.txt", "b.txt", "new.txt"]
    api.sync_bucket(bucket, str(back), include=["*.bin"])
    assert (back / "sub/c.bin").read_bytes() == (here / "sub/c.bin").read_bytes()
    (back / "extra.txt").write_bytes(b"goes")
    api.sync_bucket(bucket, str(back), delete=True, ignore_sizes=True)
    assert not (back / "extra.txt").exists() and (back / "a.txt").read_bytes() == b"longer"
    assert "new.txt" in hf("sync", bucket, str(WORK / "cli-back"), "--dry-run")
    hf("sync", str(here), bucket, "--delete", "--quiet")
    (here / "b.txt").unlink()
    assert "b.txt" in hf("sync", str(here), bucket, "--delete", "--verbose")
    assert "run/b.txt" not in paths("alice/more-sync")


def every_way_to_remove() -> None:
    api.batch_bucket_files(NAME, add=[(b"x", f"rm/{name}") for name in ("a.tmp", "b.tmp", "keep.txt", "deep/c.tmp")])
    assert "a.tmp" in hf("rm", f"{NAME}/rm", "--recursive", "--include", "*.tmp", "--dry-run")
    assert "rm/a.tmp" in paths()
    hf("rm", f"{NAME}/rm", "--recursive", "--include", "*.tmp", "--yes")
    assert [path for path in paths() if path.startswith("rm/")] == ["rm/keep.txt"]
    hf("rm", f"{NAME}/rm/none.txt", "--yes", fails=True)
    hf("rm", f"{NAME}/rm", "-R", "--yes")
    assert not [path for path in paths() if path.startswith("rm/")]


def large_batches_and_moves() -> None:
    names = [f"n/{number:04d}" for number in range(1500)]
    api.batch_bucket_files(NAME, add=[(b"same", name) for name in names])
    assert len([path for path in paths() if path.startswith("n/")]) == 1500
    api.batch_bucket_files(NAME, delete=names)
    hf("move", NAME, "alice/more-moved")
    assert api.bucket_info("alice/more-moved").private and api.bucket_info(NAME).id == "alice/more-moved"
    for bucket in ("alice/more-moved", "alice/more-public", "alice/more-sync"):
        api.delete_bucket(bucket)


CHECKS = (
    every_way_to_create, what_is_listed, copies_from_everywhere, every_kind_of_sync, every_way_to_remove,
    large_batches_and_moves,
)  # fmt: skip

if __name__ == "__main__":
    run(CHECKS)
