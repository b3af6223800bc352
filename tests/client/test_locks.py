"""The client without a hub: lock files which are damaged, forged, from the future or written at once; what a hub may answer."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

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


@pytest.mark.parametrize(
    "changes",
    [{}, {"variant": "other"}, {"files": ENTRY["files"][:1]}, {"files": [ENTRY["files"][0] | {"size_bytes": 6}]}],
)  # fmt: skip
def test_a_lock_which_names_less_or_other_than_its_commit_is_refused(tmp_path, monkeypatch, capsys, changes):
    from fithub import pulling
    from fithub.cli import main

    files = []
    for name in ("a.onnx", "b.json"):
        (tmp_path / name).write_text("12345")
        files.append({"path": name, "size_bytes": 5, "sha256": hashlib.sha256(b"12345").hexdigest()})
    (tmp_path / "fithub.json").write_text(json.dumps({"variant": "int8", "files": files}))
    monkeypatch.setattr(pulling, "_download", lambda *_arguments: tmp_path)
    entry = ENTRY | {"files": files}
    if "files" in changes:
        changes = {"files": [files[0] | {"size_bytes": changes["files"][0]["size_bytes"]}, *files[2:]]}
    (tmp_path / "l").write_text(lock(entry=entry | changes))
    assert main(["pull", "--locked", str(tmp_path / "l"), "--json"]) == (6 if changes else 0)
    said = json.loads(capsys.readouterr().out)
    assert "as its commit does" in said["error"] if changes else said[0]["variant"] == "int8"


def test_a_pull_tells_the_session_options_with_which_its_figures_hold(tmp_path):
    from fithub import pulling, shown

    wanted = {"enable_cpu_mem_arena": False}
    components = [{"name": "a", "path": "onnx/a.onnx"}, {"name": "b", "path": "onnx/b.onnx", "session_options": wanted}]
    (tmp_path / "fithub.json").write_text(json.dumps({"components": components}))
    found = pulling._session_options(tmp_path)
    assert found == {"onnx/b.onnx": wanted}
    one = pulling.Pulled("alice/m", "frugal", "c" * 40, "", "named", str(tmp_path), [], None, found)
    assert 'session options {"enable_cpu_mem_arena": false} for onnx/b.onnx' in shown.pulled(one)
    (tmp_path / "fithub.json").write_text(json.dumps({"files": []}))  # of a hub from before
    assert pulling._session_options(tmp_path) == {}


@pytest.mark.parametrize(
    "command",
    [["fit", "--limit", "abc"], ["fit", "alice/m", "--memory"], ["variants"], ["nosuch"], ["fit", "alice/m", "--nosuch"],
     ["completion", "tcsh"], ["variants", "../.."], ["variants", "a/.."], ["variants", "a"]],
)  # fmt: skip
def test_a_command_which_cannot_be_read_is_refused_in_json_too(capsys, command):
    from fithub.cli import main

    assert main([*command, "--json"]) == main(command) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 2 and err.startswith("fithub: ")


def test_an_address_which_is_too_long_is_a_wrong_budget(monkeypatch, capsys):
    from fithub import hub
    from fithub.cli import main

    class Session:
        def request(self, *_arguments, **_more):
            return SimpleNamespace(status_code=414, json=lambda: json.loads(""))

    monkeypatch.setattr(hub, "get_session", Session)
    assert main(["fit", "alice/m", "--memory", "1" * 70_000]) == 2
    assert "too long" in capsys.readouterr().err


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
