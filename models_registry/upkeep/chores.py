"""What the hub does by itself to keep its store right: garbage once a day, a little verifying and cutting an hour."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from models_registry.upkeep.chunking import chunk_contents
from models_registry.upkeep.garbage import Grace, collect
from models_registry.upkeep.models import Chore
from models_registry.upkeep.verifying import verify

logger = logging.getLogger(__name__)
VERIFY_SECONDS = 60
CHUNK_SECONDS, CHUNK_KEEP_FREE = 600, 0.1  # background work must not be what fills a disk


def _collect() -> None:
    collect(Grace(settings.GARBAGE_DAYS))


def _verify() -> None:
    verify(VERIFY_SECONDS)


def _chunk() -> None:
    chunk_contents(CHUNK_SECONDS, CHUNK_KEEP_FREE)


CHORES: dict[str, tuple[timedelta, Callable[[], None]]] = {
    "collect_garbage": (timedelta(days=1), _collect),
    "verify": (timedelta(hours=1), _verify),
    "chunk": (timedelta(hours=1), _chunk),
}


def do_what_is_due(now: datetime | None = None) -> list[str]:
    """Do each chore which is due and which nobody else took. Returns their names. A new hub begins after one pause."""
    now, done = now or timezone.now(), []
    for name, (pause, act) in CHORES.items():
        Chore.objects.get_or_create(name=name, defaults={"done_at": now})
        if Chore.objects.filter(name=name, done_at__lte=now - pause).update(done_at=now):
            act()
            done.append(name)
    return done
