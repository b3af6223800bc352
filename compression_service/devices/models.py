"""Machine classes on which footprints are measured, and what people sent in from theirs."""

from django.db import models

from models_registry.accounts.models import User


class Device(models.Model):
    """A machine class, e.g. `amd-epyc-2c`, with the profile that was taken there."""

    class Origin(models.TextChoices):
        WORKER = "worker", "a worker of this hub"
        SENT = "sent", "sent in"

    name = models.CharField(max_length=100, unique=True)
    profile = models.JSONField(default=dict, help_text="processor, instruction sets, cores, memory_bytes, measured, …")
    origin = models.CharField(max_length=10, choices=Origin, default=Origin.WORKER, help_text="who takes its profile")
    sender = models.ForeignKey(
        User, models.SET_NULL, null=True, blank=True, related_name="devices", help_text="whose profile it is"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name


class Measurement(models.Model):
    """One record which somebody took on their own machine, as they sent it, raw samples and all."""

    sender = models.ForeignKey(User, models.CASCADE, related_name="measurements")
    variant = models.ForeignKey("variants.Variant", models.CASCADE, related_name="measurements")
    device = models.ForeignKey(Device, models.PROTECT, related_name="measurements")
    threads = models.PositiveSmallIntegerField()
    runtime = models.CharField(max_length=80)
    digest = models.CharField(max_length=64, unique=True, help_text="of samples and files: the same is not sent twice")
    p50_ms = models.FloatField()
    p90_ms = models.FloatField()
    peak_memory_bytes = models.BigIntegerField()
    record = models.JSONField(default=dict)
    measured_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["variant", "device", "threads", "runtime"], name="measurements_of_a_place")]

    def __str__(self) -> str:
        return f"{self.variant} on {self.device} by {self.sender}"
