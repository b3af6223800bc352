"""What a model of the benchmark is: its files and the rows which calibrate, judge and time it."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Feed = dict[str, np.ndarray]
SINGLE = "model"  # the engine's name for the only component of a source


@dataclass
class Rows:
    """Everything that a model needs, component by component; a source of one file has the component `model`.

    `calibration` is offered to every tool. FitHub's engine quarantines by rows of its own: `held_back`, from the side
    of the calibration. `evaluation` is seen by no tool. `judged` says how outputs are compared (evaluation.py).
    """

    files: dict[str, Path]
    calibration: dict[str, list[Feed]]
    held_back: dict[str, list[Feed]]
    evaluation: dict[str, list[Feed]]
    judged: str
    kind: str  # text | image | audio | bytes
    carry: dict[str, dict[str, str]] = field(default_factory=dict)
    labels: np.ndarray | None = None  # of the evaluation rows
    texts: tuple[list[str], list[str]] | None = None  # calibration and held-back rows as the engine is given them
    timing: dict[str, list[Feed]] = field(default_factory=dict)  # else the first evaluation rows
    notes: str = ""


class MissingAssetError(Exception):
    """The files of a model are not here; the message names them."""


def existing(path: Path) -> Path:
    """The path; MissingAssetError when nothing is there."""
    if not path.exists():
        raise MissingAssetError(f"{path.name} is not below {path.parent.name}/ of the assets")
    return path
