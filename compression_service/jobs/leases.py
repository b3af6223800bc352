"""Claim, renew, finish, sweep: each is one conditional UPDATE, so it is atomic on SQLite and PostgreSQL alike.

No queue kept a job safe by itself when its worker was killed, so the lease lies in our own table: a worker which dies
costs the rest of its lease, never a result. Publishing is idempotent besides (variants/services.py).
"""

import logging
import uuid
from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from compression_service.jobs.models import Job

logger = logging.getLogger(__name__)
LOST = (
    "The worker which ran this job was lost {attempts} times: the hub gave up. An administrator can look into its log."
)
_ANNOUNCE_AGAIN = timedelta(minutes=10)


class Cancelled(Exception):
    """Someone asked to stop."""


class LeaseLost(Exception):
    """Another worker has this job now (or its repository is gone): stop, and write nothing."""


def claim(job_id: int, worker: str) -> uuid.UUID | None:
    """Take a job which nobody holds. None when somebody does, or it is finished."""
    now, token = timezone.now(), uuid.uuid4()
    free = Q(state=Job.State.QUEUED) | Q(state=Job.State.RUNNING, lease_until__lt=now)
    rows = Job.objects.filter(free, pk=job_id, attempts__lt=F("max_attempts"), cancel_requested=False)
    changed = rows.update(
        state=Job.State.RUNNING,
        lease_token=token,
        lease_until=now + _lease(),
        attempts=F("attempts") + 1,
        worker=worker,
        started_at=now,
        progress=0,
        message="",
        processor_seconds=Coalesce(F("processor_seconds"), 0.0),  # a job which runs nothing costs nothing, and says so
    )
    return token if changed else None


def renew(job_id: int, token: uuid.UUID, **changes: object) -> None:
    """Hold on for another lease, and say how far the work is. Raises LeaseLost or Cancelled."""
    rows = Job.objects.filter(pk=job_id, lease_token=token, state=Job.State.RUNNING)
    if not rows.update(lease_until=timezone.now() + _lease(), **changes):
        raise LeaseLost
    if Job.objects.filter(pk=job_id, cancel_requested=True).exists():
        raise Cancelled


def finish(job_id: int, token: uuid.UUID, state: Job.State, *, error: str = "", message: str = "") -> bool:
    """End a job. False when the lease was lost meanwhile: then nothing is changed."""
    rows = Job.objects.filter(pk=job_id, lease_token=token, state=Job.State.RUNNING)
    changes: dict[str, object] = {"state": state, "error": error, "finished_at": timezone.now(), "lease_token": None}
    if state == Job.State.DONE:
        changes["progress"] = 1
    if message:
        changes["message"] = message[:300]
    return rows.update(**changes) == 1


def holds(job_id: int, token: uuid.UUID) -> bool:
    """Whether the lease is still ours; asked inside the transaction which publishes, with the row locked."""
    return (
        Job.objects.select_for_update()
        .filter(pk=job_id, lease_token=token, state=Job.State.RUNNING, cancel_requested=False)
        .exists()
    )


def release(job_id: int, token: uuid.UUID) -> None:
    """Give a job back unfinished (the worker was told to stop): it costs no attempt."""
    rows = Job.objects.filter(pk=job_id, lease_token=token, state=Job.State.RUNNING)
    rows.update(
        state=Job.State.QUEUED, lease_token=None, lease_until=None, dispatched_at=None, attempts=F("attempts") - 1
    )


def sweep(announce: Callable[[int], None], on_failed: Callable[[Job], None]) -> int:
    """Announce again what nobody holds, and give up on what lost its worker too often. Returns how many."""
    now, touched = timezone.now(), 0
    expired = Q(state=Job.State.RUNNING, lease_until__lt=now)
    for job in Job.objects.filter(expired, attempts__gte=F("max_attempts")):
        error = LOST.format(attempts=job.attempts)
        rows = Job.objects.filter(expired, pk=job.pk)
        if rows.update(state=Job.State.FAILED, error=error, finished_at=now, lease_token=None):
            logger.warning("job %s (%s) failed: its worker was lost %s times", job.pk, job.kind, job.attempts)
            on_failed(Job.objects.get(pk=job.pk))
            touched += 1
    lost = expired & (Q(dispatched_at=None) | Q(dispatched_at__lt=F("lease_until")))
    unheard = Q(state=Job.State.QUEUED) & (Q(dispatched_at=None) | Q(dispatched_at__lt=now - _ANNOUNCE_AGAIN))
    for job_id, state in Job.objects.filter(lost | unheard).values_list("pk", "state")[:1000]:
        rows = Job.objects.filter(pk=job_id, state=state).filter(lost | unheard)
        if rows.update(dispatched_at=now):
            if state == Job.State.RUNNING:
                logger.warning("job %s lost its worker: announced again", job_id)
            announce(job_id)
            touched += 1
    return touched


def _lease() -> timedelta:
    return timedelta(seconds=settings.JOB_LEASE_SECONDS)
