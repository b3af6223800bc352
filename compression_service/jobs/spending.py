"""What a job's work costs: processor time from the kernel, joules from a meter where the machine has one."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from django.db.models import F
from django.db.models.functions import Coalesce

from compression_service.engine.measure import harness
from compression_service.jobs.models import Job
from compression_service.jobs.sandbox import Sandbox


@contextmanager
def recorded(job: Job, sandbox: Sandbox) -> Iterator[None]:
    """Adds to the job's row what the sandbox spends inside, however it ends: refused and tried again count too.

    Joules are those of the whole machine less what it draws at rest, and only taken of heavy jobs, which have the
    machine for themselves.
    """
    from compression_service.jobs.runners import RUNNERS

    before_s = sandbox.processor_seconds
    idle_watts = harness.idle_watts_of_packages() if RUNNERS[job.kind].heavy else None
    before_j, began = harness.joules(), monotonic()
    try:
        yield
    finally:
        changes: dict[str, object] = {
            "processor_seconds": Coalesce(F("processor_seconds"), 0.0) + sandbox.processor_seconds - before_s
        }
        after_j = harness.joules()
        if idle_watts is not None and before_j is not None and after_j is not None and after_j >= before_j:
            spent = max(0.0, after_j - before_j - idle_watts * (monotonic() - began))
            changes["energy_joules"] = Coalesce(F("energy_joules"), 0.0) + spent
        Job.objects.filter(pk=job.pk).update(**changes)
