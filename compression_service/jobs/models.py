"""Background work and who does it."""

from django.db import models

from models_registry.accounts.models import User
from models_registry.repos.models import Repository


class Job(models.Model):
    """One unit of background work with a lease. `leases.py` holds the only code which moves its state."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    OPEN = (State.QUEUED, State.RUNNING)

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=200, unique=True, help_text="the same work is never queued twice")
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="jobs")
    payload = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    progress = models.FloatField(default=0, help_text="0 to 1")
    message = models.CharField(max_length=300, blank=True, help_text="what it is doing, for people")
    error = models.TextField(blank=True, help_text="why it failed, for the contributor")
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=3)
    lease_token = models.UUIDField(null=True, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    cancelled_by = models.ForeignKey(User, models.SET_NULL, null=True, blank=True)
    worker = models.CharField(max_length=100, blank=True)
    sandbox = models.CharField(max_length=100, blank=True, help_text="how untrusted files were held")
    processor_seconds = models.FloatField(
        null=True, blank=True, help_text="of the sandbox, all attempts; null: it was before this was kept"
    )
    energy_joules = models.FloatField(null=True, blank=True, help_text="by the machine's meter, idle subtracted")
    created_at = models.DateTimeField(auto_now_add=True)
    dispatched_at = models.DateTimeField(null=True, blank=True, help_text="when a worker was last told of it")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["state", "lease_until"], name="jobs_to_sweep"),
            models.Index(fields=["repository", "-created_at"], name="jobs_of_a_repository"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN


class Worker(models.Model):
    """A process which claims jobs."""

    name = models.CharField(max_length=100, primary_key=True)
    seen_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
