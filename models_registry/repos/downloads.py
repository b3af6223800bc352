"""Counting downloads."""

import logging

from django.db import OperationalError
from django.db.models import F

from models_registry.repos.models import Repository
from models_registry.search import trending

logger = logging.getLogger(__name__)


def count_download(repository: Repository) -> None:
    """A download is worth more than its count: on a full disk files can still be read."""
    try:
        trending.note(repository.pk, trending.DOWNLOAD, downloads=F("downloads") + 1)
    except OperationalError as error:
        logger.warning("a download of %s was not counted: %s", repository.path, error)
