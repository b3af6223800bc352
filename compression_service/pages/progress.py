"""What the hub is doing for a repository right now, and what failed since the last push."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from compression_service.jobs.models import Job
from compression_service.jobs.services import jobs_of
from compression_service.variants.models import Variant
from compression_service.variants.services import catalogue_version
from models_registry.accounts.policies import can_write
from models_registry.pages.links import repository_link
from models_registry.pages.places import actor_of
from models_registry.repos.models import Repository

_LOOK_BACK = 60
_BEGINNINGS = ("convert", "read_rows")  # the first job of a push
_TOLD_ELSEWHERE = ("convert", "make_variant", "measure")  # the section of variants says why these failed
_TITLES = {
    "convert": "Convert to ONNX",
    "make_variant": "Make a variant",
    "measure": "Measure every variant",
    "preview_data": "Look at a dataset's rows",
    "read_rows": "Read the first rows",
    "scan_files": "Scan files for pickles",
}


@dataclass(frozen=True)
class Row:
    """A job with a title for people."""

    job: Job
    title: str

    @property
    def percent(self) -> int:
        return round(self.job.progress * 100)


def section(request: HttpRequest, repository: Repository) -> SafeString | None:
    """None when nothing is being done and nothing went wrong."""
    context = context_of(request, repository)
    if not context["open"] and not context["failed"]:
        return None
    return render_to_string("fit_pages/progress.html", context, request)


def context_of(request: HttpRequest, repository: Repository) -> dict[str, Any]:
    newest = list(jobs_of(repository)[:_LOOK_BACK])
    begun = next((job.created_at for job in newest if job.kind in _BEGINNINGS), None)
    rows = titled(newest)
    of_this_push = [row for row in rows if begun is None or row.job.created_at >= begun]
    own = repository_link(repository)
    query = request.GET.copy()
    query["v"] = str(catalogue_version(repository))
    return {
        "repository": repository,
        "own": own,
        "open": [row for row in reversed(rows) if row.job.is_open],
        "failed": [row for row in of_this_push if row.job.state == Job.State.FAILED and not _is_told(row.job)],
        "done_count": sum(row.job.state == Job.State.DONE for row in of_this_push),
        "can_write": can_write(actor_of(request), repository),
        "poll": f"{own}/progress?{query.urlencode()}",
    }


def titled(jobs: Sequence[Job]) -> list[Row]:
    """Jobs with their titles; the names of variants come by one query."""
    wanted = [job.payload.get("variant") for job in jobs if job.kind == "make_variant"]
    names = dict(Variant.objects.filter(pk__in=wanted).values_list("pk", "name")) if wanted else {}
    return [Row(job, _title(job, names)) for job in jobs]


def _title(job: Job, names: dict[int, str]) -> str:
    if job.kind == "make_variant":
        name = names.get(job.payload.get("variant", 0))
        return f"Make {name}" if name else _TITLES[job.kind]
    return _TITLES.get(job.kind, job.kind.replace("_", " ").capitalize())


def _is_told(job: Job) -> bool:
    return job.kind in _TOLD_ELSEWHERE
