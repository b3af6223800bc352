"""manage.py set_quota NAME [--public GB] [--private GB]: how much a user or an organisation may keep, or shows it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.errors import NotFound
from models_registry.repos.quotas import GB, quota_of
from models_registry.repos.services import find_namespace


class Command(BaseCommand):
    help = "Set how much a namespace may keep in public and in private repositories, in GB (1,000,000,000 bytes)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--public", help="GB, or 'default' for FITHUB_QUOTA_PUBLIC_GB")
        parser.add_argument("--private", help="GB, or 'default' for FITHUB_QUOTA_PRIVATE_GB")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            namespace = find_namespace(options["name"])
        except NotFound as error:
            raise CommandError(error.message) from error
        for kind in ("public", "private"):
            if (text := options[kind]) is not None:
                setattr(namespace, f"{kind}_quota_bytes", _bytes(text))
        namespace.save(update_fields=["public_quota_bytes", "private_quota_bytes"])
        for kind in ("public", "private"):
            quota = quota_of(namespace, private=kind == "private")
            limit = "no limit" if quota.limit_bytes is None else f"of {quota.limit_bytes:,} bytes"
            self.stdout.write(f"{namespace.name}: {kind} repositories keep {quota.used_bytes:,} bytes, {limit}")


def _bytes(text: str) -> int | None:
    if text == "default":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise CommandError(f"{text!r} is no number of GB such as 100 or 0.5: write 'default' for the hub's own.")
    return int(value * GB)
