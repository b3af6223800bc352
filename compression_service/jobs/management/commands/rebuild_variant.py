"""manage.py rebuild_variant NAMESPACE/NAME RECIPE. Exit code 0: same bytes, 1: other bytes, 2: it can not be made."""

import tempfile
from argparse import ArgumentParser
from pathlib import Path
from threading import Event
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compression_service.jobs.rebuilding import CannotRebuild, Rebuilt, published_variant, rebuild
from models_registry.repos.models import RepoType
from models_registry.repos.services import repository_named

_DIFFERS, _CANNOT = 1, 2


class Command(BaseCommand):
    help = "Make a published variant again from its source and compare the bytes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("model", help="namespace/name")
        parser.add_argument("variant", help="the name of its recipe, e.g. int8-dynamic")

    def handle(self, *args: Any, **options: Any) -> None:
        repository = repository_named(RepoType.MODEL, options["model"])
        if repository is None:
            raise CommandError(f"There is no model {options['model']}.", returncode=_CANNOT)
        work = settings.FITHUB_DATA / "work"
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=work, prefix="rebuild-") as folder:
            try:
                found = rebuild(published_variant(repository, options["variant"]), Path(folder), Event(), self._say)
            except CannotRebuild as error:
                raise CommandError(error.reason, returncode=_CANNOT) from error
        self._table(found)
        if not found.same:
            because = f" Not as it was: {'; '.join(found.differences)}." if found.differences else ""
            raise CommandError(f"{found.variant.name} is not made again byte by byte.{because}", returncode=_DIFFERS)
        self.stdout.write(f"{found.variant.name} of {repository.full_name} is made again byte by byte.")

    def _say(self, progress: float, message: str) -> None:
        self.stderr.write(f"{progress:4.0%} {message}")

    def _table(self, found: Rebuilt) -> None:
        width = max(len(file.path) for file in found.files)
        self.stdout.write(f"{'file':<{width}}  {'published':<16}  {'made again':<16}  result")
        for file in found.files:
            published, rebuilt = file.published[:16] or "missing", file.rebuilt[:16] or "missing"
            self.stdout.write(
                f"{file.path:<{width}}  {published:<16}  {rebuilt:<16}  {'same' if file.same else 'differs'}"
            )
