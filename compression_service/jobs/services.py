"""Acts on jobs: queue, cancel, announce to workers."""

import logging

from django.core.exceptions import ObjectDoesNotExist
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django_tasks import task

from compression_service.jobs.models import Job
from models_registry.accounts.actors import Actor
from models_registry.errors import Conflict, NotFound
from models_registry.repos.models import Repository
from models_registry.repos.services import require_write

logger = logging.getLogger(__name__)
HEAVY, LIGHT = "heavy", "light"


@task(queue_name=HEAVY)
def run_heavy_job(job_id: int) -> None:
    """Work which needs the machine for itself: convert, compress, measure."""
    _execute(job_id)


@task(queue_name=LIGHT)
def run_light_job(job_id: int) -> None:
    """Work of seconds: first rows, scans."""
    _execute(job_id)


def enqueue(kind: str, repository: Repository, payload: dict[str, object], key: str) -> Job:
    """Queue work once: the same key gives the same job. The row lives or dies with the caller's transaction."""
    job, created = Job.objects.get_or_create(
        key=key, defaults={"kind": kind, "repository": repository, "payload": payload}
    )
    if created:
        # If the process dies between commit and announcement, the sweeper finds the row.
        transaction.on_commit(lambda: announce_queued(job.pk), robust=True)
    return job


def announce_queued(job_id: int) -> None:
    if Job.objects.filter(pk=job_id, dispatched_at=None).update(dispatched_at=timezone.now()):
        announce(job_id)


def announce(job_id: int) -> None:
    """Tell the workers of a job. Telling twice is harmless: only one can claim it."""
    from compression_service.jobs.runners import RUNNERS

    kind = Job.objects.filter(pk=job_id).values_list("kind", flat=True).first()
    if kind is None:  # its repository was deleted meanwhile
        return
    (run_heavy_job if RUNNERS[kind].heavy else run_light_job).enqueue(job_id)


def commits_in_hand(repository: Repository) -> set[str]:
    """The commits on which jobs work, or will: garbage collection keeps them."""
    rows = Job.objects.filter(repository=repository, state__in=Job.OPEN)
    return {commit for payload in rows.values_list("payload", flat=True) if (commit := payload.get("commit"))}


def cancel(actor: Actor, job: Job) -> None:
    """Stop a job. A queued one ends at once, a running one within seconds. Raises Forbidden, Conflict."""
    require_write(actor, job.repository)
    now = timezone.now()
    rows = Job.objects.filter(pk=job.pk)
    ended = rows.filter(state=Job.State.QUEUED).update(
        state=Job.State.CANCELLED, cancel_requested=True, cancelled_by=actor.user, finished_at=now
    )
    if ended:
        job.refresh_from_db()
        after_failure(job)
    elif not rows.filter(state=Job.State.RUNNING).update(cancel_requested=True, cancelled_by=actor.user):
        raise Conflict(f"The job has ended already: it is {job.state}.")
    logger.info("job %s (%s) cancelled by %s", job.pk, job.kind, actor.name)


def after_failure(job: Job) -> None:
    """Let the job's kind set right what waits for it."""
    from compression_service.jobs.runners import RUNNERS

    try:
        RUNNERS[job.kind].on_failed(job)
    except ObjectDoesNotExist:
        logger.info("job %s (%s): what it was for is gone", job.pk, job.kind)


def jobs_of(repository: Repository) -> QuerySet[Job]:
    return Job.objects.filter(repository=repository).order_by("-created_at", "-pk")


def find_job(repository: Repository, job_id: int) -> Job:
    job = Job.objects.select_related("repository__namespace").filter(repository=repository, pk=job_id).first()
    if job is None:
        raise NotFound("This repository has no such job.")
    return job


def _execute(job_id: int) -> None:
    from compression_service.jobs.execution import execute

    execute(job_id)
