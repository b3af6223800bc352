"""Machine classes on which footprints are measured."""

from django.db import models


class Device(models.Model):
    """A machine class, e.g. `amd-epyc-2c`, with the profile that its worker took."""

    name = models.CharField(max_length=100, unique=True)
    profile = models.JSONField(default=dict, help_text="processor, instruction sets, cores, memory_bytes, kernel, …")
    created_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.name
