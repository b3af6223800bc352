"""What a job's work costs is kept with it: processor time always, joules where a meter is."""

from types import SimpleNamespace

import pytest

from compression_service.engine.measure import harness
from compression_service.jobs import leases, spending
from compression_service.jobs.models import Job


@pytest.fixture
def job(model):
    return Job.objects.create(kind="make_variant", key="k", repository=model)


def spend(job, seconds, error=None):
    sandbox = SimpleNamespace(processor_seconds=1.0)
    with spending.recorded(job, sandbox):
        sandbox.processor_seconds += seconds
        if error:
            raise error
    job.refresh_from_db()


def test_all_attempts_count_failed_ones_too_and_without_a_meter_no_joules(job, monkeypatch):
    monkeypatch.setattr(harness, "POWERCAP", "/nowhere")
    spend(job, 2.0)
    with pytest.raises(ValueError, match="refused"):
        spend(job, 3.0, ValueError("refused"))
    job.refresh_from_db()
    assert (job.processor_seconds, job.energy_joules) == (5.0, None)


def test_joules_are_what_the_meter_counted_less_the_machine_at_rest(job, monkeypatch):
    counted, clock = iter([100.0, 130.0, 130.0, 160.0]), iter([0.0, 2.0, 0.0, 2.0])
    monkeypatch.setattr(harness, "idle_watts_of_packages", lambda: 10.0)
    monkeypatch.setattr(harness, "joules", lambda: next(counted))
    monkeypatch.setattr(spending, "monotonic", lambda: next(clock))
    spend(job, 1.0)
    assert job.energy_joules == 10.0
    spend(job, 1.0)
    assert (job.energy_joules, job.processor_seconds) == (20.0, 2.0)


@pytest.mark.parametrize("after", [None, 90.0])
def test_a_meter_which_falls_silent_or_begins_anew_told_nothing(job, monkeypatch, after):
    counted = iter([100.0, after])
    monkeypatch.setattr(harness, "idle_watts_of_packages", lambda: 10.0)
    monkeypatch.setattr(harness, "joules", lambda: next(counted))
    spend(job, 1.0)
    assert (job.energy_joules, job.processor_seconds) == (None, 1.0)


def test_light_jobs_share_the_machine_so_their_joules_are_not_told(job, monkeypatch):
    monkeypatch.setattr(harness, "idle_watts_of_packages", lambda: pytest.fail("not asked"))
    monkeypatch.setattr(harness, "joules", lambda: 5.0)
    job.kind = "read_rows"
    spend(job, 1.0)
    assert (job.energy_joules, job.processor_seconds) == (None, 1.0)


def test_a_job_which_runs_nothing_has_cost_nothing_and_one_of_before_is_not_known(job):
    assert job.processor_seconds is None
    assert leases.claim(job.pk, "worker")
    job.refresh_from_db()
    assert job.processor_seconds == 0.0
    spend(job, 2.0)
    Job.objects.update(state="queued")
    assert leases.claim(job.pk, "another")
    job.refresh_from_db()
    assert job.processor_seconds == 2.0, "a second attempt forgets nothing of the first"
