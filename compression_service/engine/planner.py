"""Which recipes are worth trying for a model, in which order, and when one is dropped: each decision with its reason.

Before anything is made, the graph alone decides: what applies, what can pay off, what the allowance of processor time
can hold, cheap ones first. While the family is being made, what came out decides: a stronger form of what already lost
too much is not tried, nor a truer form of what lost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from compression_service.engine import graph
from compression_service.engine.applicability import verdicts
from compression_service.engine.definitions import BASELINE, EXCLUDED, Recipe
from compression_service.engine.passes.base import float_weight_bytes, has_spatial_convolutions, sites

MEGABYTE = 1_000_000
ALLOWANCE_S = 600.0
ALLOWANCE_MB = 100.0  # the allowance is for a model of this size; a larger one gets more in proportion
LEAST_MATRIX_SHARE = 0.1

# Processor seconds for a megabyte of float weights, and for the recipe itself (three runs over the inputs and more).
# Twice what making MiniLM (90 MB) took on an idle EPYC Zen 4 with VNNI, for machines are often slower; a pass which is
# not named counts as nothing.
SECONDS_A_MB = {
    "weight_only": 0.16, "embeddings": 0.03, "int8_dynamic": 0.02, "int8_static": 0.25, "int8_storage": 0.03,
    "fp16": 0.09, "prune_neurons": 0.36, "prune_layers": 0.36, "int4_storage": 0.11, "prune_magnitude": 0.02,
    "prune_compensated": 0.35, "bias_correction": 0.25,
}  # fmt: skip
SECONDS_A_RECIPE = 5.0

# What counts most → the recipes which are tried first.
FIRST_BY_GOAL = {
    "latency": ("prune-neurons-25+int8", "prune-neurons-35+int8", "prune-neurons-50+int8"),
    "memory": ("int8-dynamic-mapped", "int8-static-mapped", "int4-weights-128", "int8-dynamic+emb4"),
    "size": ("int4-weights-128", "int4-storage+int8", "prune-neurons-25+int4-storage", "int4-weights"),
    "fidelity": ("int8-weights", "int8-weights+emb4", "mixed-4-8"),
    "energy": ("prune-neurons-25+int8", "prune-neurons-35+int8", "prune-neurons-50+int8"),
}


@dataclass(frozen=True)
class Rule:
    """`recipe` is dropped once `other` has been made and its fidelity is below, or not below, a bound."""

    recipe: str
    other: str
    below: float | None = None
    above: float | None = None
    why: str = ""


RULES = (
    Rule("int4-weights-128", "int4-weights", below=0.93, why="larger blocks lose more"),
    Rule("mixed-4-8", "int4-weights", above=0.998, why="there is nothing left to mend by wider layers"),
    Rule("int4-storage+int8-mixed", "int4-storage+int8", above=0.998, why="there is nothing left to mend in int8"),
    Rule("prune-neurons-35+int8", "prune-neurons-25+int8", below=0.93, why="a third of the channels would lose more"),
    Rule("prune-neurons-50+int8", "prune-neurons-25+int8", below=0.95, why="half of the channels would lose more"),
    Rule("prune-neurons-25+int4-storage", "prune-neurons-25+int8", below=0.92, why="4 bits would lose more"),
    Rule("prune-layers-20+int8", "prune-neurons-25+int8", below=0.99, why="whole layers lose more than channels"),
    Rule("prune-neurons-25", "prune-neurons-25+int8", below=0.88, why="it is the channels which are missed"),
    Rule("prune-2of4+int8", "prune-50-compensated", below=0.92, why="a fixed pattern would lose more"),
    Rule("prune-threshold", "prune-50-compensated", above=0.98, why="it has more zeros and little is lost"),
    Rule(
        "prune-50",
        "prune-50-compensated",
        above=0.9,
        why="it has the same zeros, and the other weights make up for them",
    ),
    Rule("prune-50", "prune-50-compensated", below=0.9, why="without compensation it would lose more"),
    Rule("prune-50+int8", "prune-2of4+int8", above=0.9, why="it has as many zeros, compensated"),
    Rule("prune-50+int8", "prune-2of4+int8", below=0.9, why="without compensation it would lose more"),
    Rule("prune-50", "prune-threshold", below=0.92, why="half of the weights are more than those under the threshold"),
    Rule("prune-50+int8", "prune-50", below=0.91, why="8 bits would lose more"),
)


def plan(
    models: dict[str, ModelProto], recipes: Iterable[Recipe], wishes: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The verdict on each recipe (applicability.verdicts), in the order in which they are to be made.

    `wishes`: {"pin": names made in any case, "exclude": names not made, "goal", "allowance_s": processor seconds for a
    model of 100 MB}. A verdict has two more keys: "seconds", what making it is expected to take, and "pinned".
    """
    wishes = wishes or {}
    pinned, excluded = set(wishes.get("pin") or ()), set(wishes.get("exclude") or ()) - {BASELINE}
    found = verdicts(models, recipes)
    normal = {name: graph.normalise(model) for name, model in models.items()}
    megabytes = sum(float_weight_bytes(model) for model in normal.values()) / MEGABYTE
    convolutions = any(has_spatial_convolutions(model) for model in normal.values())
    left = float(wishes.get("allowance_s") or ALLOWANCE_S) * max(1.0, megabytes / ALLOWANCE_MB)
    for one in found:
        one["seconds"] = _seconds(one, megabytes, convolutions)
        one["pinned"] = one["name"] in pinned
        if one["name"] in excluded:
            one.update(applies=False, reason=EXCLUDED)
        elif one["applies"] and not one["pinned"] and (doubt := _no_use(one, normal)):
            one.update(applies=False, reason=f"{doubt} Pin it in the card to have it made all the same.")
    ordered = _ordered(found, normal, wishes.get("goal"))
    for one in ordered:
        if not one["applies"] or one["name"] == BASELINE:
            continue
        if one["seconds"] > left and not one["pinned"]:
            one.update(
                applies=False,
                reason=f"Making it would take about {one['seconds']:,.0f} s of processor time, and of this model's"
                f" allowance {max(0, left):,.0f} s are left. Pin it in the card to have it made first.",
            )
            continue
        left -= one["seconds"]
    return ordered


def no_longer_worth(name: str, made: dict[str, float | None]) -> str | None:
    """Why a recipe need not be tried any more. `made`: recipe → fidelity of what came out, quarantined or not."""
    for rule in RULES:
        fidelity = made.get(rule.other)
        if rule.recipe != name or fidelity is None:
            continue
        if rule.below is not None and fidelity < rule.below:
            return f"{rule.other} agrees with its source only to {fidelity:.1%}, and {rule.why}."
        if rule.above is not None and fidelity >= rule.above:
            return f"{rule.other} agrees with its source to {fidelity:.2%}: {rule.why}."
    return None


def _seconds(verdict: dict[str, Any], megabytes: float, convolutions: bool) -> float:
    """Of a step's alternatives the dearest where there are convolutions (static int8), else the first."""
    rates = ([SECONDS_A_MB.get(name, 0.0) for name, _ in step] for step in verdict["definition"]["steps"])
    return SECONDS_A_RECIPE + megabytes * sum(max(step) if convolutions else step[0] for step in rates)


def _no_use(verdict: dict[str, Any], models: dict[str, ModelProto]) -> str | None:
    """Why a recipe which applies could not pay off on this graph."""
    first = [name for step in verdict["definition"]["steps"] for name, _ in step]
    if "weight_only" in first:
        total = sum(float_weight_bytes(model) for model in models.values())
        matrices = sum(
            site.bytes for model in models.values() for site in sites(model, "MatMul", "Gemm", "Gather", smallest=1024)
        )
        if total and matrices / total < LEAST_MATRIX_SHARE:
            return f"Only {matrices / total:.0%} of the weights belong to matrices, which alone would become smaller."
    return None


def _ordered(found: list[dict[str, Any]], models: dict[str, ModelProto], goal: str | None) -> list[dict[str, Any]]:
    """The baseline, what is pinned, what serves the goal, int8 of the kind that fits the graph; the rest as listed."""
    convolutions = any(has_spatial_convolutions(model) for model in models.values())
    quick = "int8-static" if convolutions else "int8-dynamic"
    wanted = FIRST_BY_GOAL.get(goal or "", ())

    def place(indexed: tuple[int, dict[str, Any]]) -> tuple[int, int, int]:
        index, one = indexed
        name = one["name"]
        if name == BASELINE:
            return 0, 0, index
        if name == quick:
            return 1, 0, index
        if one["pinned"]:
            return 2, 0, index
        return (3, wanted.index(name), index) if name in wanted else (4, 0, index)

    return [one for _, one in sorted(enumerate(found), key=place)]
