"""Answers which were given: a pull under way must not see two variants."""

from django.db import models

from models_registry.repos.models import Repository


class FitAnswer(models.Model):
    """The commit which a budget got. It holds for an hour after a newer answer appears (measuring.md §3.5)."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="fit_answers")
    budget = models.CharField(max_length=400, help_text="in its canonical form")
    answer = models.JSONField()
    commit = models.CharField(max_length=40)
    catalogue_version = models.PositiveIntegerField()
    superseded_at = models.DateTimeField(null=True, blank=True, help_text="when a newer answer first appeared")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["repository", "budget"], name="one_answer_a_budget")]

    def __str__(self) -> str:
        return f"{self.budget} of {self.repository}"
