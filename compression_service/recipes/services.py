"""Which recipes this hub knows, and the acts of an administrator on them."""

import logging
from typing import Any

from django.db import transaction

from compression_service.engine.definitions import Recipe
from compression_service.engine.errors import RefusedError
from compression_service.engine.recipes import RECIPES, from_json
from compression_service.recipes.models import AdministratorRecipe
from models_registry.errors import BadRequest, Conflict, NotFound

logger = logging.getLogger(__name__)


def added_recipes() -> list[Recipe]:
    """Those which administrators added and left enabled. One which a newer engine does not take is left out, logged."""
    own = {recipe.name for recipe in RECIPES}
    found = []
    for row in AdministratorRecipe.objects.filter(enabled=True):
        try:
            if row.name not in own:
                found.append(from_json(row.definition))
        except RefusedError as error:
            logger.warning("the recipe %s is left out: %s", row.name, error.reason)
    return found


def known_recipes() -> list[tuple[Recipe, str]]:
    """Every recipe which is tried on a push, with where it comes from: `engine` or `administrator`."""
    return [(one, "engine") for one in RECIPES] + [(one, "administrator") for one in added_recipes()]


@transaction.atomic
def add_recipe(definition: Any) -> AdministratorRecipe:
    """Add a recipe, or put a new version in its place. Raises BadRequest (what is wrong with it), Conflict."""
    taken = [*RECIPES, *(_kept(row) for row in AdministratorRecipe.objects.all())]
    try:
        recipe = from_json(definition, [one for one in taken if one is not None])
    except RefusedError as error:
        raise BadRequest(error.reason) from error
    if any(recipe.name == one.name for one in RECIPES):
        raise Conflict(f"The engine has a recipe {recipe.name} of its own: give yours another name.")
    row = AdministratorRecipe.objects.filter(name=recipe.name).first()
    wanted = recipe.as_json()
    if row and row.definition != wanted and row.definition.get("version") == recipe.version:
        raise Conflict(
            f"There is another {recipe.name} with the version {recipe.version}, of which variants may have been made:"
            " raise its version."
        )
    row, _ = AdministratorRecipe.objects.update_or_create(
        name=recipe.name, defaults={"definition": wanted, "enabled": True}
    )
    logger.info("recipe %s %s added", recipe.name, recipe.version)
    return row


def remove_recipe(name: str, *, only_disable: bool = False) -> None:
    """No new push gets it; variants which were made keep its definition. Raises NotFound."""
    rows = AdministratorRecipe.objects.filter(name=name)
    if not (rows.update(enabled=False) if only_disable else rows.delete()[0]):
        raise NotFound(f"No administrator added a recipe {name!r}.")
    logger.info("recipe %s %s", name, "disabled" if only_disable else "removed")


def _kept(row: AdministratorRecipe) -> Recipe | None:
    try:
        return from_json(row.definition)
    except RefusedError:  # it holds no suffix: added_recipes says so in the log
        return None
