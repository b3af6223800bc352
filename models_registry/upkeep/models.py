"""When upkeep was last done, so that several machines share it."""

from django.db import models


class Chore(models.Model):
    """Work which is due from time to time. Whoever moves `done_at` first does it."""

    name = models.CharField(max_length=40, primary_key=True)
    done_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.name} at {self.done_at}"
