"""One recipe on one source model: make the files, compare them with the source, publish or say why not."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from compression_service.jobs import memos
from compression_service.jobs.files import checkout
from compression_service.jobs.models import Job
from compression_service.jobs.room import check_room
from compression_service.jobs.runners.common import bring_inputs, measure_when_made
from compression_service.jobs.sandbox import SandboxFailed
from compression_service.jobs.slot import machine_slot
from compression_service.variants import services
from compression_service.variants.models import Variant

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = True
_ENDS = {"not_applicable": Variant.Status.NOT_APPLICABLE, "quarantined": Variant.Status.QUARANTINED}


def run(context: "Context") -> str:
    variant = _variant(context.job)
    source = variant.source
    dropped = _dropped(variant)
    if dropped:
        with context.publishing():
            services.end_variant(variant, Variant.Status.NOT_APPLICABLE, dropped)
        measure_when_made(source)
        return f"Not tried: {dropped}"
    baseline = Variant.objects.get(source=source, name="onnx")
    own = {file["path"]: file["size_bytes"] for file in baseline.files if file["path"].startswith("onnx/")}
    task = {"act": "make", "recipe": variant.definition or variant.recipe, "baseline": "baseline", "out": "out"}
    try:
        check_room(sum(own.values()), "make")
        _fetch(context, baseline, own)
        task |= bring_inputs(source, context.folder, context.stop, context.say)
        context.sandbox.shared = memos.folder_for(source)
        task["memo"] = str(context.sandbox.shared)
        with machine_slot(context.stop):
            made = context.run_engine(task)
    except SandboxFailed as refusal:
        status = _ENDS.get(refusal.kind, Variant.Status.FAILED)
        with context.publishing():
            services.end_variant(variant, status, refusal.reason, refusal.result)
        measure_when_made(source)
        return f"{status.label}: {refusal.reason}"
    with context.publishing():
        services.publish_variant(variant, context.folder / "out", made)
    measure_when_made(source)
    return f"{variant.name}: fidelity {made['fidelity']:.4f} ({made['fidelity_metric'].replace('_', ' ')})"


def _dropped(variant: Variant) -> str | None:
    """Why this recipe is not worth trying after what its siblings came to; what a card pins is always tried."""
    # Here, because web processes import the runners and need no onnxruntime (50 MB) for it.
    from compression_service.engine.planner import no_longer_worth

    if variant.recipe in (variant.source.detail.get("wishes") or {}).get("pin", ()):
        return None
    ended = Variant.objects.filter(
        source=variant.source, status__in=(Variant.Status.READY, Variant.Status.QUARANTINED), fidelity__isnull=False
    )
    return no_longer_worth(variant.recipe, dict(ended.values_list("recipe", "fidelity")))


def _fetch(context: "Context", baseline: Variant, paths: Iterable[str]) -> None:
    folder = context.folder / "baseline"
    checkout(
        context.job.repository, baseline.commit, folder, keep=paths, stop=context.stop, say=context.say,
        what="the baseline",
    )  # fmt: skip


def on_failed(job: Job) -> None:
    variant = _variant(job)
    services.end_variant(variant, Variant.Status.FAILED, job.error or "Making it was cancelled.")
    measure_when_made(variant.source)


def _variant(job: Job) -> Variant:
    rows = Variant.objects.select_related("source__repository__namespace", "source__repository__creator")
    return rows.get(pk=job.payload["variant"])
