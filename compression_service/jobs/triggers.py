"""What begins by itself when a commit lands on `main`."""

from typing import Any

from compression_service.jobs.models import Job
from compression_service.jobs.services import enqueue
from compression_service.variants.models import SourceModel
from compression_service.variants.services import begin_source, waiting_for
from models_registry.repos.changes import changes_between
from models_registry.repos.events import revision_published
from models_registry.repos.models import Repository, RepoType
from models_registry.repos.revisions import DEFAULT_BRANCH, HEADS, branch_head, items_at
from models_registry.scanning.services import needs_scan, scans_of

_OF_A_NEW_REPOSITORY = {".gitattributes", "README.md"}
MOST_WAITING = 50  # begun anew by one push of a dataset


def connect() -> None:
    revision_published.connect(on_revision_published, dispatch_uid="compression_service.jobs")


def on_revision_published(
    sender: object,
    *,
    repository: Repository,
    ref: str,
    oid: str,
    old_oid: str | None,
    **_: Any,
) -> None:
    """Runs inside the commit's transaction: the jobs are queued if and only if the commit is."""
    if ref != HEADS + DEFAULT_BRANCH:
        return
    if old_oid is None and items_at(repository, oid).keys() <= _OF_A_NEW_REPOSITORY:
        return
    to_scan = [entry for entry in changes_between(repository, old_oid, oid).added if needs_scan(entry)]
    if set(scans_of(to_scan)) < {entry.sha256 for entry in to_scan}:
        enqueue("scan_files", repository, {"commit": oid}, f"scan_files:{repository.pk}:{oid}")
    if repository.kind is RepoType.DATASET:
        enqueue("read_rows", repository, {"commit": oid}, f"read_rows:{repository.pk}:{oid}")
        for model in waiting_for(repository)[:MOST_WAITING]:
            head = branch_head(model)
            if head is not None:
                _begin(model, head)
    if repository.kind is RepoType.MODEL:
        _begin(repository, oid)


def _begin(model: Repository, commit: str) -> None:
    source = begin_source(model, commit)
    if source is not None:
        _supersede(source)
        enqueue("convert", model, {"source": source.pk}, f"convert:{source.pk}")


def _supersede(source: SourceModel) -> None:
    """Work for an older push is of no use any more."""
    older = Job.objects.filter(repository=source.repository, kind__in=("convert", "make_variant", "measure"))
    older.filter(state=Job.State.QUEUED).update(state=Job.State.CANCELLED, message="a newer push took its place")
    older.filter(state=Job.State.RUNNING).update(cancel_requested=True)
    rows = SourceModel.objects.filter(repository=source.repository, status=SourceModel.Status.MAKING)
    rows.exclude(pk=source.pk).update(status=SourceModel.Status.FAILED, reason="A newer push took its place.")
