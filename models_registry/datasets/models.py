"""The first rows of data files, as their page shows them."""

from django.db import models


class FileRows(models.Model):
    """What was read of a data file, known by its git oid: the same bytes are read once."""

    oid = models.CharField(max_length=40, primary_key=True)
    format = models.CharField(max_length=20, blank=True)
    columns = models.JSONField(default=list, help_text="[{name, type}]")
    rows = models.JSONField(default=list)
    num_rows = models.BigIntegerField(null=True)
    truncated = models.BooleanField(default=False)
    error = models.TextField(blank=True, help_text="why there are no rows, for people")
    read_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.oid
