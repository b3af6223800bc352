"""Which recipes apply to a model, by looking at its graph alone: cheap, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from onnx import ModelProto

from compression_service.engine import graph
from compression_service.engine.limits import STREAMED_FROM_BYTES
from compression_service.engine.passes import PASS_NAMES
from compression_service.engine.passes.base import (
    already_quantized,
    has_spatial_convolutions,
    mostly_double,
    mostly_half,
)
from compression_service.engine.passes.widen import widened
from compression_service.engine.recipes import RECIPES, Recipe, Step

PASSES: dict[str, ModuleType] = {
    name: import_module(f"compression_service.engine.passes.{name}") for name in PASS_NAMES
}


@dataclass(frozen=True)
class Choice:
    """What a step does to one component: a pass with parameters, or the reason why it does nothing."""

    name: str | None
    params: dict[str, Any]
    reason: str


def choices(step: Step, model: ModelProto, quantized: str | None = None) -> list[Choice]:
    """The passes of the step which apply to a model that went through graph.normalise, the preferred one first.

    `quantized`: why the recipe's source is no float model, if so. Never empty: when none applies, one Choice without a
    name says why.
    """
    applying: list[Choice] = []
    reasons = []
    large = graph.is_streamed(model)
    for name, params in _ordered(step, model):
        verdict: Callable[[ModelProto], str | None] = PASSES[name].verdict
        reason = (_not_streamed(name, model) if large else None) or (
            (quantized if PASSES[name].NEEDS_FLOAT_SOURCE else None) or verdict(model)
        )
        if reason is None:
            applying.append(Choice(name, params, ""))
        elif reason not in reasons:
            reasons.append(reason)
    return applying or [Choice(None, {}, " ".join(reasons))]


def _not_streamed(name: str, model: ModelProto) -> str | None:
    """Why a pass cannot work on a model whose weights stay in their files, None when it can."""
    if not getattr(PASSES[name], "STREAMS", False):
        return (
            f"{name} holds all weights in memory at once, and this model is larger than"
            f" {STREAMED_FROM_BYTES // 1024**2:,} MiB: of such models one tensor is read at a time."
        )
    if PASSES[name].NEEDS_FLOAT_SOURCE and mostly_half(model):
        return f"{name} would widen all fp16 weights to fp32 first, which a model of this size has no room for."
    return None


def _ordered(step: Step, model: ModelProto) -> list[tuple[str, dict[str, Any]]]:
    """Static int8 goes first where there are convolutions: dynamic int8 would leave them in float."""
    convolutions = has_spatial_convolutions(model)
    return sorted(step.passes, key=lambda one: convolutions and one[0] != "int8_static")


def in_single(model: ModelProto) -> ModelProto:
    """A model of 64-bit floats in 32 bits, which all passes are made for; any other model as it is."""
    return widened(model) if mostly_double(model) else model


def verdicts(models: dict[str, ModelProto], recipes: Iterable[Recipe] = RECIPES) -> list[dict[str, Any]]:
    """For each recipe {"name", "version", "title", "why", "applies", "reason", "definition"} over all components."""
    normal = {name: graph.normalise(in_single(model)) for name, model in models.items()}
    return [_verdict(one, normal) for one in recipes]


def _verdict(one: Recipe, models: dict[str, ModelProto]) -> dict[str, Any]:
    applies, reason = True, ""
    for step in one.steps:
        first = {name: choices(step, model, already_quantized(model))[0] for name, model in models.items()}
        if all(choice.name is None for choice in first.values()):
            applies, reason = False, together({name: choice.reason for name, choice in first.items()})
            break
    return {
        "name": one.name,
        "version": one.version,
        "title": one.title,
        "why": one.why,
        "applies": applies,
        "reason": reason,
        "definition": one.as_json(),
    }


def together(reasons: dict[str, str]) -> str:
    """One sentence for all components which share it: `model_1, model_2: …`."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    if len(by_reason) == 1:
        return next(iter(by_reason))
    return " ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())
