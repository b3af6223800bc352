"""The tasks' metrics on small outputs whose figures are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from compression_service.engine import fidelity
from compression_service.engine.fidelity import Truth, task_metric
from compression_service.engine.fidelity.metrics import METRICS
from compression_service.engine.fidelity.metrics.edit_distance import levenshtein
from compression_service.engine.fidelity.metrics.f1 import macro_f1
from compression_service.engine.fidelity.metrics.si_sdr import joined, si_sdr
from compression_service.engine.fidelity.metrics.spearman import ranks, spearman

RNG = np.random.default_rng(0)


def outputs(*arrays, name="y"):
    return [{name: np.asarray(array)} for array in arrays]


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    labels, guesses = RNG.integers(0, 7, 200), RNG.integers(0, 5, 200)
    expected = f1_score(labels, guesses, average="macro", zero_division=0)
    assert macro_f1(np.stack([guesses, labels], axis=1)) == pytest.approx(expected)


def test_f1_of_class_scores_has_an_interval():
    labels = np.asarray([0, 1, 2] * 30)
    right = outputs(*(np.eye(3, dtype=np.float32)[[label]] for label in labels))
    wrong = [*outputs(*[np.eye(3, dtype=np.float32)[[0]]] * 9), *right[9:]]
    found = task_metric(right, wrong, Truth("classes", labels, "f1"))
    assert found and found["name"] == "f1" and found["source_value"] == 1.0 and 0.9 < found["value"] < 1
    assert found["low"] < found["value"] < found["high"] and found["count"] == 90
    assert found == task_metric(right, wrong, Truth("classes", labels, "f1"))  # the seed is fixed


def test_spearman_shares_the_ranks_of_ties():
    assert ranks(np.asarray([3.0, 1, 3, 2])).tolist() == [2.5, 0, 2.5, 1]
    a = np.asarray([1, 2, 3, 4, 5.0])
    assert spearman(np.stack([a, a**3], axis=1)) == pytest.approx(1)
    assert spearman(np.stack([a, [5, 6, 7, 8, 7]], axis=1)) == pytest.approx(0.8207826817)
    assert math.isnan(spearman(np.stack([a, np.ones(5)], axis=1)))


def test_pairs_of_texts_are_ranked_by_the_cosine_of_pooled_embeddings():
    def pair(angle):
        away = np.asarray([math.cos(angle), math.sin(angle)], np.float32)
        return [np.broadcast_to(vector, (1, length, 2)) for vector, length in ((np.asarray([1, 0.0]), 3), (away, 5))]

    angles, scores = [0.1, 0.5, 1.0, 1.4], [5.0, 4.0, 2.5, 0.0]
    made = outputs(*(array for angle in angles for array in pair(angle)), name="last_hidden_state")
    found = task_metric(made, made, Truth("scores", scores, None, group=2))
    assert found and found["name"] == "spearman" and found["value"] == pytest.approx(1) and found["count"] == 4


def test_one_number_a_row_is_ranked_as_it_stands():
    made = outputs(*([[float(v)]] for v in (1, 2, 3, 4)))
    found = task_metric(made, made, Truth("scores", [4, 3, 2, 1]))
    assert found and found["value"] == pytest.approx(-1)


def test_edit_distance_reads_ctc_greedily():
    assert levenshtein("kitten", "sitting") == 3
    assert levenshtein("", "abc") == 3
    vocabulary = ["-", "a", "b", "|"]

    def steps(*symbols):
        return np.eye(4, dtype=np.float32)[list(symbols)][None]

    made = outputs(steps(1, 1, 0, 1, 3, 2), steps(2, 0, 2, 2))  # "aa|b", "bb"
    truth = Truth("texts", ["aa|b", "ba"], vocabulary=vocabulary)
    found = task_metric(made, made, truth)
    assert found and (found["value"], found["better"]) == (pytest.approx(1 / 6), "lower")
    words = task_metric(made, made, Truth("texts", ["aa b", "ba"], "wer", vocabulary=vocabulary))
    assert words and words["value"] == pytest.approx(1 / 3)
    own = task_metric(made, outputs(steps(1, 0, 3, 2), steps(2, 0, 2, 2)), Truth("source", [], "edit_distance"))
    assert own and own["reference"] == "source" and own["source_value"] == 0.0 and own["value"] == pytest.approx(1 / 6)


def test_masks_overlap_by_class():
    right = np.zeros((4, 4), np.int64)
    right[:, 2:] = 1
    right[0, 0] = 255  # not known
    scores = np.zeros((1, 2, 4, 4), np.float32)
    scores[0, 0, :, :3] = 1
    scores[0, 1, :, 3:] = 1
    found = task_metric(outputs(scores), outputs(scores), Truth("masks", [right]))
    assert found and found["value"] == pytest.approx((7 / 11 + 4 / 8) / 2)


def test_masks_of_another_size_are_resized_to_the_output():
    scores = np.where(np.arange(8) < 4, 0.1, 0.9)[None, None, None].repeat(8, axis=2)
    mask = np.asarray([[0, 1], [0, 1]])
    found = task_metric(outputs(scores), outputs(scores), Truth("masks", [mask]))
    assert found and found["value"] == 1.0


def detections(*corners):
    boxes = np.asarray([*corners, (0, 0, 1, 1)], np.float32)[None]
    scores = np.asarray([[0.1, 0.9]] * len(corners) + [[0.9, 0.1]], np.float32)[None]
    return [{"scores": scores, "boxes": boxes}]


def test_missed_and_invented_boxes_cost_the_same():
    two, one = detections((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)), detections((0, 0, 0.5, 0.5))
    right = [np.asarray([(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)])]
    assert task_metric(two, two, Truth("boxes", right))["value"] == 1.0
    missed = task_metric(two, one, Truth("boxes", right))["value"]
    invented = task_metric(two, two, Truth("boxes", [right[0][:1]]))["value"]
    assert missed == invented == pytest.approx(2 / 3)
    own = task_metric(two, one, Truth("source", [], "iou"))
    assert own["value"] == missed and own["source_value"] == 1.0 and own["output"] == "boxes"


def test_si_sdr_over_whole_sequences():
    clean = np.sin(np.arange(4000) / 7)
    noise = RNG.standard_normal(4000)
    noise -= noise @ clean / (clean @ clean) * clean
    noise *= math.sqrt((clean @ clean) / (noise @ noise) / 100)
    assert si_sdr(3 * (clean + noise), clean) == pytest.approx(20, abs=0.05)
    frames = (clean + noise).reshape(-1, 1, 40)
    truth = Truth("signals", [clean[:2000], clean[2000:]], steps=50)
    found = task_metric(outputs(*frames), outputs(*frames), truth)
    assert found and found["count"] == 2 and found["unit"] == "dB" and found["value"] == pytest.approx(20, abs=0.5)
    assert joined([np.ones(4), np.ones(4)], hop=2).tolist() == [1, 1, 2, 2, 1, 1]


def test_perplexity_of_even_odds_is_the_size_of_the_vocabulary():
    ids = [np.asarray([1, 2, 3, 4]), np.asarray([0, 5])]
    even = outputs(*(np.zeros((1, len(one), 8), np.float32) for one in ids))
    found = task_metric(even, even, Truth("tokens", ids))
    assert found and found["value"] == pytest.approx(8) and found["better"] == "lower" and found["count"] == 2


def whole(name, source_value, value):
    metric = {"name": name, "source_value": source_value, "value": value}
    return fidelity.flagged(fidelity.Agreement(1.0, "cosine", {}), metric)


@pytest.mark.parametrize(
    ("name", "source_value", "value", "flag"),
    [
        ("accuracy", 0.9, 0.895, False), ("accuracy", 0.9, 0.88, True), ("accuracy", 0.9, 0.99, False),
        ("wer", 0.10, 0.105, False), ("wer", 0.10, 0.12, True), ("wer", 0.10, 0.02, False),
        ("perplexity", 30.0, 30.2, False), ("perplexity", 30.0, 31.0, True), ("perplexity", 30.0, 20.0, False),
        ("perplexity", 30.0, float("inf"), True), ("perplexity", 30.0, float("nan"), True),
        ("si_sdr", 15.0, 14.7, False), ("si_sdr", 15.0, 14.0, True),
    ],
)  # fmt: skip
def test_a_flag_knows_direction_and_scale(name, source_value, value, flag):
    assert whole(name, source_value, value) is flag


def test_without_a_source_value_the_fidelity_decides():
    metric = {"name": "si_sdr", "source_value": None, "value": 12.0}
    assert fidelity.flagged(fidelity.Agreement(0.97, "cosine", {}), metric)
    assert not fidelity.flagged(fidelity.Agreement(0.995, "cosine", {}), metric)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_outputs_of_another_kind_have_no_metric(name):
    odd = outputs(np.asarray(["a"], object), np.asarray(["b"], object))
    for kind in METRICS[name].kinds:
        assert task_metric(odd, odd, Truth(kind, [0, 1], name)) is None
    assert task_metric(odd, odd, None) is None


def test_sequences_are_compared_as_a_whole():
    source = outputs(*[np.full((1, 4), 1.0)] * 3, np.full((1, 4), 1e-9))
    variant = outputs(*[np.full((1, 4), 1.0)] * 3, np.full((1, 4), -1e-9))
    assert fidelity.compare(source, variant, set(), False).fidelity == pytest.approx(0.5)
    found = fidelity.compare(source, variant, set(), False, steps=4)
    assert found.fidelity == pytest.approx(1) and found.detail["sequence_steps"] == 4


def test_divergence_of_class_scores_is_told():
    source, variant = outputs([[0.5, 0.5]], [[0.9, 0.1]]), outputs([[0.5, 0.5]], [[0.5, 0.5]])
    found = fidelity.compare(source, variant, set(), True)
    expected = (0.9 * math.log(1.8) + 0.1 * math.log(0.2)) / 2
    assert found.detail["kl"] == pytest.approx(expected)
