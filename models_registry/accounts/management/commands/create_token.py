"""manage.py create_token USER [--role read|write] [--name N] [--value hf_…]"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.accounts.services import create_token, find_user
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Make an access token and print it, and nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--role", choices=["read", "write"], default="read")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--value")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            value = create_token(find_user(options["user"]), options["name"], options["role"], options["value"])
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(value)
