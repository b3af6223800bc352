"""manage.py create_token USER [--role read|write|fineGrained] [--scope …] [--expires …] [--name N] [--value hf_…]"""

from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from models_registry.accounts.services import find_user
from models_registry.accounts.tokens import FineGrained, create_token, scope_of_text
from models_registry.errors import HubError


class Command(BaseCommand):
    help = "Make an access token and print it, and nothing else."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--role", choices=["read", "write", "fineGrained"], default="read")
        parser.add_argument("--name", default="command line")
        parser.add_argument("--value")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            metavar="WHERE:RIGHT,…",
            help="of a fine-grained token, repeatable: a namespace, namespace/name or datasets/namespace/name, then "
            "rights such as repo.content.read, repo.write, discussion.write",
        )
        parser.add_argument(
            "--global",
            action="append",
            default=[],
            dest="global_rights",
            help="fine-grained: a right which holds everywhere",
        )
        parser.add_argument("--gated", action="store_true", help="fine-grained: may read public gated repositories")
        parser.add_argument("--expires", help="a date (2027-01-31), a moment in ISO 8601, or a number of days (30d)")

    def handle(self, *args: Any, **options: Any) -> None:
        narrowed = options["scope"] or options["global_rights"] or options["gated"]
        if narrowed and options["role"] != "fineGrained":
            raise CommandError("--scope, --global and --gated are for --role fineGrained.")
        try:
            user = find_user(options["user"])
            scopes = [scope_of_text(user, text) for text in options["scope"]]
            value = create_token(
                user,
                options["name"],
                options["role"],
                options["value"],
                fine_grained=FineGrained(scopes, options["global_rights"], options["gated"]),
                expires_at=_moment(options["expires"]) if options["expires"] else None,
            )
        except HubError as error:
            raise CommandError(error.message) from error
        self.stdout.write(value)


def _moment(text: str) -> datetime:
    if text.endswith("d") and text[:-1].isdecimal() and len(text) <= 6:
        return timezone.now() + timedelta(days=int(text[:-1]))
    try:
        moment, date = parse_datetime(text), parse_date(text)
    except ValueError:
        moment = date = None
    if moment is None and date is not None:
        moment = datetime(date.year, date.month, date.day)
    if moment is None:
        raise CommandError(
            f"--expires {text!r} is no date (2027-01-31), no moment in ISO 8601 and no number of days (30d)."
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
