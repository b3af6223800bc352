"""What this machine is, and how fast: the profile that estimates and the hub's device pages work with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from fithub.errors import CannotRunHere
from fithub.measuring import machine


def device(*, name: str | None = None, quick: bool = False) -> dict[str, Any]:
    """The profile of this machine; `quick` leaves the measured speeds out. Raises CannotRunHere without onnxruntime."""
    profile = machine.profile()
    if name:
        profile["name"] = name
    if not quick:
        require_runtime()
        from fithub.measuring import bench

        with tempfile.TemporaryDirectory() as folder:
            try:
                profile["measured"] = bench.measure(Path(folder))
            except (RuntimeError, OSError) as error:
                raise CannotRunHere(str(error)) from error
    return profile


def require_runtime() -> None:
    """CannotRunHere with the command which helps, unless onnxruntime is here."""
    from importlib.util import find_spec

    missing = [name for name in ("numpy", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise CannotRunHere(f"{' and '.join(missing)} are needed for this: pip install 'fithub[measure]'.")
