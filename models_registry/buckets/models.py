"""Files of buckets: repositories of the type `bucket`, which have paths and contents but no history."""

from django.db import models

from models_registry.repos.models import Repository
from models_registry.storage.models import Blob


class BucketFile(models.Model):
    """What lies at a path of a bucket. `a` and `a/b` may both be there: a path is a key, folders are only seen."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="bucket_files", db_index=False)
    path = models.CharField(max_length=1024)
    blob = models.ForeignKey(Blob, models.PROTECT, related_name="bucket_files")
    mtime_ms = models.BigIntegerField(null=True, help_text="of the sender's file, in milliseconds since 1970")
    content_type = models.CharField(max_length=200, blank=True)
    uploaded_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "path"], name="one_file_a_path")]

    def __str__(self) -> str:
        return self.path
