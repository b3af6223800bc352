"""What the benchmark of kills hits: commands in forks which began at once, a client which stays, web processes; and when."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.live.hub_process import CLIENT_TOOL, PROJECT, Hub, is_web

MEMORY = 9  # so many undisturbed runs of an act say how long it takes now


class Aim:
    """Draws moments inside an act, from how long it took when nobody disturbed it."""

    def __init__(self, first_s: float) -> None:
        self._took = [first_s]

    def took(self, seconds: float) -> None:
        self._took = [*self._took, seconds][-MEMORY:]

    def draw_s(self, rng: random.Random) -> float:
        """Seconds after its begin; at times a little after its end, where the answer is on its way."""
        return rng.uniform(0, 1.1 * statistics.median(self._took))


class Forks:
    """Commands of manage.py, each in a fork of a process in which Django is set up: no second is spent on starting.

    What is killed is a process of its own with its own connection, as the command by itself would be.
    """

    def __init__(self, hub: Hub) -> None:
        # Not told apart from the hub's own processes at its end, so it is ended before.
        self._process = subprocess.Popen(
            [hub.python, "-m", "tests.benchmarks.killable"], cwd=PROJECT, env=hub.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *command: str, kill_after_s: float | None = None) -> tuple[int, float]:
        """Its exit code (-9: it was killed) and its seconds."""
        began = time.perf_counter()
        pid = int(self._ask(list(command)))
        killer = None
        if kill_after_s is not None:
            killer = threading.Timer(kill_after_s, _kill, [pid])
            killer.start()
        code = int(self._answer())
        took = time.perf_counter() - began
        if killer is not None:
            killer.cancel()
            killer.join()
        return code, took

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def _ask(self, command: list[str]) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process which forks has ended"
        return line


class Client:
    """The stock client in one process which stays, so that a push is killed (or timed) and not its start."""

    def __init__(self, hub: Hub, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(CLIENT_TOOL), "--stay"], env=hub.client_environment() | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def call(self, name: str, **arguments: Any) -> bool:
        """Whether it succeeded."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([{"call": name, **arguments}]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the client's process has ended"
        return "error" not in json.loads(line)[0]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


class WebKill:
    """`with WebKill(hub, who, after_s) as kill: act`: web processes die that long after its begin.

    `who`: "all" of them, granian itself included; its "workers"; or the "one" worker which serves somebody just now.
    Afterwards `kill.in_the_middle` tells whether the act was still running.
    """

    def __init__(self, hub: Hub, who: str, after_s: float) -> None:
        web = hub.web()
        masters = [p for p in web if not is_web(p.parent())]
        workers = [p for p in web if p not in masters and "resource_tracker" not in " ".join(p.cmdline())]
        self._who, self._port, self._after_s = who, hub.port, after_s
        self._victims = [*masters, *workers] if who == "all" else workers
        self._ended, self.in_the_middle = threading.Event(), False
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "WebKill":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        time.sleep(self._after_s)
        victims = self._victims if self._who != "one" else self._serving()[:1] or self._victims[:1]
        self.in_the_middle = not self._ended.is_set()
        for process in victims:
            _kill(process.pid)

    def _serving(self) -> list[psutil.Process]:
        found = []
        for process in self._victims:
            try:
                connections = process.net_connections("tcp4")
            except psutil.Error:
                continue
            if any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == self._port for c in connections):
                found.append(process)
        return found


def timed(act: Callable[[], bool]) -> tuple[bool, float]:
    """Whether it succeeded (an OSError is a failure: who serves it died), and its seconds."""
    began = time.perf_counter()
    try:
        done = act()
    except OSError:
        done = False
    return done, time.perf_counter() - began


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _serve() -> None:
    """Read commands, one a line as JSON; fork for each; answer with its pid, and then with its exit code."""
    sys.path.insert(0, str(PROJECT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hub.settings")
    import django
    from django.core.management import call_command, load_command_class
    from django.db import connections

    django.setup()
    for name in ("collect_garbage", "chunk_contents", "verify_storage"):
        load_command_class("models_registry.upkeep", name)
    for line in sys.stdin:
        connections.close_all()
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            try:
                call_command(*json.loads(line))
            except BaseException as error:
                print(f"{line.strip()}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    assert Path.cwd() == PROJECT
    _serve()
