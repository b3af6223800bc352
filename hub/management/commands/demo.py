"""manage.py demo: start a hub, run the main job on it, print the table, go on serving (not with FITHUB_DEMO_EXIT=1)."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hub.management.commands.run import local_url
from models_registry.accounts.models import User
from models_registry.accounts.services import create_user
from models_registry.accounts.tokens import create_token

USER = "demo"
# The tiny network needs no ten seconds a window to give a p99; every record says how long it took.
DEMO_MEASURE_SECONDS = "2"
DEMO_ALLOWANCE_SECONDS = "45"
START_S = 90


class Command(BaseCommand):
    help = "Push, compress, measure, fit, pull: the main job on real digits."

    def handle(self, *args: Any, **options: Any) -> None:
        from hub.demo.story import Story

        began = time.monotonic()
        environment = os.environ | {
            "FITHUB_ALLOWANCE_SECONDS": os.environ.get("FITHUB_ALLOWANCE_SECONDS", DEMO_ALLOWANCE_SECONDS),
            "FITHUB_MEASURE_SECONDS": os.environ.get("FITHUB_MEASURE_SECONDS", DEMO_MEASURE_SECONDS),
            "FITHUB_LOG_LEVEL": os.environ.get("FITHUB_LOG_LEVEL", "WARNING"),
        }
        # A session of its own: Ctrl-C is for us, and we end the hub in order.
        hub = subprocess.Popen(
            [sys.executable, "manage.py", "run"], cwd=settings.BASE_DIR, env=environment, start_new_session=True
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        try:
            self._wait(hub)
            user = User.objects.filter(username=USER).first() or create_user(USER)
            token = create_token(user, "the demo", "write")
            Story(local_url(), USER, token, self._say).tell()
            self._say(
                f"\nThat took {time.monotonic() - began:.0f} s. The model's page: {local_url()}/{USER}/digits-mlp"
            )
            if not os.environ.get("FITHUB_DEMO_EXIT"):
                self._say("The hub goes on serving; Ctrl-C stops it.")
                hub.wait()
        except KeyboardInterrupt:
            self._say("\nstopping …")
        except RuntimeError as error:
            raise CommandError(str(error)) from error
        finally:
            hub.terminate()
            try:
                hub.wait(timeout=30)
            except subprocess.TimeoutExpired:
                hub.kill()

    def _wait(self, hub: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if hub.poll() is not None:
                raise CommandError("The hub did not start: see its message above.")
            try:
                with urllib.request.urlopen(f"{local_url()}/healthz", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise CommandError(f"The hub was not ready after {START_S} s: see its messages above.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
