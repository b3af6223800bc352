"""manage.py remove_recipe NAME [--disable]"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compression_service.recipes.services import remove_recipe
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Take away a recipe which was added. The variants which it made stay, with its definition."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--disable", action="store_true", help="keep it, and try it on no new push")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            remove_recipe(options["name"], only_disable=options["disable"])
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"recipe {options['name']} {'disabled' if options['disable'] else 'removed'}")
