"""manage.py verify_storage [--seconds N]: reads and hashes what is stored; names what is damaged, and its commits."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from models_registry.storage.models import Damage
from models_registry.upkeep.verifying import touched_by, verify


class Command(BaseCommand):
    help = "Read and hash every stored content and xorb, those first which were longest not looked at."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, help="stop after so long; the next run goes on")

    def handle(self, *args: Any, **options: Any) -> None:
        done = verify(options["seconds"])
        rest = "" if done.complete else "; more is left for the next run"
        self.stdout.write(f"verified {done.objects:,} objects ({done.size_bytes:,} bytes){rest}")
        damages = list(Damage.objects.order_by("key"))
        for damage in damages:
            self.stdout.write(f"{damage.key} is damaged since {damage.found_at:%Y-%m-%d}: {damage.problem}")
            for touched in touched_by(damage.key):
                self.stdout.write(f"  {touched.repository}, {touched.ref}: commit {touched.commit} ({touched.sha256})")
        if damages:
            raise CommandError(
                f"{len(damages):,} objects are damaged: bring them back from a backup, or push those files again."
            )
