"""Choices of data which somebody looks at before they are written into a model's card."""

from django.db import models

from compression_service.variants.models import SourceModel
from models_registry.repos.models import Repository


class Preview(models.Model):
    """A dataset at a commit and a `fithub:` block, tried on a model's ONNX: what its rows become, or why not."""

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="data_previews")
    source = models.ForeignKey(SourceModel, models.CASCADE, help_text="whose baseline the rows are tried on")
    parent = models.CharField(max_length=40, help_text="main's head when the form was opened: what was seen is changed")
    dataset = models.CharField(max_length=200)
    dataset_commit = models.CharField(max_length=40)
    block = models.JSONField(help_text="the card's whole `fithub:` block as it would be")
    told = models.BooleanField(default=False, help_text="it may be told to readers who can not read the dataset")
    digest = models.CharField(max_length=64, unique=True, help_text="of all above: the same is tried once")
    result = models.JSONField(null=True, help_text="the engine's, or {reason}; null while it is being tried")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.dataset}@{self.dataset_commit[:8]} for {self.repository}"

    @property
    def fits(self) -> bool:
        return self.result is not None and "reason" not in self.result
