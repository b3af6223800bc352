"""A recipe which came after the families were made: tried on those which are there, without making the others anew."""

import logging
from collections.abc import Iterable

from django.db import transaction
from django.db.models import Max

from compression_service.engine.definitions import Recipe
from compression_service.jobs.services import enqueue
from compression_service.recipes.wishes import wishes_of
from compression_service.variants.models import SourceModel, Variant
from compression_service.variants.services import add_variant, catalogue_grew, current_source
from models_registry.cards.services import card_at
from models_registry.repos.models import Repository

logger = logging.getLogger(__name__)


def try_recipe(recipe: Recipe, models: Iterable[Repository]) -> tuple[int, list[str]]:
    """Queue the recipe on the newest family of each model: (how many, a sentence for each which was left alone)."""
    queued, left = 0, []
    for model in models:
        why_not = _queued(recipe, model)
        if why_not:
            left.append(f"{model.full_name}: {why_not}")
        else:
            queued += 1
    if queued:
        logger.info("recipe %s %s is tried on %d families which were there", recipe.name, recipe.version, queued)
    return queued, left


@transaction.atomic
def _queued(recipe: Recipe, model: Repository) -> str:
    """Why it is not tried there; "" when it was queued."""
    source = current_source(model)
    if source is None or source.status in (SourceModel.Status.REFUSED, SourceModel.Status.FAILED):
        return "it has no family of variants."
    newer = SourceModel.objects.filter(repository=model, pk__gte=source.pk, status=SourceModel.Status.MAKING)
    if newer.exists():
        return "its variants are being made: try it again when that is done."
    if recipe.name in wishes_of(card_at(model, source.commit).fithub).exclude:
        return "its card excludes the recipe."
    SourceModel.objects.select_for_update().get(pk=source.pk)
    there = Variant.objects.filter(source=source, name=recipe.name).first()
    if there is not None and there.status == Variant.Status.MAKING:
        return "it is being made."
    if there is not None and there.status == Variant.Status.READY:
        return f"it has this variant, by version {there.recipe_version}; a new version reaches it with its next push."
    if there is not None and there.recipe_version == recipe.version:
        return f"this version was tried: {there.reason}"
    if there is not None:
        there.delete()
    position = (Variant.objects.filter(source=source).aggregate(Max("position"))["position__max"] or 0) + 1
    definition = recipe.as_json()
    variant = add_variant(source, {**definition, "definition": definition, "applies": True}, position)
    catalogue_grew(model)
    enqueue("make_variant", model, {"variant": variant.pk}, f"make_variant:{variant.pk}")
    return ""
