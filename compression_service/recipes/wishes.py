"""What a card wishes of the recipes: `fithub: {recipes: {pin: […], exclude: […]}, goal: latency}`. Pure."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from compression_service.engine.definitions import BASELINE

GOALS = ("latency", "memory", "size", "fidelity", "energy")
_LISTS = ("pin", "exclude")
_MOST_NAMES = 50
_Problem = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True)
class Wishes:
    """Names of recipes which are made in any case, names of those which never are, and what counts most."""

    pin: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    goal: str | None = None


def wishes_of(fithub: dict[str, Any]) -> Wishes:
    """The wishes of a card's `fithub:` block; what has a wrong shape (a card of before the check) wishes nothing."""
    recipes = fithub.get("recipes")
    pin, exclude = (_names(recipes.get(key)) if isinstance(recipes, dict) else () for key in _LISTS)
    goal = fithub.get("goal")
    return Wishes(tuple(name for name in pin if name not in exclude), exclude, goal if goal in GOALS else None)


def problems(metadata: dict[str, Any], kind: str) -> Iterator[_Problem]:
    """What is wrong in the shape: (path to the value, the rule). Unknown recipes are told on the model's page."""
    fithub = metadata.get("fithub")
    if kind != "model" or not isinstance(fithub, dict):
        return
    if fithub.get("goal") is not None and fithub["goal"] not in GOALS:
        yield ("fithub", "goal"), f"must be one of [{', '.join(GOALS)}]"
    recipes, at = fithub.get("recipes"), ("fithub", "recipes")
    if recipes is None:
        return
    if not isinstance(recipes, dict):
        yield at, "must be an object with pin and exclude"
        return
    for key in recipes:
        if key not in _LISTS:
            yield (*at, key[:80]), "is not known here; known are pin and exclude"
    for key in _LISTS:
        value = recipes.get(key)
        if value is not None and (not _names(value) or len(_names(value)) > _MOST_NAMES):
            yield (*at, key), f"must be a string or an array of 1 to {_MOST_NAMES} strings"
    both = sorted(set(_names(recipes.get("pin"))) & set(_names(recipes.get("exclude"))))
    if both:
        yield (*at, "exclude"), f"names {both[0][:80]}, which pin names too"


def notes(wishes: Wishes, known: Collection[str]) -> list[str]:
    """Sentences for the model's page on wishes which can not be met. `known`: the names of all recipes."""
    found = []
    for verb, names in (("pins", wishes.pin), ("excludes", wishes.exclude)):
        unknown = [name[:80] for name in names if name not in known]
        if unknown:
            kind = "which is no recipe" if len(unknown) == 1 else "which are no recipes"
            found.append(f"The card {verb} {', '.join(unknown)}, {kind} of this hub; known are {', '.join(known)}.")
    if BASELINE in wishes.exclude:
        found.append(f"The card excludes {BASELINE}: it is made all the same, because all others are compared with it.")
    return found


def _names(value: Any) -> tuple[str, ...]:
    """() where it is not a text or a list of texts."""
    names = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(names)) if all(isinstance(name, str) and name.strip() for name in names) else ()
