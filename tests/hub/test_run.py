"""The supervisor: what ends is started again, and a program which can not start ends the hub with a sentence."""

import signal
import socket
import subprocess
import sys
import time

import pytest
from django.core.management import CommandError

from hub.management.commands.run import DEAF_S, _Child, _Listener, _revive


def ended(code: str, lived_s: float) -> _Child:
    child = _Child("web", [sys.executable, "-c", code])
    child.start()
    child.process.wait()
    child.started_at = time.monotonic() - lived_s
    return child


def test_what_was_killed_again_and_again_is_started_again(monkeypatch, capsys):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    child = ended(kill, lived_s=5)
    for _ in range(12):
        _revive([child])
        child.process.wait()
        child.started_at = time.monotonic() - 5
    assert child.failures == 1 and "ended with -9" in capsys.readouterr().err


@pytest.mark.parametrize(("code", "lived_s"), [("raise SystemExit(1)", 5), ("import os; os.kill(os.getpid(), 9)", 0)])
def test_what_can_not_start_is_given_up(monkeypatch, code, lived_s):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    child = ended(code, lived_s)
    with pytest.raises(CommandError, match="web ended 6 times within seconds"):
        for _ in range(20):
            _revive([child])
            child.process.wait()
            child.started_at = time.monotonic() - lived_s


def test_what_runs_is_left_alone():
    child = _Child("web", [sys.executable, "-c", "import time; time.sleep(60)"])
    child.start()
    process = child.process
    _revive([child])
    assert child.process is process
    process.kill()
    process.wait()
    assert isinstance(process, subprocess.Popen)


@pytest.fixture
def web(settings):
    """A process which serves nothing, and a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings.FITHUB_HOST, settings.FITHUB_PORT = probe.getsockname()
    child = _Child("web", [sys.executable, "-c", "import time; time.sleep(60)"])
    child.start()
    yield child
    child.process.kill()
    child.process.wait()


@pytest.mark.parametrize(("listens", "deaf_s", "started_s", "ends"), [
    (False, DEAF_S + 1, DEAF_S + 1, True),
    (True, DEAF_S + 1, DEAF_S + 1, False),  # somebody is there, however slow
    (False, DEAF_S - 5, DEAF_S + 1, False),
    (False, DEAF_S + 1, DEAF_S - 5, False),  # it is still starting
])  # fmt: skip
def test_a_web_which_takes_no_connections_is_ended(web, settings, capsys, listens, deaf_s, started_s, ends):
    listener = _Listener(web)
    web.failures = 5
    listener.heard_at, web.started_at = time.monotonic() - deaf_s, time.monotonic() - started_s
    with socket.socket() as server:
        if listens:
            server.bind((settings.FITHUB_HOST, settings.FITHUB_PORT))
            server.listen(1)
        listener.look()
    assert web.failures == (0 if listens else 5)
    assert web.process.poll() == (-signal.SIGKILL if ends else None)
    assert ("nobody took connections" in capsys.readouterr().err) == ends
