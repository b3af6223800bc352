"""manage.py add_recipe FILE.json"""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compression_service.recipes.services import add_recipe
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Add a recipe, or put a new version in its place: it is tried on every model which is pushed from now on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="JSON with name, version, title, suffix, why and steps (docs/recipes.md)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row = add_recipe(json.loads(options["file"].read_text(encoding="utf-8")))
        except OSError as error:
            raise CommandError(f"{options['file']} can not be read: {error.strerror}.") from error
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{options['file']} is not JSON: {error}") from error
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"recipe {row.name} {row.definition['version']} is tried from the next push on")
