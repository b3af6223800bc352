"""What the rows say is right, beside the feeds which were made of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("classes", "scores", "texts", "masks", "boxes", "signals", "tokens", "source")


@dataclass
class Truth:
    """One value a row, by kind: classes int; scores float; texts str; masks int [H, W]; boxes float [n, 4]; signals
    float [samples]; tokens ids [T]; "source" has no values: the source's own output is what is right.

    `group`: feeds that one row became (2 for a pair of texts). `steps`: feeds that are one sequence. `options` come
    from the card's metric; `vocabulary` names the classes of a sequence's steps.
    """

    kind: str
    values: list[Any] | np.ndarray
    metric: str | None = None
    group: int = 1
    steps: int = 1
    hop: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    vocabulary: list[str] = field(default_factory=list)

    @property
    def feeds_per_value(self) -> int:
        return self.group * self.steps
