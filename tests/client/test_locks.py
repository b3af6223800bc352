"""The client without a hub: lock files which are damaged, forged, from the future or written at once; what a hub may answer."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ENTRY = {
    "variant": "int8", "commit": "a" * 40, "budget": "memory=1GB", "answer": "proven", "figures": {"p90_ms": 1.0},
    "files": [{"path": "onnx/model.onnx", "size_bytes": 5, "sha256": "b" * 64}],
}  # fmt: skip


@pytest.fixture(autouse=True)
def client(monkeypatch):
    monkeypatch.syspath_prepend(str(PROJECT / "client"))


def lock(entry=None, version=1, **models):
    return json.dumps({"version": version, "models": models or {"alice/m": ENTRY if entry is None else entry}})


def file(**changes):
    return ENTRY | {"files": [ENTRY["files"][0] | changes]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"), ("[" * 100_000, "cannot be read"), ("\xff", "cannot be read"), ("[]", "damaged"),
        ("null", "damaged"), ("{}", "damaged"), (lock(version=2), "upgrade fithub"), (lock(version="1"), "damaged"),
        (lock(version=True)[:-1] + "]", "cannot be read"), (lock(entry=5), "damaged"), (lock(entry={}), "damaged"),
        (lock(entry=ENTRY | {"files": []}), "damaged"), (lock(entry=ENTRY | {"commit": "main"}), "damaged"),
        (lock(entry=ENTRY | {"commit": "fit@memory=1GB,latency=20ms,goal=size..."}), "damaged"),
        (lock(entry=ENTRY | {"commit": None}), "damaged"), (lock(entry=ENTRY | {"variant": [1]}), "damaged"),
        (lock(entry=ENTRY | {"figures": "fast"}), "damaged"), (lock(entry=file(path="../../x")), "damaged"),
        (lock(entry=file(path="/etc/passwd")), "damaged"), (lock(entry=file(path=5)), "damaged"),
        (lock(entry=file(path="a\0b")), "damaged"), (lock(entry=file(sha256=5)), "damaged"),
        (lock(entry=file(sha256="b" * 63)), "damaged"), (lock(entry=file(sha256="")), "damaged"),
        (lock(**{"../../x": ENTRY}), "damaged"), (lock(**{"no slash": ENTRY}), "damaged"), (lock(**{"a/b/c": ENTRY}), "damaged"),
    ],
)  # fmt: skip
def test_a_lock_file_which_is_not_ours_is_refused_in_a_sentence(tmp_path, capsys, text, words):
    from fithub.cli import main

    path = tmp_path / "fithub.lock"
    path.write_bytes(text.encode("latin-1"))
    assert main(["pull", "--locked", str(path), "--json"]) == 6
    said = json.loads(capsys.readouterr().out)
    assert words in said["error"] and said["exit_code"] == 6


def test_a_whole_one_is_read(tmp_path):
    from fithub import locks

    (tmp_path / "l").write_text(lock())
    assert locks.read(tmp_path / "l")["models"] == {"alice/m": ENTRY}


def test_pulls_which_lock_at_once_lose_no_entry(tmp_path):
    from fithub import locks

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: locks.write(tmp_path / "l", f"alice/m{number}", ENTRY), range(40)))
    assert len(locks.read(tmp_path / "l")["models"]) == 40
    assert [path.name for path in tmp_path.iterdir()] == ["l"], "nothing is left behind"


def test_a_lock_file_is_never_written_over_something_else(tmp_path):
    from fithub import locks
    from fithub.errors import LockDiffers

    other = tmp_path / "package.json"
    other.write_text('{"name": "mine"}')
    for path, words in ((other, "damaged"), (tmp_path / "none" / "l", "cannot be written"), (tmp_path, "cannot be")):
        with pytest.raises(LockDiffers, match=words):
            locks.write(path, "alice/m", ENTRY)
    assert other.read_text() == '{"name": "mine"}' and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("arguments", [("--seconds", "nan"), ("--seconds", "0"), ("--seconds", "-1"), ("--seconds", "1e9"),
                                       ("--threads", "-1"), ("--device", "My Board"), ("--device", "x")])  # fmt: skip
def test_what_could_not_be_sent_is_said_before_anything_is_measured(capsys, arguments):
    from fithub.cli import main

    assert main(["measure", "alice/m", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("answer", [[], "x", 5, None, {}, {"variant": "a"}])
def test_an_answer_of_something_which_is_no_fithub_is_no_traceback(monkeypatch, capsys, answer):
    from fithub import hub
    from fithub.cli import main

    monkeypatch.setattr(hub, "_send", lambda *_arguments, **_more: answer)
    for command in (["fit", "alice/m"], ["why", "alice/m"], ["variants", "alice/m"], ["fit"], ["pull", "alice/m"]):
        assert main(command) == 5, command
        assert "is HF_ENDPOINT a FitHub?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[]", '{"files": []}', '{"files": [{"path": "../x", "size_bytes": 1, "sha256": "0"}]}', "[" * 100_000]
)
def test_a_commit_whose_own_list_is_damaged_is_refused(tmp_path, text):
    from fithub import pulling
    from fithub.errors import LockDiffers

    (tmp_path / "fithub.json").write_text(text)
    with pytest.raises(LockDiffers, match="cannot be checked"):
        pulling._stated(tmp_path)
