"""manage.py run_upkeep [--once]: collects garbage once a day and verifies a little every hour, until told to stop."""

import logging
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection

from models_registry.errors import HubError
from models_registry.upkeep.chores import do_what_is_due

logger = logging.getLogger(__name__)
LOOK_EVERY_S = 60.0


class Command(BaseCommand):
    help = "Keep the store right: collect garbage, verify what is stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="do what is due now, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        ended = threading.Event()
        if not options["once"]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: ended.set())
        while True:
            try:
                do_what_is_due()
            except (DatabaseError, OSError, HubError):
                logger.exception("upkeep was cut short; the next one goes on")
            if options["once"]:
                return
            connection.close()  # an idle minute needs none
            if ended.wait(LOOK_EVERY_S):
                return
