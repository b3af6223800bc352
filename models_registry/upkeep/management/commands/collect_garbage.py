"""manage.py collect_garbage [--dry-run]: takes away what nothing names any more, or says what it would take."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from models_registry.upkeep.garbage import XORB_DAYS, Freed, Grace, collect


class Command(BaseCommand):
    help = "Take away objects, contents and xorbs which nothing names and nobody used for a while."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="change nothing, say what would be freed")
        parser.add_argument("--days", type=float, help="how long what is unused stays (FITHUB_GARBAGE_DAYS)")
        parser.add_argument(
            "--xorb-days", type=float, default=XORB_DAYS,
            help=f"how long unused xorbs stay (default and least {XORB_DAYS}: clients build on them for three weeks)",
        )  # fmt: skip
        parser.add_argument("--forget-clients", action="store_true", help="allow fewer days for xorbs")

    def handle(self, *args: Any, **options: Any) -> None:
        days = settings.GARBAGE_DAYS if options["days"] is None else options["days"]
        if days < 0 or options["xorb_days"] < 0:
            raise CommandError("A number of days is 0 or more.")
        if options["xorb_days"] < XORB_DAYS and not options["forget_clients"]:
            raise CommandError(
                f"Clients build on xorbs which they sent for three weeks: fewer than {XORB_DAYS} days make their next "
                "push fail until HF_XET_CACHE is cleared. Say --forget-clients if that is meant."
            )
        freed = collect(Grace(days, options["xorb_days"]), dry_run=options["dry_run"])
        for line in _lines(freed, "would be freed" if options["dry_run"] else "freed"):
            self.stdout.write(line)


def _lines(freed: Freed, verb: str) -> list[str]:
    lines = [
        f"{path}: {swept.objects:,} objects ({swept.object_bytes:,} bytes), {len(swept.contents):,} contents let go"
        for path, swept in sorted(freed.repositories.items())
    ]
    return [
        *lines,
        f"git objects: {freed.objects:,} ({freed.object_bytes:,} bytes of the database)",
        f"contents: {freed.contents:,} ({freed.content_bytes:,} bytes)",
        f"second copies of contents which lie as chunks: {freed.copies:,} ({freed.copy_bytes:,} bytes)",
        f"xorbs: {freed.xorbs:,} ({freed.xorb_bytes:,} bytes)",
        f"bytes which no row names: {freed.strays:,} ({freed.stray_bytes:,} bytes)",
        f"{freed.stored_bytes:,} bytes of storage {verb}",
    ]
