"""What scans say of pickles; none is ever loaded."""

import json
import pickle
import subprocess
import sys

import pytest

from models_registry.repos.entries import Entry
from models_registry.scanning.models import FileScan
from models_registry.scanning.services import record_scan, statuses_of


class _Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch executed",)


def scan(folder, *names):
    (folder / "task.json").write_text(json.dumps({"folder": ".", "names": list(names)}))
    argv = [sys.executable, "-m", "models_registry.scanning.scan", "task.json"]
    from django.conf import settings

    subprocess.run(argv, cwd=folder, check=True, env={"PYTHONPATH": str(settings.BASE_DIR)}, capture_output=True)
    return {row["name"]: row for row in json.loads((folder / "result.json").read_text())["files"]}


def test_pickles_are_told_apart_and_none_is_run(tmp_path):
    (tmp_path / "good.pkl").write_bytes(pickle.dumps({"a": [1, 2]}))
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(_Evil()))
    (tmp_path / "cut.pkl").write_bytes(pickle.dumps(_Evil())[:-10])
    found = scan(tmp_path, "good.pkl", "evil.pkl", "cut.pkl")
    assert found["good.pkl"]["status"] == "safe"
    assert found["evil.pkl"]["status"] == "unsafe" and "system" in found["evil.pkl"]["detail"]
    assert found["cut.pkl"]["status"] != "safe"
    assert not (tmp_path / "executed").exists()


def test_real_hostile_files(assets, tmp_path):
    names = []
    for path in sorted((assets / "badinput" / "picklescan-data").glob("malicious*.pkl")):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        names.append(path.name)
    found = scan(tmp_path, *names)
    assert names and [name for name in names if found[name]["status"] == "safe"] == []


@pytest.mark.django_db
def test_the_status_of_files(model):
    record_scan("a" * 64, "unsafe", "Loading it would run os.system", ["os.system"])
    record_scan("a" * 64, "unsafe", "again", [])
    entries = [
        Entry("evil.pkl", "1", False, 1, "a" * 64), Entry("new.pt", "2", False, 1, "b" * 64),
        Entry("w.safetensors", "3", False, 1, "c" * 64), Entry("a.txt", "4", False, 1),
    ]  # fmt: skip
    found = {path: row["status"] for path, row in statuses_of(model, entries).items()}
    assert found == {"evil.pkl": "unsafe", "new.pt": "queued", "w.safetensors": "safe", "a.txt": "safe"}
    assert FileScan.objects.count() == 1
