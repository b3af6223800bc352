"""Counting downloads."""

import logging

from django.db import OperationalError
from django.db.models import F

from models_registry.repos.events import file_downloaded
from models_registry.repos.models import Repository
from models_registry.search import trending

logger = logging.getLogger(__name__)


def count_download(repository: Repository, commit: str = "", path: str = "") -> None:
    """A download is worth more than its count: on a full disk files can still be read.

    `commit` and `path`, where the file is known, are told to other rooms.
    """
    try:
        trending.note(repository.pk, trending.DOWNLOAD, downloads=F("downloads") + 1)
        if path:
            file_downloaded.send(sender=Repository, repository=repository, commit=commit, path=path)
    except OperationalError as error:
        logger.warning("a download of %s was not counted: %s", repository.path, error)
