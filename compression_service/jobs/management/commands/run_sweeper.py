"""manage.py run_sweeper [--once]: announces jobs again whose worker died, and clears up after it."""

import logging
import shutil
import signal
import threading
import time
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.utils import timezone

from compression_service.jobs import leases, memos
from compression_service.jobs.models import Job, Worker
from compression_service.jobs.services import after_failure, announce
from compression_service.selection.estimating import refit
from compression_service.selection.offers import refresh_lagging
from compression_service.selection.saved import tell_of_better

logger = logging.getLogger(__name__)
STAGING_LIVES_S = 24 * 3600


class Command(BaseCommand):
    help = "Look every few seconds for jobs which nobody holds, and announce them again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        ended = threading.Event()
        if not options["once"]:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: ended.set())
        pause = max(1.0, min(10.0, settings.JOB_LEASE_SECONDS / 3))
        while True:
            try:
                leases.sweep(announce, after_failure)
                refresh_lagging()
                refit()
                tell_of_better()
                _clear_up()
            except DatabaseError:
                logger.exception("the sweep was cut short; the next one goes on")
                connection.close()
            if options["once"] or ended.wait(pause):
                return


def _clear_up() -> None:
    """Folders of jobs which have ended, staged bytes of uploads which were cut off, workers which are gone."""
    root = settings.FITHUB_DATA / "work"
    folders = list(root.iterdir()) if root.exists() else []
    for folder in folders:
        job_id, _, token = folder.name.partition("-")
        if not job_id.isdecimal():
            continue
        row = Job.objects.filter(pk=int(job_id)).values_list("state", "lease_token").first()
        if row is None or row[0] != Job.State.RUNNING or row[1] is None or not row[1].hex.startswith(token):
            shutil.rmtree(folder, ignore_errors=True)
    memos.drop_left_over()
    staging = settings.FITHUB_DATA / "storage" / "staging"
    for path in staging.iterdir() if staging.exists() else []:
        if path.is_file() and time.time() - path.stat().st_mtime > STAGING_LIVES_S:
            path.unlink(missing_ok=True)
    now = timezone.now()
    Worker.objects.filter(seen_at__lt=now - timedelta(minutes=10)).delete()
    if not settings.BROKER_URL:
        from django_tasks_db.models import DBTaskResult

        DBTaskResult.objects.filter(enqueued_at__lt=now - timedelta(days=2)).exclude(status="READY").delete()
