from __future__ import annotations

import numpy as np
import pytest

from compression_service.engine import fidelity


def scores(*rows):
    return [{"y": np.asarray([row], np.float32)} for row in rows]


def test_wilson_interval_of_the_textbook():
    low, high = fidelity.wilson(10, 10)
    assert (round(low, 4), high) == (0.7225, 1.0)
    low, high = fidelity.wilson(50, 100)
    assert (round(low, 4), round(high, 4)) == (0.4038, 0.5962)


def test_class_scores_on_real_rows_are_judged_by_their_top_one():
    source = scores([1, 2, 3], [3, 2, 1], [1, 5, 2], [9, 1, 1])
    variant = scores([1, 2, 3], [3, 2, 1], [1, 5, 2], [1, 9, 1])
    found = fidelity.compare(source, variant, set(), real_rows=True, labelled=True)
    assert (found.fidelity, found.metric) == (0.75, "top1_agreement")
    assert fidelity.compare(source, variant, set(), real_rows=False).metric == "cosine"


def test_without_labels_an_embedding_is_not_taken_for_scores():
    embedding = scores([1, 2, 3], [3, 2, 1])
    assert fidelity.compare(embedding, embedding, set(), real_rows=True).metric == "cosine"
    shares = scores([0.2, 0.8], [0.9, 0.1])
    assert fidelity.compare(shares, shares, set(), real_rows=True).metric == "top1_agreement"
    named = [{"logits": row["y"]} for row in embedding]
    assert fidelity.compare(named, named, set(), real_rows=True).metric == "top1_agreement"


def test_nan_where_the_source_has_none_is_broken():
    found = fidelity.compare(scores([1, 2]), scores([1, np.nan]), set(), real_rows=True)
    assert found.broken and "NaN" in found.broken
    assert fidelity.compare(scores([1, np.nan]), scores([1, np.nan]), set(), real_rows=True).broken is None


def test_the_worst_output_decides_and_state_does_not():
    source = [{"a": np.ones((1, 4, 2), np.float32), "b": np.asarray([[[1, 0.0]]]), "state": np.ones((1, 2, 2))}]
    variant = [{"a": np.ones((1, 4, 2), np.float32), "b": np.asarray([[[0, 1.0]]]), "state": -np.ones((1, 2, 2))}]
    found = fidelity.compare(source, variant, {"state"}, real_rows=True)
    assert (found.fidelity, found.detail["worst_output"]) == (0.0, "b")


def test_single_probabilities_are_judged_by_their_side_and_closeness():
    source = [{"p": np.asarray([[v]], np.float32)} for v in (0.1, 0.9, 0.2, 0.8)]
    variant = [{"p": np.asarray([[v]], np.float32)} for v in (0.1, 0.9, 0.6, 0.8)]
    assert fidelity.compare(source, variant, set(), real_rows=False).fidelity == 0.75


@pytest.mark.parametrize(("lost", "flag"), [(0, False), (1, False), (2, True)])
def test_more_than_one_point_lost_is_flagged(lost, flag):
    rows = [[1.0, 0.0]] * 100
    source, variant = scores(*rows), scores(*[[0.0, 1.0]] * lost, *rows[lost:])
    metric = fidelity.accuracy(source, variant, np.zeros(100, np.int64))
    assert metric and (metric["source_value"], metric["value"]) == (1.0, 1 - lost / 100)
    assert fidelity.flagged(fidelity.compare(source, variant, set(), True), metric) is flag


def test_detections_may_be_of_another_number_where_other_outputs_tell_the_fidelity():
    def outputs(counts):
        boxes = np.arange(8, dtype=np.float32).reshape(1, 2, 4)
        return [{"boxes": boxes, "kept": np.zeros((n, 3), np.int64)} for n in counts]

    agreement = fidelity.compare(outputs([1, 0, 4]), outputs([2, 0, 3]), set(), real_rows=False)
    assert agreement.broken is None and agreement.fidelity == pytest.approx(1.0)
    assert agreement.detail["uneven_outputs"] == ["kept"]


def test_detections_alone_are_compared_row_by_row():
    def outputs(*rows):
        return [{"kept": np.asarray(one, np.float32).reshape(-1, 2)} for one in rows]

    source = outputs([[1, 2], [3, 4]], [[5, 6]])
    agreement = fidelity.compare(source, outputs([[1, 2]], [[5, 6]]), set(), real_rows=False)
    assert agreement.broken is None and 0.5 < agreement.fidelity < 0.9
    one_length = outputs([[1, 2]], [[5, 6]])
    assert "another shape" in (fidelity.compare(one_length, source, set(), real_rows=False).broken or "")
