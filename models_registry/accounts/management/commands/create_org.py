"""manage.py create_org NAME --owner USER [--full-name F] [--private-by-default]"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.accounts.services import create_organization, find_user
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Make an organisation; its owner is its first admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--owner", required=True)
        parser.add_argument("--full-name", default="")
        parser.add_argument("--private-by-default", action="store_true", help="what says nothing of it becomes private")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            namespace = create_organization(
                options["name"],
                find_user(options["owner"]),
                options["full_name"],
                private_by_default=options["private_by_default"],
            )
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"organisation {namespace.name}")
