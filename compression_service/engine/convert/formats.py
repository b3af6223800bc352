"""What every source format answers: one module a format, tried in the order of `act.FORMATS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from onnx import ModelProto

Progress = Callable[[float, str], None]


@dataclass
class Component:
    """One ONNX file of the pipeline: its name, where it came from, where it stands in the baseline, its graph."""

    name: str
    source_path: str
    path: str
    model: ModelProto  # without external data
    files: list[str]  # the graph and its external data, below the baseline's folder


class SourceFormat(Protocol):
    """A module of this package. `NAME` is published as the source's format."""

    NAME: str

    def find(self, source: Path) -> Any:
        """What of this format is in the folder, for `convert`; None or empty when there is nothing."""

    def convert(
        self, source: Path, found: Any, out: Path, progress: Progress
    ) -> tuple[list[Component], dict[str, Any]]:
        """Write the baseline to out/onnx/; its components, and how it was checked. Raises RefusedError."""
