"""Nothing: the last alternative of a step which a recipe can do without."""

from __future__ import annotations

from typing import Any

from onnx import ModelProto

from compression_service.engine.passes.base import PassContext, PassOutcome

SOURCE = ""
NEEDS_FLOAT_SOURCE = False
STREAMS = True


def verdict(model: ModelProto) -> str | None:
    """Always applies."""
    return None


def apply(model: ModelProto, params: dict[str, Any], context: PassContext) -> PassOutcome:
    """The model as it is."""
    return PassOutcome(model, "left as it is", params)
