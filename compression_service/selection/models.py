"""Answers which were given (a pull under way must not see two variants), and what is on offer across models."""

from django.db import models

from models_registry.accounts.models import User
from models_registry.repos.models import Repository

# One index an order of offers.py, each holding all that the usual limits ask about.
_PLACE, _PEAK, _WHO = ("device", "threads", "level"), "peak_memory_bytes", ("variant", "repository")


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


class SavedBudget(models.Model):
    """A budget which somebody saved on a model, with the answer of which they know (saved.py)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="saved_budgets", db_index=False)
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="saved_budgets")
    budget = models.CharField(max_length=400, blank=True, help_text="in its canonical form; empty for `fit@` alone")
    variant = models.CharField(max_length=80, blank=True, help_text="empty: nothing fits")
    commit = models.CharField(max_length=40, blank=True)
    answer = models.CharField(max_length=8)
    checked_version = models.PositiveIntegerField(help_text="of the catalogue, when it was looked at last")
    told_at = models.DateTimeField(null=True, blank=True, help_text="when the answer changed last")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "repository", "budget"], name="one_saved_budget")]

    def __str__(self) -> str:
        return f"{self.budget or 'the default budget'} of {self.repository} for {self.user}"


class Offer(models.Model):
    """A ready variant in one place, flat, so that one walk over an index chooses across all models (offers.py).

    What was not measured is beyond any limit (UNKNOWN), so that it passes none and comes last.
    """

    PROVEN, LIKELY, UNMEASURED = 0, 1, 2
    UNKNOWN = 2**62

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="offers", db_index=False)
    variant = models.CharField(max_length=80)
    commit = models.CharField(max_length=40)
    device = models.CharField(max_length=100, help_text="empty: measured nowhere, only the size is known")
    threads = models.PositiveSmallIntegerField()
    runtime = models.CharField(max_length=80, help_text="as budgets write it, e.g. onnxruntime-1.31.0")
    opset = models.BigIntegerField()
    level = models.PositiveSmallIntegerField(help_text="0 proven, 1 likely, 2 unknown")
    loss = models.FloatField(help_text="1 - fidelity")
    p90_ms = models.FloatField()
    peak_memory_bytes = models.BigIntegerField()
    size_bytes = models.BigIntegerField()
    load_warm_ms = models.FloatField()
    throughput_per_s = models.FloatField(help_text="0 where it was not measured")
    energy_mj = models.FloatField()
    energy_is_estimated = models.BooleanField()
    trust = models.CharField(max_length=10)
    measured_at = models.DateTimeField(null=True)
    estimated_from = models.CharField(max_length=100, default="", help_text="the device whose record was scaled")
    estimate_error = models.FloatField(null=True, help_text="p90 of it in tests; null: never measured")

    class Meta:
        indexes = [
            models.Index(fields=["repository", "device", "threads"], name="offers_of_a_repository"),
            models.Index(fields=[*_PLACE, "loss", "p90_ms", _PEAK, "size_bytes", *_WHO], name="offers_by_fidelity"),
            models.Index(fields=[*_PLACE, "p90_ms", "loss", _PEAK, "size_bytes", *_WHO], name="offers_by_latency"),
            models.Index(fields=[*_PLACE, _PEAK, "loss", "p90_ms", "size_bytes", *_WHO], name="offers_by_memory"),
            models.Index(fields=[*_PLACE, "size_bytes", "loss", "p90_ms", _PEAK, *_WHO], name="offers_by_size"),
        ]

    def __str__(self) -> str:
        return f"{self.variant} of {self.repository} on {self.device or 'no device'}"


class SpeedModel(models.Model):
    """The model by which devices without records are estimated, as it was fitted, with its error (estimates.py)."""

    fitted = models.JSONField()
    newest_record = models.DateTimeField(help_text="of those which it was fitted on")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"model of {self.created_at:%Y-%m-%d %H:%M}"
