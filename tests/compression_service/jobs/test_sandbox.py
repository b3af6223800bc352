"""The sandbox: what it runs, what it refuses, and that it ends what must end."""

import json
import os
import shutil
import sys
import textwrap
import threading
import time

import pytest

from compression_service.jobs import sandbox as module
from compression_service.jobs.sandbox import Sandbox, SandboxFailed, SandboxStopped


@pytest.fixture(params=["bubblewrap", "rlimits"])
def kind(request):
    """How files are held. A test which is about one of them names it by parametrize."""
    return request.param


@pytest.fixture
def run(kind, tmp_path, settings, monkeypatch):
    """Runs a script in the sandbox; returns its result. The script finds `task` and `done(result)`."""
    settings.SANDBOX = kind
    settings.JOB_MEMORY_GB = 1
    module._uses_bubblewrap.cache_clear()
    if kind == "bubblewrap":
        if not shutil.which("bwrap"):
            from tests.conftest import skip_or_fail

            skip_or_fail("bubblewrap is not installed")
        try:
            module._uses_bubblewrap()
        except RuntimeError as error:
            from tests.conftest import skip_or_fail

            skip_or_fail(str(error))
    folder = tmp_path / "work"
    folder.mkdir()
    said = []

    def go(script, stop=None, task=None, shared=None):
        prelude = "import json, sys, os, pathlib\ntask = json.load(open(sys.argv[1]))\n"
        prelude += "def done(r): pathlib.Path('result.json').write_text(json.dumps(r))\n"
        (folder / "child.py").write_text(prelude + textwrap.dedent(script))
        go.box = box = Sandbox(folder, stop or threading.Event())
        box.shared = shared
        monkeypatch.setattr(module, "_environment", lambda: {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder)})
        return box.run("child", task or {}, lambda progress, message: said.append((progress, message)))

    go.said, go.folder, go.kind = said, folder, kind
    yield go
    module._uses_bubblewrap.cache_clear()


def test_a_result_and_progress_come_back(run):
    script = (
        'print("noise"); print(json.dumps({"progress": 0.5, "message": "half"}), flush=True); done({"x": task["a"]})'
    )
    assert run(script, task={"a": 7}) == {"x": 7} and run.said == [(0.5, "half")]


def test_what_no_database_takes_is_left_out_of_texts(run):
    assert run(r'done({"a\u0000": ["x\u0000y", "\ud800z", 1.5, None]})') == {"a": ["xy", "?z", 1.5, None]}


def test_a_refusal_carries_its_kind_and_sentence(run):
    with pytest.raises(SandboxFailed) as caught:
        run('done({"error": {"kind": "not_applicable", "reason": "no weights"}, "fidelity": 0.5}); sys.exit(3)')
    assert (caught.value.kind, caught.value.reason, caught.value.result["fidelity"]) == (
        "not_applicable",
        "no weights",
        0.5,
    )


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("raise ValueError('x')", "unexpected error"),
        ("pass", "unexpected error"),
        ("os.kill(os.getpid(), 11)", "crashed"),
        ("import pathlib; pathlib.Path('result.json').symlink_to('/etc/passwd')", "unexpected error"),
        ("pathlib.Path('result.json').write_text('[1]')", "unexpected error"),
        ("pathlib.Path('result.json').write_text('{')", "unexpected error"),
    ],
)
def test_a_child_which_breaks_is_a_sentence(run, script, words):
    with pytest.raises(SandboxFailed, match=words):
        run(script)


def test_memory_is_limited(run):
    with pytest.raises(SandboxFailed):
        run("x = bytearray(3 * 1024**3); done({})")


def test_there_is_no_network(run):
    script = """
        import socket
        try:
            s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", task["port"])); done({"reached": True})
        except OSError: done({"reached": False})
    """
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        if run.kind == "rlimits" and module._seccomp_library() is None:
            pytest.skip("libseccomp is not installed: rlimits alone can not hold the network")
        assert run(script, task={"port": server.getsockname()[1]}) == {"reached": False}


def test_children_of_one_source_share_a_folder(run, tmp_path):
    shared = tmp_path / "memo"
    shared.mkdir()
    run('open(task["memo"] + "/x", "w").write("kept"); done({})', task={"memo": str(shared)}, shared=shared)
    script = 'done({"read": open(task["memo"] + "/x").read()})'
    assert run(script, task={"memo": str(shared)}, shared=shared) == {"read": "kept"}


@pytest.mark.parametrize("kind", ["bubblewrap"])
def test_bubblewrap_hides_the_hosts_files_and_keeps_code_read_only(run, tmp_path):
    (tmp_path / "secret").write_text("x")
    script = """
        def writes(path):
            try: open(path, "w"); return True
            except OSError: return False
        import os
        done({"secret": os.path.exists(task["secret"]), "etc": os.path.exists("/etc/passwd"), "uid": os.getuid(),
              "code": writes(task["code"]), "own": writes("own.txt"), "env": sorted(os.environ)})
    """
    from django.conf import settings

    code = str(settings.BASE_DIR / "compression_service" / "new.py")
    result = run(script, task={"secret": str(tmp_path / "secret"), "code": code})
    assert (result["secret"], result["etc"], result["code"], result["own"]) == (False, False, False, True)
    assert result["uid"] == 65534 and "SECRET_KEY" not in result["env"]


def test_processor_time_of_the_child_and_its_children_is_told(run):
    burn = "import time, subprocess, sys\n"
    burn += "loop = 'import time\\nwhile time.process_time() < 0.4: pass'\n"
    run(burn + "subprocess.run([sys.executable, '-c', loop], check=True); exec(loop); done({})")
    assert 0.8 <= run.box.processor_seconds < 20
    with pytest.raises(SandboxFailed):
        run("import time\nwhile time.process_time() < 0.4: pass\nsys.exit(1)")
    assert run.box.processor_seconds >= 0.4, "what failed was spent as well"


def test_stopping_ends_the_child_at_once(run):
    stop = threading.Event()
    threading.Timer(0.7, stop.set).start()
    began = time.monotonic()
    with pytest.raises(SandboxStopped):
        run("import time, subprocess; subprocess.Popen(['sleep', '600']); time.sleep(600)", stop)
    assert time.monotonic() - began < 30


def test_a_child_which_takes_too_long_is_ended(run, settings):
    settings.JOB_SECONDS = 1
    with pytest.raises(SandboxFailed, match="longer than"):
        run("import time; time.sleep(600)")


def test_forcing_bubblewrap_where_it_is_missing_is_said(settings, monkeypatch):
    settings.SANDBOX = "bubblewrap"
    module._uses_bubblewrap.cache_clear()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="bwrap is not installed"):
        module.describe()
    module._uses_bubblewrap.cache_clear()


def test_secrets_are_not_passed_on(monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "s")
    monkeypatch.setenv("S3_SECRET_KEY", "s")
    assert "s" not in json.dumps(module._environment()).split('"')
    assert os.environ["SECRET_KEY"] == "s" and sys.executable
