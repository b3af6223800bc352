"""Recipes which an administrator added, without code."""

from django.db import models


class AdministratorRecipe(models.Model):
    """One recipe beside those of the engine. `definition` is what `engine.definitions.checked` takes."""

    name = models.CharField(max_length=80, unique=True)
    definition = models.JSONField(help_text="name, version, title, suffix, why, steps")
    enabled = models.BooleanField(default=True, help_text="off: kept, and made for no new push")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
