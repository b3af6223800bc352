"""Leases: two workers never hold one job, a lost worker costs a lease, what was lost is announced again."""

import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from compression_service.jobs import execution, leases
from compression_service.jobs.models import Job
from compression_service.jobs.services import cancel, enqueue
from models_registry.accounts.actors import Actor
from models_registry.errors import Conflict, Forbidden

State = Job.State


@pytest.fixture
def job(model):
    return Job.objects.create(kind="read_rows", key="k", repository=model)


def expire(job):
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def sweep():
    announced, failed = [], []
    leases.sweep(announced.append, lambda job: failed.append(job.pk))
    return announced, failed


def test_only_one_claims(job):
    assert leases.claim(job.pk, "a") and leases.claim(job.pk, "b") is None


def test_an_expired_lease_can_be_claimed_and_the_first_holder_writes_nothing(job):
    first = leases.claim(job.pk, "a")
    expire(job)
    second = leases.claim(job.pk, "b")
    assert second and second != first
    with pytest.raises(leases.LeaseLost):
        leases.renew(job.pk, first)
    assert not leases.finish(job.pk, first, State.DONE)
    assert leases.finish(job.pk, second, State.DONE) and not leases.finish(job.pk, second, State.FAILED)
    job.refresh_from_db()
    assert job.state == State.DONE and job.progress == 1 and job.attempts == 2


def test_renewing_moves_the_lease_and_the_progress(job):
    token = leases.claim(job.pk, "a")
    expire(job)
    leases.renew(job.pk, token, progress=0.5, message="half")
    job.refresh_from_db()
    assert job.lease_until > timezone.now() and (job.progress, job.message) == (0.5, "half")
    assert leases.claim(job.pk, "b") is None


def test_a_job_which_is_given_back_costs_no_attempt(job):
    leases.release(job.pk, leases.claim(job.pk, "a"))
    job.refresh_from_db()
    assert (job.state, job.attempts, job.dispatched_at) == (State.QUEUED, 0, None)


def test_the_sweeper_announces_what_nobody_holds_once(job):
    assert sweep() == ([job.pk], [])
    assert sweep() == ([], [])
    token = leases.claim(job.pk, "a")
    assert sweep() == ([], [])
    expire(job)
    Job.objects.update(dispatched_at=timezone.now() - timedelta(minutes=1))
    assert sweep() == ([job.pk], []) and sweep() == ([], [])
    assert leases.claim(job.pk, "b") and not leases.finish(job.pk, token, State.DONE)


def test_a_job_which_loses_its_worker_too_often_fails_in_words(job):
    for _ in range(3):
        assert leases.claim(job.pk, "a")
        expire(job)
    assert leases.claim(job.pk, "a") is None
    assert sweep() == ([], [job.pk])
    job.refresh_from_db()
    assert job.state == State.FAILED and "lost 3 times" in job.error and sweep() == ([], [])


def test_cancelling_needs_the_right_and_an_open_job(job, alice, bob):
    with pytest.raises(Forbidden):
        cancel(Actor(bob), job)
    cancel(Actor(alice), job)
    job.refresh_from_db()
    assert job.state == State.CANCELLED and leases.claim(job.pk, "a") is None
    with pytest.raises(Conflict):
        cancel(Actor(alice), job)


def test_cancelling_a_running_job_reaches_its_holder(job, alice):
    token = leases.claim(job.pk, "a")
    cancel(Actor(alice), job)
    with pytest.raises(leases.Cancelled):
        leases.renew(job.pk, token)
    assert leases.finish(job.pk, token, State.CANCELLED)


def test_the_same_work_is_queued_once(model):
    first = enqueue("read_rows", model, {}, "same")
    assert enqueue("read_rows", model, {"other": 1}, "same").pk == first.pk and Job.objects.count() == 1


def test_a_worker_whose_folder_went_with_its_lease_says_no_more_than_that(job, monkeypatch, caplog):
    """The sweeper takes the folder of a lost lease away while the slow worker still reads in it."""
    second = uuid.uuid4()

    def run(context):
        Job.objects.filter(pk=job.pk).update(lease_token=second, worker="b")
        raise FileNotFoundError("stderr.txt")

    monkeypatch.setitem(execution.RUNNERS, job.kind, SimpleNamespace(run=run, heavy=False))
    monkeypatch.setattr(execution.Context, "heartbeat", lambda self, ended: None)
    execution.execute(job.pk)
    job.refresh_from_db()
    assert (job.state, job.lease_token, job.error) == (State.RUNNING, second, "")
    assert "lost its lease" in caplog.text and "broke" not in caplog.text
