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

    verified_at = models.DateTimeField(null=True, blank=True, db_index=True, help_text="its bytes were read and hashed")

    def __str__(self) -> str:
        return self.sha256


class Damage(models.Model):
    """Stored bytes which are not what their key says (upkeep/verifying.py). It ends when they are sent again."""

    key = models.CharField(max_length=80, primary_key=True)
    problem = models.TextField()
    found_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.key
