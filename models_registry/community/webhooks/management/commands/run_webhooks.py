"""manage.py run_webhooks [--once]: sends what webhooks are owed, until it is told to stop."""

import logging
import signal
import threading
import time
from argparse import ArgumentParser
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from models_registry.community.webhooks import delivery

logger = logging.getLogger(__name__)
THREADS, OF_ONE_OWNER = 12, 3  # so that one owner's slow addresses never hold up everybody
PAUSE_S, CLEAR_EVERY_S = 1.0, 3600.0


class Command(BaseCommand):
    help = "Send webhooks: look every second for deliveries which are due, and send them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="send what is due now, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        self.ended = threading.Event()
        if not options["once"]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.ended.set())
        self.running: dict[Future[None], tuple[int, int]] = {}
        cleared_at = 0.0
        with ThreadPoolExecutor(THREADS, thread_name_prefix="webhook") as pool:
            while not self.ended.is_set():
                try:
                    self._begin(pool)
                    if time.monotonic() - cleared_at > CLEAR_EVERY_S or not cleared_at:
                        cleared_at = time.monotonic()
                        delivery.clear_up()
                except DatabaseError:
                    logger.exception("the look-up was cut short; the next one goes on")
                    connection.close()
                if options["once"] and not self.running:
                    return
                self._wait()

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Start what is due, as far as there are threads, each owner with a few at a time."""
        free = THREADS - len(self.running)
        if free <= 0:
            return
        owners = Counter(owner for _, owner in self.running.values())
        under_way = {key for key, _ in self.running.values()}
        busy = [owner for owner, number in owners.items() if number >= OF_ONE_OWNER]
        for key, owner in delivery.due(free + len(under_way), busy):
            if len(self.running) >= THREADS:
                return
            if key in under_way or owners[owner] >= OF_ONE_OWNER:
                continue
            owners[owner] += 1
            self.running[pool.submit(_attempt, key)] = (key, owner)

    def _wait(self) -> None:
        if self.running:
            done, _ = wait(self.running, timeout=PAUSE_S, return_when=FIRST_COMPLETED)
            for future in done:
                del self.running[future]
        else:
            self.ended.wait(PAUSE_S)


def _attempt(key: int) -> None:
    try:
        delivery.attempt(key)
    except Exception:
        # Its claim ends by itself, and it is tried again.
        logger.exception("delivery %s was cut short", key)
    finally:
        connection.close()
