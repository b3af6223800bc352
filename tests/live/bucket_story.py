"""What the stock client does with buckets, in a process which knows nothing but the hub: `python bucket_story.py`.

Each check is a function; its name and "ok", or what went wrong, is printed as a line of JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi, HfFileSystem
from huggingface_hub.errors import BucketNotFoundError, EntryNotFoundError, HfHubHTTPError

api = HfApi()
BUCKET = "alice/first-bucket"
WORK = Path(tempfile.mkdtemp())


def raises(kind: type[Exception], call: Callable[[], object]) -> Exception:
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def make_and_find() -> None:
    url = api.create_bucket("first-bucket")
    assert url.bucket_id == BUCKET and url.url.endswith(f"/buckets/{BUCKET}"), url
    assert api.create_bucket(BUCKET, exist_ok=True).bucket_id == BUCKET
    error = raises(HfHubHTTPError, lambda: api.create_bucket(BUCKET))
    assert error.response.status_code == 409
    info = api.bucket_info(BUCKET)
    assert (info.id, info.private, info.size, info.total_files) == (BUCKET, False, 0, 0), info
    api.create_bucket("acme/shared", private=True)
    assert [bucket.id for bucket in api.list_buckets(namespace="acme")] == ["acme/shared"]
    assert api.bucket_info("acme/shared").private is True
    assert BUCKET in [bucket.id for bucket in api.list_buckets()]
    assert [bucket.id for bucket in api.list_buckets(search="irst-b")] == [BUCKET]
    assert list(api.list_bucket_tree(BUCKET)) == []
    raises(HfHubHTTPError, lambda: list(api.list_buckets(namespace="nobody-there")))


def missing_buckets() -> None:
    raises(BucketNotFoundError, lambda: api.bucket_info("alice/none"))
    raises(BucketNotFoundError, lambda: api.delete_bucket("alice/none"))
    api.delete_bucket("alice/none", missing_ok=True)
    raises(BucketNotFoundError, lambda: list(api.list_bucket_tree("alice/none")))
    raises(BucketNotFoundError, lambda: api.bucket_info("acme/shared", token=False))


def upload_and_list() -> None:
    big = WORK / "big.bin"
    big.write_bytes(os.urandom(3_000_000))
    api.batch_bucket_files(
        BUCKET,
        add=[
            (str(big), "models/big.bin"), (b'{"key": 1}', "config.json"), (b"a", "logs/a.txt"), (b"b", "logs/deep/b.txt"),
            (b"c", "logs.json"), (b"d", "logs_old/d.txt"), (b"", "empty.txt"), (b"e", "ümläut & more/e+f.txt"),
        ],
    )  # fmt: skip
    files = {item.path: item for item in api.list_bucket_tree(BUCKET, recursive=True)}
    assert sorted(files) == sorted(
        [
            "config.json", "empty.txt", "logs.json", "logs/a.txt", "logs/deep/b.txt", "logs_old/d.txt",
            "models/big.bin", "ümläut & more/e+f.txt",
        ]
    ), sorted(files)  # fmt: skip
    assert files["models/big.bin"].size == 3_000_000 and files["empty.txt"].size == 0
    assert abs(files["models/big.bin"].mtime.timestamp() - big.stat().st_mtime) < 0.01
    assert time.time() - files["config.json"].uploaded_at.timestamp() < 600
    assert {item.path for item in api.list_bucket_tree(BUCKET)} == set(files), "recursive is the default"
    top = {item.path: item.type for item in api.list_bucket_tree(BUCKET, recursive=False)}
    assert top["logs"] == "directory" and top["config.json"] == "file" and "logs/a.txt" not in top, top
    level = {item.path: item.type for item in api.list_bucket_tree(BUCKET, prefix="logs", recursive=False)}
    assert level == {"logs.json": "file", "logs/a.txt": "file", "logs/deep": "directory", "logs_old": "directory"}, (
        level
    )
    assert [item.path for item in api.list_bucket_tree(BUCKET, prefix="logs/", recursive=True)] == [
        "logs/a.txt",
        "logs/deep/b.txt",
    ]
    info = api.bucket_info(BUCKET)
    assert info.total_files == 8 and info.size == sum(item.size for item in files.values()), info
    paths = ["logs/a.txt", "nope", "config.json", "logs"]
    assert [item.path for item in api.get_bucket_paths_info(BUCKET, paths)] == ["logs/a.txt", "config.json"]


def download() -> None:
    meta = api.get_bucket_file_metadata(BUCKET, "models/big.bin")
    assert meta.size == 3_000_000 and meta.xet_file_data.file_hash
    out = WORK / "out"
    names = ["models/big.bin", "config.json", "empty.txt", "ümläut & more/e+f.txt"]
    api.download_bucket_files(BUCKET, files=[(name, str(out / name)) for name in names])
    assert (out / names[0]).read_bytes() == (WORK / "big.bin").read_bytes()
    assert (out / names[1]).read_bytes() == b'{"key": 1}' and (out / names[2]).read_bytes() == b""
    assert (out / names[3]).read_bytes() == b"e"
    raises(
        EntryNotFoundError,
        lambda: api.download_bucket_files(BUCKET, files=[("none", str(out / "none"))], raise_on_missing_files=True),
    )


def overwrite_and_delete() -> None:
    api.batch_bucket_files(BUCKET, add=[(b"newer", "config.json")], delete=["logs/a.txt"])
    [info] = api.get_bucket_paths_info(BUCKET, ["config.json", "logs/a.txt"])
    assert info.size == 5
    error = raises(HfHubHTTPError, lambda: api.batch_bucket_files(BUCKET, delete=["logs/a.txt"]))
    assert error.response.status_code == 422, error
    error = raises(HfHubHTTPError, lambda: api.batch_bucket_files(BUCKET, add=[(b"x", "x.txt"), (b"y", "../y.txt")]))
    assert error.response.status_code == 200 and [f["path"] for f in error.failures] == ["../y.txt"], error
    assert [item.path for item in api.get_bucket_paths_info(BUCKET, ["x.txt"])] == ["x.txt"]


def copies() -> None:
    api.create_repo("bucket-source", exist_ok=True)
    api.upload_file(path_or_fileobj=str(WORK / "big.bin"), path_in_repo="w/model.bin", repo_id="alice/bucket-source")
    api.upload_file(path_or_fileobj=b"small", path_in_repo="w/notes.txt", repo_id="alice/bucket-source")
    api.create_bucket("second-bucket", private=True)
    api.copy_files("hf://alice/bucket-source/w/model.bin", "hf://buckets/alice/second-bucket/")
    api.copy_files("hf://alice/bucket-source/w", "hf://buckets/alice/second-bucket/from-repo/")
    api.copy_files(f"hf://buckets/{BUCKET}/logs", "hf://buckets/alice/second-bucket/logs")
    found = {item.path: item.size for item in api.list_bucket_tree("alice/second-bucket")}
    assert found["model.bin"] == 3_000_000 and found["logs/deep/b.txt"] == 1, found
    assert any(path.endswith("notes.txt") for path in found), found
    api.download_bucket_files("alice/second-bucket", files=[("model.bin", str(WORK / "copied.bin"))])
    assert (WORK / "copied.bin").read_bytes() == (WORK / "big.bin").read_bytes()


def syncs() -> None:
    here, there = WORK / "sync", WORK / "back"
    for name, data in {"a.txt": b"1", "sub/b.bin": os.urandom(200_000), "sub/c.log": b"no"}.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(data)
    api.create_bucket("synced")
    api.sync_bucket(str(here), "hf://buckets/alice/synced/run", exclude=["*.log"])
    assert {item.path for item in api.list_bucket_tree("alice/synced")} == {"run/a.txt", "run/sub/b.bin"}
    plan = api.sync_bucket(str(here), "hf://buckets/alice/synced/run", exclude=["*.log"])
    assert plan is None or plan.summary()["uploads"] == 0, plan
    (here / "a.txt").unlink()
    (here / "d.txt").write_bytes(b"new")
    api.sync_bucket(str(here), "hf://buckets/alice/synced/run", delete=True, exclude=["*.log"])
    assert {item.path for item in api.list_bucket_tree("alice/synced")} == {"run/d.txt", "run/sub/b.bin"}
    api.sync_bucket("hf://buckets/alice/synced/run", str(there))
    assert (there / "sub/b.bin").read_bytes() == (here / "sub/b.bin").read_bytes() and (there / "d.txt").exists()


def settings_and_moves() -> None:
    api.update_bucket_settings("alice/synced", private=True)
    assert api.bucket_info("alice/synced").private is True
    raises(BucketNotFoundError, lambda: api.bucket_info("alice/synced", token=os.environ["BOB"]))
    raises(BucketNotFoundError, lambda: list(api.list_bucket_tree("alice/synced", token=os.environ["BOB"])))
    api.update_bucket_settings("alice/synced", private=False)
    assert api.bucket_info("alice/synced", token=os.environ["BOB"]).id == "alice/synced"
    error = raises(
        HfHubHTTPError, lambda: api.batch_bucket_files("alice/synced", delete=["run/d.txt"], token=os.environ["BOB"])
    )
    assert error.response.status_code == 403
    api.move_bucket("alice/synced", "acme/moved")
    assert {item.path for item in api.list_bucket_tree("acme/moved")} == {"run/d.txt", "run/sub/b.bin"}
    assert api.bucket_info("alice/synced").id == "acme/moved", "the old name leads to the new one"


def a_file_system() -> None:
    fs = HfFileSystem()
    names = {entry["name"] for entry in fs.ls(f"buckets/{BUCKET}")}
    assert f"buckets/{BUCKET}/models" in names, names
    with fs.open(f"buckets/{BUCKET}/written.txt", "wb") as file:
        file.write(b"by fsspec")
    assert fs.cat(f"buckets/{BUCKET}/written.txt") == b"by fsspec"
    assert fs.exists(f"buckets/{BUCKET}/written.txt") and not fs.exists(f"buckets/{BUCKET}/none.txt")
    assert fs.info(f"buckets/{BUCKET}/models")["type"] == "directory"
    fs.rm(f"buckets/{BUCKET}/written.txt")
    assert not HfFileSystem(skip_instance_cache=True).exists(f"buckets/{BUCKET}/written.txt")


def many_files_in_pages() -> None:
    api.create_bucket("many")
    names = [f"part-{number:05d}.txt" for number in range(2300)]
    for start in range(0, len(names), 900):
        api.batch_bucket_files("alice/many", add=[(b"the same", name) for name in names[start : start + 900]])
    assert [item.path for item in api.list_bucket_tree("alice/many")] == names
    assert [item.path for item in api.list_bucket_tree("alice/many", recursive=False)] == names
    assert api.bucket_info("alice/many").total_files == len(names)
    api.batch_bucket_files("alice/many", delete=names)
    assert api.bucket_info("alice/many").total_files == 0


def the_command_line() -> None:
    def hf(*arguments: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("hf")), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (arguments, done.stderr[-800:], done.stdout[-300:])
        return done.stdout

    hf("buckets", "create", "from-cli", "--private")
    (WORK / "cli.txt").write_bytes(b"cli")
    hf("buckets", "cp", str(WORK / "cli.txt"), "hf://buckets/alice/from-cli/x/cli.txt")
    assert "cli.txt" in hf("buckets", "ls", "alice/from-cli", "-R")
    assert "from-cli" in hf("buckets", "ls")
    assert "alice/from-cli" in hf("buckets", "info", "alice/from-cli")
    hf("buckets", "cp", "hf://buckets/alice/from-cli/x/cli.txt", str(WORK / "back.txt"))
    assert (WORK / "back.txt").read_bytes() == b"cli"
    hf("buckets", "sync", str(WORK / "sync"), "hf://buckets/alice/from-cli/s")
    assert "alice/from-cli" in hf("repos", "ls")
    hf("buckets", "rm", "alice/from-cli/x/cli.txt", "--yes")
    hf("buckets", "move", "alice/from-cli", "alice/from-cli-2")
    hf("buckets", "delete", "alice/from-cli-2", "--yes")


def deletion() -> None:
    api.delete_bucket(BUCKET)
    raises(BucketNotFoundError, lambda: api.bucket_info(BUCKET))


CHECKS = (
    make_and_find, missing_buckets, upload_and_list, download, overwrite_and_delete, copies, syncs, settings_and_moves,
    a_file_system, many_files_in_pages, the_command_line, deletion,
)  # fmt: skip


def run(checks: tuple[Callable[[], None], ...]) -> None:
    for check in checks:
        try:
            check()
            print(json.dumps([check.__name__, "ok"]), flush=True)
        except Exception:
            print(json.dumps([check.__name__, traceback.format_exc()]), flush=True)


if __name__ == "__main__":
    run(CHECKS)
