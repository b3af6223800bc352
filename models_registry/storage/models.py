"""Contents of files, known by their SHA-256."""

from django.db import models
from django.utils import timezone


class Blob(models.Model):
    """A file's content. It lies whole in the blob store, or as chunks of xorbs when it was pushed by Xet.

    One which is neither whole nor known to Xet is only announced: its bytes are on their way.
    """

    sha256 = models.CharField(max_length=64, primary_key=True)
    size_bytes = models.BigIntegerField()
    is_whole = models.BooleanField(default=True, help_text="lies in the blob store under its sha256")
    xet_hash = models.CharField(max_length=64, blank=True, db_index=True, help_text="else how Xet knows it")
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(
        default=timezone.now, db_index=True, help_text="last sent or granted: garbage collection waits from here on"
    )

    def __str__(self) -> str:
        return self.sha256
