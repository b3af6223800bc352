"""Variants, fits and jobs over HTTP (measuring.md §3.7, §3.8)."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from compression_service.api import shapes
from compression_service.devices.energy import energy_of
from compression_service.devices.measurements import measurements_of, send
from compression_service.devices.models import Measurement
from compression_service.devices.services import KnownDevice, known_devices
from compression_service.jobs.models import Job
from compression_service.jobs.services import cancel, find_job, jobs_of
from compression_service.recipes.services import known_recipes
from compression_service.selection.across import MOST_RESULTS, choose_across
from compression_service.selection.budgets import KEYS, PREFIX, Budget, BudgetError
from compression_service.selection.candidates import beaten_by
from compression_service.selection.models import SavedBudget
from compression_service.selection.saved import drop_budget, save_budget, saved_budgets
from compression_service.selection.services import answer_budget, bad_budget, candidates_of
from compression_service.variants.models import Footprint, Variant
from compression_service.variants.services import catalogue_version, current_source
from models_registry.accounts.actors import Actor
from models_registry.accounts.policies import can_change_device
from models_registry.errors import NotFound
from models_registry.hfapi.base import HubView, endpoint, json_object, moment, number, text_field
from models_registry.hfapi.info import filters_of
from models_registry.repos.models import RepoType

FILTERS = ("pipeline_tag", "search", "author", "filter", "limit")  # beside the budget's own keys


class Variants(HubView):
    answers = shapes.VariantsShape

    def get(self, request: Request, namespace: str, name: str) -> Response:
        """The variants of a model with their footprints, and why others were not made."""
        repository = self.repository("models", namespace, name)
        source = current_source(repository)
        body: dict[str, Any] = {"catalogue_version": str(catalogue_version(repository)), "source": None, "variants": []}
        if source is None:
            return Response(body)
        beaten = beaten_by(candidates_of(source))
        rows = Variant.objects.filter(source=source).prefetch_related("footprints__device")
        body["source"] = {"commit": source.commit, "status": source.status, "reason": source.reason or None}
        body["source"] |= {"format": source.format or None, "dataset": source.dataset or None}
        body["variants"] = [variant_json(variant, beaten.get(variant.name, []), with_layers=False) for variant in rows]
        return Response(body)


class Recipes(HubView):
    answers = shapes.RecipeShape(many=True)

    def get(self, request: Request) -> Response:
        """Every recipe which is tried on a push. Without `origin`, one is a file for `manage.py add_recipe`."""
        return Response([recipe.as_json() | {"origin": origin} for recipe, origin in known_recipes()])


class Measurements(HubView):
    answers = shapes.MeasurementShape(many=True)
    max_body_bytes = 8 * 1024 * 1024

    @extend_schema(parameters=[OpenApiParameter("variant", OpenApiTypes.STR)])
    def get(self, request: Request, namespace: str, name: str) -> Response:
        """What people measured on their own machines, with raw samples; the newest 100."""
        repository = self.repository("models", namespace, name)
        rows = measurements_of(repository, request.query_params.get("variant", "")[:80])
        return Response([measurement_json(row) for row in rows])

    @extend_schema(request=shapes.SendingShape, responses=shapes.SentShape)
    def post(self, request: Request, namespace: str, name: str) -> Response:
        """Send in what `fithub measure` took; refused as a whole when a record is forged, impossible or known."""
        repository = self.repository("models", namespace, name)
        found = send(self.actor, repository, json_object(request), hub=endpoint(request))
        taken = [
            {"variant": row.variant.name, "threads": row.threads, "trust": row.trust, "disputed": row.disputed}
            for row in found
        ]
        device = found[0].device.name
        flags = [row.variant.name for row in found if row.disputed]
        sentence = f"{len(taken)} records of {repository.full_name} on {device} were taken in."
        if not can_change_device(self.actor, found[0].device):
            sentence += f" The profile of {device} stays what it was."
        sentence += f" Others measured something else for {', '.join(flags)}: a flag says so." if flags else ""
        return Response({"device": device, "taken": taken, "sentence": sentence}, status=201)


class Devices(HubView):
    answers = shapes.DeviceShape(many=True)

    def get(self, request: Request) -> Response:
        """The devices which a budget can name; `origin` says whether a worker, a sender or a datasheet speaks."""
        return Response([device_json(one, self.actor) for one in known_devices()])


class FitView(HubView):
    answers = shapes.FitShape

    @extend_schema(parameters=[OpenApiParameter(key, OpenApiTypes.STR) for key in KEYS])
    def get(self, request: Request, namespace: str, name: str) -> Response:
        """The best variant for a budget, with the reasons; `answer` is none when nothing fits."""
        repository = self.repository("models", namespace, name)
        try:
            budget = Budget.from_query(request.query_params)
        except BudgetError as error:
            raise bad_budget(error) from error
        return Response(answer_budget(repository, budget).body)


class SavedBudgets(HubView):
    answers = shapes.SavedBudgetShape(many=True)

    def get(self, request: Request, namespace: str, name: str) -> Response:
        """The budgets which you saved on a model."""
        rows = saved_budgets(self.actor, self.repository("models", namespace, name))
        return Response([saved_json(row) for row in rows])

    @extend_schema(request=shapes.SavingShape, responses=shapes.SavedBudgetShape)
    def post(self, request: Request, namespace: str, name: str) -> Response:
        """Save a budget: your webhooks which watch the model are told when another variant becomes its answer."""
        repository = self.repository("models", namespace, name)
        saved = save_budget(self.actor, repository, text_field(json_object(request), "budget"))
        return Response(saved_json(saved), status=201)

    @extend_schema(parameters=[OpenApiParameter("budget", OpenApiTypes.STR, required=True)], responses={204: None})
    def delete(self, request: Request, namespace: str, name: str) -> Response:
        """Take a saved budget away."""
        repository = self.repository("models", namespace, name)
        drop_budget(self.actor, repository, request.query_params.get("budget", ""))
        return Response(status=204)


class AcrossView(HubView):
    answers = shapes.AcrossShape

    @extend_schema(parameters=[OpenApiParameter(key, OpenApiTypes.STR) for key in (*FILTERS, *KEYS)])
    def get(self, request: Request) -> Response:
        """The best variant of each model that fits a budget, the best model first; `results` is empty if none does."""
        query = request.query_params
        try:
            budget = Budget.from_query(query, ignore=FILTERS)
        except BudgetError as error:
            raise bad_budget(error, FILTERS) from error
        limit = number(request, "limit", 10, MOST_RESULTS) or 1
        return Response(choose_across(self.actor, budget, filters_of(query, RepoType.MODEL), limit))


class Jobs(HubView):
    answers = shapes.JobShape(many=True)

    def get(self, request: Request, types: str, namespace: str, name: str) -> Response:
        """The newest jobs of a repository, with their progress."""
        repository = self.repository(types, namespace, name)
        return Response([job_json(job) for job in jobs_of(repository)[:100]])


class JobView(HubView):
    answers = shapes.JobShape

    def get(self, request: Request, types: str, namespace: str, name: str, job_id: int) -> Response:
        """One job."""
        return Response(job_json(find_job(self.repository(types, namespace, name), job_id)))


class CancelJob(HubView):
    answers = shapes.JobShape

    def post(self, request: Request, types: str, namespace: str, name: str, job_id: int) -> Response:
        """Stop a job."""
        job = find_job(self.repository(types, namespace, name), job_id)
        cancel(self.actor, job)
        job.refresh_from_db()
        return Response(job_json(job))


class VariantView(HubView):
    answers = shapes.VariantShape

    def get(self, request: Request, namespace: str, name: str, variant: str) -> Response:
        """One variant, with what each pass did to each layer."""
        source = current_source(self.repository("models", namespace, name))
        row = Variant.objects.filter(source=source, name=variant).first() if source else None
        if row is None:
            raise NotFound(f"There is no variant {variant[:80]!r}.")
        return Response(variant_json(row, beaten_by(candidates_of(source)).get(row.name, [])))


def variant_json(variant: Variant, beaten: list[str], *, with_layers: bool = True) -> dict[str, Any]:
    """`with_layers`: what each pass did to each layer as well, which is long."""
    return {
        "name": variant.name,
        "recipe": variant.recipe,
        "recipe_version": variant.recipe_version,
        "title": variant.title,
        "status": variant.status,
        "reason": variant.reason or None,
        "revision": variant.ref if variant.commit else None,
        "commit": variant.commit or None,
        "components": variant.components,
        "files": variant.files,
        "passes": variant.passes if with_layers else [_without_layers(entry) for entry in variant.passes],
        "flagged": variant.flagged,
        "beaten_by": beaten,
        "footprints": [footprint_json(row, variant) for row in variant.footprints.all()],
    }


def _without_layers(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "layers"}


def footprint_json(row: Footprint, variant: Variant) -> dict[str, Any]:
    latency = row.record.get("latency_ms") or {}
    energy_mj, energy_method = energy_of(row.record, row.device)
    percentiles = ("min", "p50", "p90", "p90_low", "p90_high", "p95", "p99", "mean", "stdev", "count")
    kept: tuple[str, ...] = (
        "ratio_to_source",
        "noise",
        "seconds",
        "input_shapes",
        "inputs",
        "session_options",
        "warmup",
    )
    kept += ("identity", "cpu_ms", "ran_within")
    return {
        "device": row.device.name,
        "threads": row.threads,
        "runtime": row.runtime,
        "trust": row.trust,
        "noisy": row.noisy,
        "stale": row.stale,
        "disputed": row.disputed,
        "senders": row.senders,
        "size_bytes": row.size_bytes,
        "wire_bytes": row.wire_bytes,
        "peak_memory_bytes": row.peak_memory_bytes,
        "added_memory_bytes": row.added_memory_bytes,
        "anonymous_bytes": row.record.get("anonymous_bytes"),
        "file_backed_bytes": row.record.get("file_backed_bytes"),
        "load_ms": {"cold": row.load_cold_ms, "warm": row.load_warm_ms},
        "latency_ms": {key: latency.get(key) for key in percentiles},
        "throughput_per_s": row.throughput_per_s,
        "fidelity": variant.fidelity,
        "fidelity_metric": variant.fidelity_metric or None,
        "fidelity_inputs": variant.fidelity_inputs or None,
        "metric": variant.metric,
        "energy_mj": energy_mj,
        "energy_method": energy_method,
        "measured_at": moment(row.measured_at),
        **{key: row.record.get(key) for key in kept},
    }


def saved_json(row: SavedBudget) -> dict[str, Any]:
    return {
        "budget": row.budget,
        "revision": PREFIX + row.budget,
        "variant": row.variant or None,
        "commit": row.commit or None,
        "answer": row.answer,
        "told_at": moment(row.told_at) if row.told_at else None,
        "created_at": moment(row.created_at),
    }


def measurement_json(row: Measurement) -> dict[str, Any]:
    return {
        "variant": row.variant.name,
        "sender": row.sender.username,
        "device": row.device.name,
        "threads": row.threads,
        "runtime": row.runtime,
        "p50_ms": row.p50_ms,
        "p90_ms": row.p90_ms,
        "peak_memory_bytes": row.peak_memory_bytes,
        "samples_ms": row.record.get("samples_ms"),
        "ratio_to_source": row.record.get("ratio_to_source"),
        "measured_at": moment(row.measured_at),
    }


def device_json(one: KnownDevice, actor: Actor) -> dict[str, Any]:
    kept = ("title", "processor", "architecture", "instruction_sets", "cores", "memory_bytes", "measured", "datasheet")
    return {
        "name": one.name,
        **{key: one.profile.get(key) for key in kept},
        "origin": one.origin,
        "records": one.records,
        "yours": can_change_device(actor, one),
    }


def job_json(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "kind": job.kind,
        "state": job.state,
        "progress": round(job.progress, 3),
        "message": job.message,
        "error": job.error or None,
        "attempts": job.attempts,
        "sandbox": job.sandbox or None,
        "processor_seconds": job.processor_seconds,
        "energy_joules": job.energy_joules,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at) if job.started_at else None,
        "finished_at": moment(job.finished_at) if job.finished_at else None,
    }
