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
