"""manage.py move_storage s3|folder [--delete]: copies all files from the folder to S3, or back."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from models_registry.errors import HubError
from models_registry.storage.local import LocalBlobStore
from models_registry.storage.moving import copy_store, delete_copied
from models_registry.storage.s3 import S3BlobStore


class Command(BaseCommand):
    help = "Copy all files to S3 (S3_BUCKET and its keys say where) or from there to the data folder. Resumable."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("to", choices=("s3", "folder"))
        parser.add_argument(
            "--delete", action="store_true", help="then delete from the old place what the new one holds: stop the hub"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.S3_BUCKET:
            raise CommandError("Say where S3 is: S3_BUCKET, S3_ACCESS_KEY, S3_SECRET_KEY and S3_ENDPOINT_URL.")
        folder = LocalBlobStore(settings.FITHUB_DATA / "storage")
        bucket = S3BlobStore(
            settings.S3_BUCKET, settings.S3_ENDPOINT_URL, settings.S3_ACCESS_KEY, settings.S3_SECRET_KEY
        )
        source, target = (folder, bucket) if options["to"] == "s3" else (bucket, folder)
        try:
            moved = copy_store(source, target, self.stderr.write)
            deleted = delete_copied(source, target) if options["delete"] and not moved.damaged else 0
        except (HubError, OSError) as error:
            raise CommandError(f"Cut off: {error}. Run it again, it goes on from here.") from error
        self.stdout.write(
            f"copied {moved.copied:,} objects ({moved.copied_bytes:,} bytes), {moved.there:,} were there already, "
            f"{deleted:,} deleted from the old place"
        )
        if moved.damaged:
            raise CommandError(f"{len(moved.damaged):,} objects are damaged: look at `manage.py verify_storage`.")
