"""Machine classes on which footprints are measured, and what people sent in from theirs."""

from django.db import models


class Device(models.Model):
    """A machine class, e.g. `amd-epyc-2c`, with the profile that was taken there."""

    class Origin(models.TextChoices):
        WORKER = "worker", "a worker of this hub"
        SENT = "sent", "sent in"

    name = models.CharField(max_length=100, unique=True)
    profile = models.JSONField(default=dict, help_text="processor, instruction sets, cores, memory_bytes, measured, …")
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.WORKER, help_text="who takes its profile")
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
