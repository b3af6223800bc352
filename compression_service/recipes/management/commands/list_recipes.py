"""manage.py list_recipes"""

from typing import Any

from django.core.management.base import BaseCommand

from compression_service.engine.recipes import RECIPES
from compression_service.recipes.models import AdministratorRecipe


class Command(BaseCommand):
    help = "Show the recipes: those of the engine, and those which administrators added."

    def handle(self, *args: Any, **options: Any) -> None:
        for recipe in RECIPES:
            self._write(recipe.name, recipe.version, "engine", recipe.title)
        for row in AdministratorRecipe.objects.all():
            origin = "administrator" if row.enabled else "disabled"
            self._write(row.name, row.definition["version"], origin, row.definition["title"])

    def _write(self, name: str, version: str, origin: str, title: str) -> None:
        self.stdout.write(f"{name:<24} {version:<6} {origin:<14} {title}")
