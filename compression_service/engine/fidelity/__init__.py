"""How much a variant agrees with its source, and what it is worth at its task.

`agreement.py` compares outputs with the source's own; `metrics/` holds the tasks' metrics, one file each, and `task.py`
chooses among them; `truth.py` is what rows say is right.
"""

from compression_service.engine.fidelity.agreement import (
    LEAST_FIDELITY,
    Agreement,
    compare,
    is_class_scores,
    says_scores,
)
from compression_service.engine.fidelity.intervals import bootstrap, wilson
from compression_service.engine.fidelity.metrics.base import Outputs
from compression_service.engine.fidelity.task import accuracy, flagged, pipeline_metric, task_metric
from compression_service.engine.fidelity.truth import Truth

__all__ = [
    "LEAST_FIDELITY", "Agreement", "Outputs", "Truth", "accuracy", "bootstrap", "compare", "flagged",
    "is_class_scores", "pipeline_metric", "says_scores", "task_metric", "wilson",
]  # fmt: skip
