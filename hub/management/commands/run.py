"""manage.py run: the whole hub in the foreground: web, workers, sweeper, webhooks, upkeep. What dies begins anew."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from compression_service.jobs.sandbox import describe
from models_registry.accounts.models import User
from models_registry.accounts.services import create_user
from models_registry.errors import Conflict

GRACE_S = 15
# Seen once in a hundred kills: granian had lost both of its workers, started none, and its own process looked well.
# To start takes seconds, on a busy machine 20.
DEAF_S = 30


@dataclass
class _Child:
    name: str
    argv: list[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    failures: int = 0
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        # A session of its own: Ctrl-C reaches only us, and we end the children in order.
        environment = os.environ | self.environment
        self.process = subprocess.Popen(self.argv, start_new_session=True, env=environment)
        self.started_at = time.monotonic()


class Command(BaseCommand):
    help = "Serve the hub: web, workers, sweeper and sender of webhooks, until Ctrl-C."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--quiet", action="store_true", help="print nothing when it is ready")

    def handle(self, *args: Any, **options: Any) -> None:
        _require_free_port()
        call_command("migrate", verbosity=0)
        login = _first_admin()
        self.ended = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        children = _children()
        for child in children:
            child.start()
        try:
            if self._wait_ready(children) and not options["quiet"]:
                self._greet(login)
            web = _Listener(children[0])
            while not self.ended.wait(0.5):
                web.look()
                _revive(children)
        finally:
            _end(children)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.ended.set()

    def _wait_ready(self, children: list[_Child]) -> bool:
        while not self.ended.wait(0.2):
            _revive(children)
            try:
                with urllib.request.urlopen(f"{local_url()}/healthz", timeout=2) as answer:
                    if answer.status == 200:
                        return True
            except (urllib.error.URLError, OSError):
                continue
        return False

    def _greet(self, login: tuple[str, str] | None) -> None:
        lines = [f"FitHub is ready at {settings.FITHUB_PUBLIC_URL or local_url()}   (Ctrl-C stops it)"]
        lines.append(f"  files lie in {settings.FITHUB_DATA}; untrusted files are held by {describe()}")
        if login:
            lines.append(f"  first start: sign in as {login[0]!r} with the password {login[1]}")
        self.stdout.write("\n".join(lines))
        self.stdout.flush()


def _children() -> list[_Child]:
    manage = [sys.executable, str(settings.BASE_DIR / "manage.py")]
    return [
        _Child("web", [sys.executable, "-m", "hub.web"], environment={"PYTHONPATH": str(settings.BASE_DIR)}),
        _Child("heavy worker", [*manage, "run_worker", "--queue", "heavy"]),
        _Child("light worker", [*manage, "run_worker", "--queue", "light"]),
        _Child("sweeper", [*manage, "run_sweeper"]),
        _Child("webhook sender", [*manage, "run_webhooks"]),
        _Child("upkeep", [*manage, "run_upkeep"]),
    ]


class _Listener:
    """Ends the web when nobody took connections for DEAF_S; it is started again like everything which dies.

    Whether it answers is not asked: while many slow clients read, an answer may take its time.
    """

    def __init__(self, web: _Child) -> None:
        self.web, self.heard_at, self.looked_at = web, time.monotonic(), 0.0

    def look(self) -> None:
        now = time.monotonic()
        if now - self.looked_at < 2:
            return
        self.looked_at = now
        if _takes_connections():
            self.heard_at = now
            self.web.failures = 0  # what served is no program which can not start, however often it is killed
        process = self.web.process
        if process is None or now - max(self.heard_at, self.web.started_at) < DEAF_S:
            return
        print(f"nobody took connections for {DEAF_S} s: the web is ended", file=sys.stderr, flush=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.heard_at = time.monotonic()


def _takes_connections() -> bool:
    try:
        socket.create_connection((_local_host(), settings.FITHUB_PORT), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except OSError:  # a full queue of connections: somebody is there
        return True
    return True


def _revive(children: list[_Child]) -> None:
    for child in children:
        if child.process is None or child.process.poll() is None:
            continue
        lived_s = time.monotonic() - child.started_at
        # What was killed from outside (by hand, for memory) is no program which can not start.
        soon_s = 3 if child.process.returncode < 0 else 10
        child.failures = child.failures + 1 if lived_s < soon_s else 1
        if child.failures > 5:
            raise CommandError(f"The {child.name} ended {child.failures} times within seconds: see its messages above.")
        print(f"the {child.name} ended with {child.process.returncode}: starting it again", file=sys.stderr, flush=True)
        time.sleep(min(0.2 * child.failures, 2))
        child.start()


def _end(children: list[_Child]) -> None:
    for child in children:
        if child.process and child.process.poll() is None:
            child.process.terminate()
    deadline = time.monotonic() + GRACE_S
    for child in children:
        if child.process is None:
            continue
        try:
            child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def _first_admin() -> tuple[str, str] | None:
    """On the first start, an admin with a password which is printed once."""
    if User.objects.exists():
        return None
    password = secrets.token_urlsafe(12)
    for name in ("admin", f"admin-{secrets.token_hex(3)}"):
        try:
            create_user(name, password, admin=True)
            return name, password
        except Conflict:
            continue
    return None


def _require_free_port() -> None:
    with socket.socket(socket.AF_INET6 if ":" in settings.FITHUB_HOST else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.FITHUB_HOST, settings.FITHUB_PORT))
        except OSError as error:
            raise CommandError(
                f"Port {settings.FITHUB_PORT} of {settings.FITHUB_HOST} can not be used ({error.strerror}): "
                "set FITHUB_PORT to another one."
            ) from error


def local_url() -> str:
    host = _local_host()
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.FITHUB_PORT}"


def _local_host() -> str:
    host: str = settings.FITHUB_HOST
    return host if host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104
