"""What a scan found in a file."""

from django.db import models


class FileScan(models.Model):
    """The verdict on a content. The same bytes are scanned once, wherever they appear."""

    class Status(models.TextChoices):
        SAFE = "safe"
        SUSPICIOUS = "suspicious"
        UNSAFE = "unsafe"

    sha256 = models.CharField(max_length=64, primary_key=True)
    status = models.CharField(max_length=10, choices=Status)
    detail = models.TextField(blank=True, help_text="what was found, for people")
    imports = models.JSONField(default=list, help_text="the names which a pickle would import")
    scanned_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.sha256}: {self.status}"


class FileHeader(models.Model):
    """What the header of a weight file says. The same bytes are read once, wherever they appear."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    facts = models.JSONField(default=dict, help_text="safetensors: parameters by type; GGUF: what its header says")
    problem = models.TextField(blank=True, help_text="why nothing could be read, for people")

    def __str__(self) -> str:
        return self.sha256
