"""What a recipe is, and its form as JSON: how a card, an administrator and a variant's provenance hold one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from compression_service.engine.errors import RefusedError
from compression_service.engine.passes import PASS_NAMES

NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{0,60}")
SUFFIX = re.compile(r"_[a-z0-9_]+")
BASELINE = "onnx"
EXCLUDED = "Excluded by the card."
_TEXTS = {"version": 20, "title": 200, "suffix": 60, "why": 500}  # key → most characters
_KEYS = {"name", "steps", *_TEXTS}
MOST_STEPS, MOST_PASSES_A_STEP = 12, 8
MOST_PARAMETER_CHARACTERS = 4000


@dataclass(frozen=True)
class Step:
    """One pass to run, or the first of several which applies; a recipe stops at a step of which none does."""

    passes: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True)
class Recipe:
    name: str
    version: str
    title: str
    suffix: str  # model<suffix>.onnx, as the ecosystem names it
    why: str
    steps: tuple[Step, ...]

    def as_json(self) -> dict[str, Any]:
        """{"name", "version", "title", "suffix", "why", "steps": [[["pass", {parameters}], …alternatives], …]}."""
        texts = {key: getattr(self, key) for key in _TEXTS}
        steps = [[[name, _thawed(params)] for name, params in step.passes] for step in self.steps]
        return {"name": self.name, **texts, "steps": steps}


def checked(definition: Any, others: Iterable[Recipe] = ()) -> Recipe:
    """The recipe that a definition (the shape of `as_json`) describes; lists in parameters become tuples.

    `others`: recipes whose suffixes are taken, unless they have the same name. Raises RefusedError with a sentence.
    """
    if not isinstance(definition, dict):
        raise RefusedError("A recipe is an object with name, version, title, suffix, why and steps.")
    name = definition.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name) or ".." in name or name.endswith((".", ".lock")):
        raise RefusedError(f"{_short(name)} is no name for a recipe: at most 61 characters of a-z, 0-9, +, . and -.")
    said = f"The recipe {name}"
    unknown = sorted(str(key) for key in definition.keys() - _KEYS)
    if unknown:
        raise RefusedError(
            f"{said} has {_short(unknown[0])}, which no recipe has; known are {', '.join(sorted(_KEYS))}."
        )
    texts = {key: _text(said, definition, key, most) for key, most in _TEXTS.items()}
    steps = _steps(said, definition.get("steps"))
    _check_suffix(said, name, texts["suffix"], others)
    if not steps and name != BASELINE:
        raise RefusedError(f"{said} has no steps: it would be the baseline again.")
    return Recipe(name=name, steps=steps, **texts)


def _text(said: str, definition: dict[str, Any], key: str, most: int) -> str:
    value = definition.get(key)
    if not isinstance(value, str) or (not value.strip() and key != "suffix"):
        raise RefusedError(f"{said} needs {key} as a text (in quotes).")
    if len(value) > most or not value.isprintable():
        raise RefusedError(f"{said} has a {key} which is not one line of at most {most} characters.")
    return value


def _check_suffix(said: str, name: str, suffix: str, others: Iterable[Recipe]) -> None:
    if name == BASELINE:
        if suffix:
            raise RefusedError(f"{said} is the baseline: its suffix is empty.")
        return
    if not SUFFIX.fullmatch(suffix):
        raise RefusedError(f"{said} has the suffix {_short(suffix)}: it begins with _ and is made of a-z, 0-9 and _.")
    for other in others:
        if other.suffix == suffix and other.name != name:
            raise RefusedError(f"{said} has the suffix {suffix}, which is that of {other.name}: choose another.")


def _steps(said: str, steps: Any) -> tuple[Step, ...]:
    if not isinstance(steps, list) or len(steps) > MOST_STEPS:
        raise RefusedError(f"{said} needs steps as a list of at most {MOST_STEPS}.")
    return tuple(_step(f"{said}, step {number},", step) for number, step in enumerate(steps, 1))


def _step(said: str, step: Any) -> Step:
    if not isinstance(step, list) or not 1 <= len(step) <= MOST_PASSES_A_STEP:
        raise RefusedError(
            f"{said} is a list of one to {MOST_PASSES_A_STEP} passes, of which the first that applies is taken."
        )
    return Step(tuple(_pass(said, one) for one in step))


def _pass(said: str, one: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(one, list | tuple) or len(one) != 2 or not isinstance(one[1], dict):
        raise RefusedError(f'{said} needs each pass as ["its name", {{parameters}}].')
    name, params = one
    if name not in PASS_NAMES:
        raise RefusedError(f"{said} names the pass {_short(name)}; known are {', '.join(PASS_NAMES)}.")
    try:
        if len(json.dumps(params, allow_nan=False)) > MOST_PARAMETER_CHARACTERS:
            raise RefusedError(f"{said} gives {name} more than {MOST_PARAMETER_CHARACTERS} characters of parameters.")
    except (TypeError, ValueError, RecursionError) as error:
        raise RefusedError(f"{said} gives {name} parameters which are not JSON.") from error
    if not all(isinstance(key, str) for key in params):
        raise RefusedError(f"{said} gives {name} a parameter whose name is no text.")
    return name, {key: _frozen(value) for key, value in params.items()}


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return {key: _frozen(item) for key, item in value.items()} if isinstance(value, dict) else value


def _thawed(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_thawed(item) for item in value]
    return {key: _thawed(item) for key, item in value.items()} if isinstance(value, dict) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"
