"""Rows of a dataset as a model will get them, for the page on which its data is chosen.

Light, and without the machine's slot, for a person waits for it: a measuring session beside it may be taken again.
"""

from typing import TYPE_CHECKING, Any

from compression_service.engine.definitions import BASELINE
from compression_service.jobs.files import checkout
from compression_service.jobs.models import Job
from compression_service.jobs.room import check_room
from compression_service.jobs.runners.common import bring_rows, bring_support
from compression_service.jobs.sandbox import SandboxFailed
from compression_service.linking.models import Preview
from compression_service.linking.services import record_result
from compression_service.variants.datasets import usable_dataset
from compression_service.variants.models import Variant

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = False


def run(context: "Context") -> str:
    preview = _preview(context.job)
    try:
        result = _tried(context, preview)
    except SandboxFailed as refusal:
        result = {"reason": refusal.reason}
    with context.publishing():
        record_result(preview, result)
    return f"{preview.dataset} does not fit" if "reason" in result else f"{preview.dataset} fits"


def _tried(context: "Context", preview: Preview) -> dict[str, Any]:
    source = preview.source
    dataset = usable_dataset(source.repository, preview.dataset)
    if dataset is None:
        raise SandboxFailed("refused", f"{preview.dataset} is not here any more, or was hidden meanwhile.")
    baseline = Variant.objects.get(source=source, name=BASELINE)
    own = {file["path"]: file["size_bytes"] for file in baseline.files if file["path"].startswith("onnx/")}
    check_room(sum(own.values()), "look at the data")
    folder, stop = context.folder, context.stop
    checkout(source.repository, baseline.commit, folder / "baseline", keep=own, stop=stop, say=context.say,
             what="the baseline")  # fmt: skip
    task = {"act": "preview", "baseline": "baseline"} | bring_support(source, folder, stop)
    task |= bring_rows(dataset, preview.dataset_commit, preview.block, folder, stop, context.say)
    return context.run_engine(task)


def on_failed(job: Job) -> None:
    record_result(_preview(job), {"reason": job.error or "Looking at the rows was cancelled."})


def _preview(job: Job) -> Preview:
    rows = Preview.objects.select_related("source__repository__namespace", "source__repository__creator")
    return rows.get(pk=job.payload["preview"])
