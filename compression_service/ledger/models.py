"""Pulls of variants and pushes by Xet, counted while they happen."""

from django.db import models

from models_registry.repos.models import Repository


class PullCount(models.Model):
    """How often a variant was pulled, and what that moved. By name, so that it outlives a family."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="pull_counts")
    variant = models.CharField(max_length=80)
    pulls = models.PositiveBigIntegerField(default=0)
    moved_bytes = models.PositiveBigIntegerField(default=0)
    source_bytes = models.PositiveBigIntegerField(default=0, help_text="which its source would have moved instead")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "variant"], name="one_count_a_variant")]

    def __str__(self) -> str:
        return f"{self.pulls} pulls of {self.variant} of {self.repository}"


class PushCount(models.Model):
    """What pushes by Xet named as files, and what of it travelled as xorbs; the hub's own chunking is no push."""

    repository = models.OneToOneField(Repository, models.CASCADE, related_name="push_count")
    named_bytes = models.PositiveBigIntegerField(default=0)
    sent_bytes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.sent_bytes} of {self.named_bytes} bytes of {self.repository}"
