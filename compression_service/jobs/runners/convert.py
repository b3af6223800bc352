"""From a source model to its ONNX baseline, and the plan of which recipes apply."""

from typing import TYPE_CHECKING, Any

from compression_service.jobs.files import checkout
from compression_service.jobs.models import Job
from compression_service.jobs.runners.common import measure_when_made, source_of
from compression_service.jobs.services import enqueue
from compression_service.jobs.slot import machine_slot
from compression_service.variants import services
from compression_service.variants.models import Variant

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = True


def run(context: "Context") -> str:
    source = source_of(context.job)
    context.say(0.02, "fetching the files")
    checkout(source.repository, source.commit, context.folder / "source", stop=context.stop)
    with machine_slot(context.stop):
        plan = context.run_engine({"act": "convert", "source": "source", "out": "out"})
    with context.publishing():
        detail = {key: plan.get(key) for key in ("components", "support_files", "evidence", "versions")}
        services.plan_variants(source, plan["recipes"], detail, plan["format"])
        baseline = Variant.objects.select_related("source__repository__namespace").get(source=source, name="onnx")
        services.publish_variant(baseline, context.folder / "out", _baseline(plan))
        for variant in Variant.objects.filter(source=source, status=Variant.Status.MAKING):
            enqueue("make_variant", source.repository, {"variant": variant.pk}, f"make_variant:{variant.pk}")
    measure_when_made(source)
    return f"{len(plan['components'])} ONNX file(s); " + ", ".join(r["name"] for r in plan["recipes"] if r["applies"])


def on_failed(job: Job) -> None:
    source = source_of(job)
    services.refuse_source(source, job.error or "The conversion was cancelled.", failed=job.state != Job.State.FAILED)


def _baseline(plan: dict[str, Any]) -> dict[str, Any]:
    """The baseline is what all others are compared with: by definition nothing is lost."""
    return {
        "files": plan["files"],
        "components": [{"name": c["name"], "path": c["path"]} for c in plan["components"]],
        "fidelity": 1.0,
        "fidelity_metric": "itself",
        "provenance": {"evidence": plan.get("evidence"), "versions": plan.get("versions")},
    }
