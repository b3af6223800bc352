"""manage.py create_user NAME [--full-name F] [--admin] [--password-stdin]"""

import secrets
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.accounts.services import create_user
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Make a user. Without --password-stdin a password is made and printed once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--admin", action="store_true")
        parser.add_argument("--email", default="")
        parser.add_argument("--full-name", default="")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    def handle(self, *args: Any, **options: Any) -> None:
        given = sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else None
        password = secrets.token_urlsafe(12) if given is None else given
        try:
            user = create_user(
                options["name"],
                password,
                email=options["email"],
                full_name=options["full_name"],
                admin=options["admin"],
            )
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(f"user {user.username}" + (f" password {password}" if given is None else ""))
