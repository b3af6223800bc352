"""Footprints of a source model's whole family, in one interleaved session on this machine."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from compression_service.devices.services import has_measured_speeds, record_device
from compression_service.engine.measure.machine import profile
from compression_service.jobs.files import checkout
from compression_service.jobs.models import Job
from compression_service.jobs.runners.common import bring_inputs, source_of
from compression_service.jobs.slot import machine_slot
from compression_service.variants import services
from compression_service.variants.models import SourceModel, Variant

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = True


def run(context: "Context") -> str:
    source = source_of(context.job)
    variants = {v.name: v for v in Variant.objects.filter(source=source, status=Variant.Status.READY)}
    context.say(0.02, "fetching the variants")
    described = [_place(context, variant) for variant in variants.values()]
    task = {
        "act": "measure",
        "source": next(item for item in described if item["name"] == "onnx"),
        "variants": [item for item in described if item["name"] != "onnx"],
        "seconds": settings.MEASURE_SECONDS,
        "threads": [1, 0],
        "bench": not has_measured_speeds(profile()["name"]),
        "inputs": bring_inputs(source, context.folder, context.stop, context.say),
    }
    with machine_slot(context.stop):
        session = context.run_engine(task)
    with context.publishing():
        taken, broken = _record(variants, session)
        services.finish_source(source)
    return f"{taken} footprints taken" + (f"; broken while measured: {', '.join(broken)}" if broken else "")


def on_failed(job: Job) -> None:
    """The variants stay: they were checked when they were made. They have no figures, and fit says so."""
    source = source_of(job)
    SourceModel.objects.filter(pk=source.pk).update(reason=f"Not measured: {job.error or 'measuring was cancelled.'}")
    services.finish_source(source)


def _place(context: "Context", variant: Variant) -> dict[str, Any]:
    root = f"v/{variant.name}"
    paths = [file["path"] for file in variant.files]
    checkout(
        context.job.repository, variant.commit, context.folder / root, keep=paths, stop=context.stop, say=context.say,
        what=variant.name,
    )  # fmt: skip
    return {
        "name": variant.name,
        "version": variant.recipe_version,
        "root": root,
        "components": variant.components,
        "files": [path for path in paths if not path.startswith("onnx/")],
    }


def _record(variants: dict[str, Variant], session: dict[str, Any]) -> tuple[int, list[str]]:
    # The name is the worker's own word: a sandbox does not see the cgroup which limits it everywhere.
    device = record_device(profile()["name"], session["device"])
    identity = session.get("identity") or {}
    runtime = f"onnxruntime {identity['versions']['onnxruntime']}"
    now, taken, broken = timezone.now(), 0, []
    for record in session["records"]:
        variant = variants[record["variant"]]
        if record.get("error"):
            services.quarantine(variant, record["error"])
            broken.append(variant.name)
        else:
            own = identity | {"variants": {variant.name: identity["variants"].get(variant.name)}}
            services.record_footprint(variant, device, record | {"identity": own}, runtime, now)
            taken += 1
    return taken, broken
