"""Running one job: claim it, keep the lease alive, call its runner, end it, whatever happens."""

import logging
import os
import shutil
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from compression_service.jobs import leases, spending
from compression_service.jobs.models import Job
from compression_service.jobs.runners import RUNNERS
from compression_service.jobs.sandbox import Sandbox, SandboxFailed, SandboxStopped
from compression_service.jobs.services import after_failure
from models_registry.errors import HubError

logger = logging.getLogger(__name__)
worker_name = f"{socket.gethostname()}-{os.getpid()}"


class Context:
    """What a runner gets: its job, a folder of its own, a sandbox, and a way to say how far it is."""

    def __init__(self, job: Job, token: uuid.UUID, folder: Path) -> None:
        self.job, self.token, self.folder = job, token, folder
        self.stop = threading.Event()
        self.stop_reason: Exception | None = None
        self.sandbox = Sandbox(folder, self.stop)
        self._said: dict[str, Any] = {}

    def say(self, progress: float, message: str) -> None:
        """Shown to people at the next heartbeat."""
        self._said = {"progress": max(0.0, min(1.0, progress)), "message": message[:300]}

    def run_engine(self, task: dict[str, Any], module: str = "compression_service.engine") -> dict[str, Any]:
        """Run untrusted work in the sandbox and return its result. Raises SandboxFailed."""
        Job.objects.filter(pk=self.job.pk, lease_token=self.token).update(sandbox=self.sandbox.description[:100])
        with spending.recorded(self.job, self.sandbox):
            return self.sandbox.run(module, task, self.say)

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """A transaction which is only entered while the lease is ours. Raises LeaseLost."""
        with transaction.atomic():
            if not leases.holds(self.job.pk, self.token):
                raise leases.LeaseLost
            yield

    def heartbeat(self, ended: threading.Event) -> None:
        """Renews the lease while the work runs; on a lost lease or a cancel it stops the work."""
        pause = min(settings.JOB_LEASE_SECONDS / 3, 1.0)
        try:
            while not ended.wait(pause):
                leases.renew(self.job.pk, self.token, **self._said)
        except (leases.LeaseLost, leases.Cancelled) as reason:
            self.stop_reason = reason
            self.stop.set()
        finally:
            connection.close()


def execute(job_id: int) -> None:
    """Run a job if it is free. Never raises: what went wrong is in the job's row."""
    token = leases.claim(job_id, worker_name)
    if token is None:
        return
    job = Job.objects.select_related("repository__namespace").get(pk=job_id)
    folder = settings.FITHUB_DATA / "work" / f"{job.pk}-{token.hex[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(job, token, folder)
    ended = threading.Event()
    beat = threading.Thread(target=context.heartbeat, args=(ended,), daemon=True)
    beat.start()
    restore = _stop_on_sigterm(context)
    try:
        state, error, message = _run(context)
    finally:
        ended.set()
        beat.join(timeout=30)
        restore()
        shutil.rmtree(folder, ignore_errors=True)
    if state is None:
        leases.release(job.pk, token)
    elif leases.finish(job.pk, token, state, error=error, message=message):
        if state != Job.State.DONE:
            job.refresh_from_db()
            after_failure(job)
        logger.info("job %s (%s) of %s: %s %s", job.pk, job.kind, job.repository.path, state, error)


class _WorkerStopping(Exception):
    pass


def _run(context: Context) -> tuple[Job.State | None, str, str]:
    """(state, error, message); state None when the job is to be given back."""
    job = context.job
    try:
        message = RUNNERS[job.kind].run(context)
        return Job.State.DONE, "", message
    except SandboxFailed as refusal:
        return Job.State.FAILED, refusal.reason, ""
    except (leases.LeaseLost, leases.Cancelled, SandboxStopped) as stopped:
        reason = context.stop_reason or stopped
        if isinstance(reason, _WorkerStopping):
            return None, "", ""
        if isinstance(reason, leases.LeaseLost) and not Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            logger.warning("job %s lost its lease: its result is dropped", job.pk)
            return Job.State.FAILED, "the lease was lost", ""  # `finish` changes nothing: the row is not ours any more
        return Job.State.CANCELLED, "", "cancelled"
    except Exception as error:
        row = Job.objects.filter(pk=job.pk).values_list("cancel_requested", "lease_token").first()
        if row is None or row[0]:
            # A newer push took its place, or the repository is gone: what it worked on may be gone as well.
            return Job.State.CANCELLED, "", "cancelled"
        if row[1] != context.token:  # another worker has it, and the sweeper has taken this one's folder away
            logger.warning("job %s lost its lease: its result is dropped", job.pk)
            return Job.State.FAILED, "the lease was lost", ""
        if isinstance(error, HubError):  # a full disk, a dataset which is gone: said in its own words
            return Job.State.FAILED, error.message, ""
        logger.exception("job %s (%s) broke", job.pk, job.kind)
        return (
            Job.State.FAILED,
            f"The hub could not finish this ({type(error).__name__}): an administrator can read why.",
            "",
        )


def _stop_on_sigterm(context: Context) -> Any:
    """A worker which is told to end gives its job back instead of finishing minutes of work."""
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        context.stop_reason = context.stop_reason or _WorkerStopping()
        context.stop.set()
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, stop)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore
