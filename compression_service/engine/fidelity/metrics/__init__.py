"""The metrics of tasks by name. To add one: a file here with a `METRIC`, and its place in this list."""

from compression_service.engine.fidelity.metrics import (
    accuracy,
    edit_distance,
    f1,
    iou,
    perplexity,
    si_sdr,
    spearman,
)
from compression_service.engine.fidelity.metrics.base import Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        accuracy.METRIC,
        f1.METRIC,
        spearman.METRIC,
        edit_distance.METRIC,
        edit_distance.WORDS,
        iou.METRIC,
        si_sdr.METRIC,
        perplexity.METRIC,
    )
}
