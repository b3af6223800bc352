"""From a source model to its ONNX baseline, and the plan of which recipes apply."""

from typing import TYPE_CHECKING, Any

from django.conf import settings

from compression_service.engine.definitions import BASELINE, EXCLUDED, Recipe
from compression_service.engine.errors import RefusedError
from compression_service.engine.recipes import RECIPES, from_json
from compression_service.jobs.files import checkout
from compression_service.jobs.models import Job
from compression_service.jobs.room import check_room, is_onnx, source_bytes
from compression_service.jobs.runners.common import measure_when_made, source_of
from compression_service.jobs.sandbox import SandboxFailed
from compression_service.jobs.services import enqueue
from compression_service.jobs.slot import machine_slot
from compression_service.recipes.services import added_recipes
from compression_service.recipes.wishes import Wishes, notes, wishes_of
from compression_service.variants import services
from compression_service.variants.models import Variant
from models_registry.cards.services import card_at
from models_registry.repos.entries import list_entries

if TYPE_CHECKING:
    from compression_service.jobs.execution import Context

heavy = True


def run(context: "Context") -> str:
    source = source_of(context.job)
    entries = list_entries(source.repository, source.commit, recursive=True)
    check_room(source_bytes(entries), "convert", is_onnx(entries))
    checkout(source.repository, source.commit, context.folder / "source", stop=context.stop, say=context.say)
    wishes = wishes_of(card_at(source.repository, source.commit).fithub)
    added = added_recipes()
    wanted = _wanted(wishes, added)
    with machine_slot(context.stop):
        plan = context.run_engine({"act": "convert", "source": "source", "out": "out", "plan": wanted})
    recipes = [_checked(recipe, wishes) for recipe in plan["recipes"]]
    detail = {key: plan.get(key) for key in ("components", "support_files", "evidence", "versions")}
    detail["wishes"] = {key: wanted[key] for key in ("pin", "exclude", "goal")}
    detail["notes"] = notes(wishes, [one.name for one in (*RECIPES, *added)]) + list(plan.get("notes") or [])
    with context.publishing():
        services.plan_variants(source, recipes, detail, plan["format"])
        baseline = Variant.objects.select_related("source__repository__namespace").get(source=source, name=BASELINE)
        services.publish_variant(baseline, context.folder / "out", _baseline(plan))
        for variant in Variant.objects.filter(source=source, status=Variant.Status.MAKING):
            enqueue("make_variant", source.repository, {"variant": variant.pk}, f"make_variant:{variant.pk}")
    measure_when_made(source)
    return f"{len(plan['components'])} ONNX file(s); " + ", ".join(r["name"] for r in recipes if r["applies"])


def on_failed(job: Job) -> None:
    source = source_of(job)
    services.refuse_source(source, job.error or "The conversion was cancelled.", failed=job.state != Job.State.FAILED)


def _wanted(wishes: Wishes, added: list[Recipe]) -> dict[str, Any]:
    """What the engine's planner is told."""
    return {
        "pin": list(wishes.pin),
        "exclude": list(wishes.exclude),
        "goal": wishes.goal,
        "recipes": [recipe.as_json() for recipe in added],
        "allowance_s": settings.ALLOWANCE_SECONDS,
    }


def _checked(recipe: dict[str, Any], wishes: Wishes) -> dict[str, Any]:
    """A planned recipe as it is kept. The child which read the files is not trusted with names of refs."""
    try:
        own = from_json(recipe["definition"])
    except RefusedError as error:
        raise SandboxFailed("failed", error.reason) from error
    kept = {"name": own.name, "version": own.version, "title": own.title, "definition": own.as_json()}
    if own.name in wishes.exclude and own.name != BASELINE:
        return kept | {"applies": False, "reason": EXCLUDED}
    return kept | {"applies": bool(recipe["applies"]), "reason": str(recipe["reason"])}


def _baseline(plan: dict[str, Any]) -> dict[str, Any]:
    """The baseline is what all others are compared with: by definition nothing is lost."""
    return {
        "files": plan["files"],
        "components": [{"name": c["name"], "path": c["path"]} for c in plan["components"]],
        "fidelity": 1.0,
        "fidelity_metric": "itself",
        "provenance": {"evidence": plan.get("evidence"), "versions": plan.get("versions")},
    }
