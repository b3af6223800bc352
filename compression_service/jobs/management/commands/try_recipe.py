"""manage.py try_recipe NAME MODEL …"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compression_service.jobs.late_recipes import try_recipe
from compression_service.recipes.services import known_recipes
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.services import repository_named


class Command(BaseCommand):
    help = "Try a recipe on models whose variants are made already, without making those anew."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("recipe", help="its name, as list_recipes says it")
        parser.add_argument("models", nargs="*", help="namespace/name of each model")
        parser.add_argument("--all", action="store_true", help="on every model of this hub")

    def handle(self, *args: Any, **options: Any) -> None:
        recipe = next((one for one, _ in known_recipes() if one.name == options["recipe"]), None)
        if recipe is None:
            raise CommandError(f"There is no recipe {options['recipe']!r} here: list_recipes names them.")
        if bool(options["models"]) == options["all"]:
            raise CommandError("Name the models, or say --all.")
        models = [self._model(name) for name in options["models"]]
        rows = Repository.objects.filter(type=RepoType.MODEL).select_related("namespace").order_by("pk")
        queued, left = try_recipe(recipe, rows.iterator() if options["all"] else models)
        for words in left:
            self.stdout.write(words)
        self.stdout.write(f"{recipe.name} {recipe.version} is tried on {queued} model{'' if queued == 1 else 's'}")

    def _model(self, name: str) -> Repository:
        model = repository_named(RepoType.MODEL, name)
        if model is None:
            raise CommandError(f"There is no model {name}.")
        return model
