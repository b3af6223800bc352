"""A new runtime makes records stale and queues them (measuring.md §1.10). Asked when a worker starts on a machine."""

import logging

from django.db import transaction

from compression_service.devices.models import Device
from compression_service.jobs.services import enqueue
from compression_service.variants.models import Footprint, SourceModel
from compression_service.variants.services import catalogue_grew

logger = logging.getLogger(__name__)
MOST_QUEUED = 50  # families which one start queues; the next start takes the next ones


def queue_stale(device: str, runtime: str) -> int:
    """Mark what a worker measured on this device with another runtime, and measure those families again.

    Returns how many were queued. Until they are measured, their figures are *likely* only.
    """
    older = Footprint.objects.filter(device__name=device, device__origin=Device.Origin.WORKER, trust="verified")
    families = older.exclude(runtime=runtime).values("variant__source")
    queued = 0
    for source in SourceModel.objects.filter(pk__in=families, status="ready").select_related("repository__namespace"):
        with transaction.atomic():
            rows = older.exclude(runtime=runtime).filter(variant__source=source, stale=False)
            if rows.update(stale=True):
                catalogue_grew(source.repository)
            if queued < MOST_QUEUED and _is_current(source):
                enqueue("measure", source.repository, {"source": source.pk}, f"measure:{source.pk}:{runtime}"[:200])
                queued += 1
    if queued:
        logger.info("%d families are measured again on %s: the runtime is %s now", queued, device, runtime)
    return queued


def _is_current(source: SourceModel) -> bool:
    return not SourceModel.objects.filter(repository=source.repository, pk__gt=source.pk, status="ready").exists()
