"""Which versions of the tools made a result."""

from __future__ import annotations

import platform
from importlib import metadata

from compression_service.engine.measure.session import HARNESS_VERSION

__all__ = ["ENGINE_VERSION", "HARNESS_VERSION", "versions"]

ENGINE_VERSION = "1"


def versions() -> dict[str, str]:
    """{"engine", "python", "onnx", "onnxruntime", "numpy"}: a change of any makes a record stale."""
    found = {"engine": ENGINE_VERSION, "python": platform.python_version()}
    for name in ("onnx", "onnxruntime", "numpy"):
        found[name] = metadata.version(name)
    return found
