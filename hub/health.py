"""GET /healthz: 200 once everything that a push needs is there, else 503 with what is missing."""

from datetime import timedelta

from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.utils import timezone

from compression_service.jobs.models import Worker
from models_registry.storage.blobstore import blob_store

WORKER_SEEN = timedelta(seconds=60)


def healthz(request: HttpRequest) -> JsonResponse:
    missing: dict[str, str] = {}
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        if not Worker.objects.filter(seen_at__gt=timezone.now() - WORKER_SEEN).exists():
            missing["worker"] = "no worker has been seen for a minute: start `manage.py run_worker`"
    except DatabaseError as error:
        missing["database"] = str(error)[:200]
    try:
        blob_store().check()
    except OSError as error:
        missing["storage"] = str(error)[:200]
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
