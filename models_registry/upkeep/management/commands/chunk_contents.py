"""manage.py chunk_contents [--seconds N]: cuts what came whole into chunks, so that what files share is kept once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.errors import StorageFull
from models_registry.upkeep.chunking import chunk_contents


class Command(BaseCommand):
    help = "Cut contents which came by LFS, git or jobs into chunks. Garbage collection lets their whole copies go."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, help="begin no file after so long; the next run goes on")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = chunk_contents(options["seconds"])
        except StorageFull as error:
            raise CommandError(str(error)) from error
        rest = "" if done.complete else "; more is left for the next run"
        self.stdout.write(
            f"cut {done.files:,} contents ({done.size_bytes:,} bytes) into chunks, {done.new_bytes:,} bytes of them "
            f"new{rest}. collect_garbage lets the whole copies go after their grace."
        )
        if done.failed:
            raise CommandError(f"{done.failed:,} contents stay whole: the log says why.")
