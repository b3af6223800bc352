"""manage.py run_worker [--queue heavy|light]: a process which claims jobs until it is told to stop."""

import threading
from argparse import ArgumentParser
from importlib import metadata
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.utils import timezone

from compression_service.engine.measure import machine
from compression_service.jobs import execution
from compression_service.jobs.freshness import queue_stale
from compression_service.jobs.models import Worker
from compression_service.jobs.services import HEAVY, LIGHT

SEEN_EVERY_S = 10


class Command(BaseCommand):
    help = "Claim jobs and run them, until SIGTERM or Ctrl-C; a job under way is then given back."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--queue", choices=[HEAVY, LIGHT], help="only this queue (default: both)")

    def handle(self, *args: Any, **options: Any) -> None:
        ended = threading.Event()
        thread = threading.Thread(target=_say_alive, args=(ended,), daemon=True)
        thread.start()
        if options["queue"] != LIGHT:
            queue_stale(machine.profile()["name"], f"onnxruntime {metadata.version('onnxruntime')}")
        try:
            if settings.BROKER_URL:
                self._run_celery(options["queue"])
            else:
                self._run_database_worker(options["queue"])
        finally:
            ended.set()
            connection.close()  # a signal may have ended the loop in the middle of a statement
            Worker.objects.filter(name=execution.worker_name).delete()

    def _run_database_worker(self, queue: str | None) -> None:
        from django_tasks_db.management.commands.db_worker import Worker as DatabaseWorker

        worker = DatabaseWorker(
            queue_names=[queue or "*"],
            interval=0.3,
            batch=False,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=execution.worker_name[:64],
            excluded_queue_names=[],
        )
        worker.configure_signals()
        worker.run()

    def _run_celery(self, queue: str | None) -> None:
        from django_tasks import default_task_backend

        default_task_backend.run_worker([queue] if queue else [HEAVY, LIGHT])  # type: ignore[attr-defined]


def _say_alive(ended: threading.Event) -> None:
    while True:
        try:
            Worker.objects.update_or_create(name=execution.worker_name, defaults={"seen_at": timezone.now()})
        except DatabaseError:
            connection.close()  # the next beat opens a new one
        if ended.wait(SEEN_EVERY_S):
            connection.close()
            return
