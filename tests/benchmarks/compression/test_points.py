"""The counting of compression.md on points whose answer is known."""

import numpy as np
import pytest

from tests.benchmarks.compression import evaluation, points
from tests.benchmarks.compression.points import Point


def at(*place: float, recipe: str = "r") -> Point:
    return Point("t", recipe, *place)


def test_loss_is_one_at_a_tenth_and_never_more():
    assert points.loss(1.0) == 0.0
    assert points.loss(0.99) == pytest.approx(0.1)
    assert points.loss(0.9) == pytest.approx(1.0)
    assert points.loss(0.3) == 1.0
    assert points.loss(1.0000001) == 0.0


def test_hypervolume_of_one_point_is_its_box():
    expected = 0.75 * 0.5 * 0.5 * 0.9
    assert points.hypervolume([at(0.25, 0.5, 0.5, 0.1)]) == pytest.approx(expected, abs=0.002)


def test_hypervolume_of_two_points_is_their_union():
    one, other = at(0.2, 0.5, 0.5, 0.0), at(0.6, 0.5, 0.2, 0.0)
    both = 0.8 * 0.5 * 0.5 + 0.4 * 0.5 * 0.8 - 0.4 * 0.5 * 0.5
    assert points.hypervolume([one, other]) == pytest.approx(both, abs=0.002)
    assert points.hypervolume([one, other, at(0.7, 0.6, 0.6, 0.5)]) == points.hypervolume([one, other])


def test_points_on_or_outside_the_box_do_not_count():
    assert points.hypervolume([at(0.2, 1.0, 0.2, 0.0), at(0.2, 0.2, 0.2, 1.0), at(1.3, 0.1, 0.1, 0.0)]) == 0.0
    assert points.hypervolume([]) == 0.0


def test_hypervolume_is_the_same_each_time():
    given = [at(0.3, 0.4, 0.5, 0.1)]
    assert points.hypervolume(given) == points.hypervolume(given)


def test_matched_within_the_spreads_on_every_axis():
    theirs = at(0.25, 0.5, 0.4, 0.1)
    assert points.matched(theirs, [at(0.257, 0.514, 0.419, 0.1019)])
    assert points.matched(theirs, [at(0.25 * 1.03, 0.5 * 1.03, 0.4 * 1.05, 0.102)])
    for worse in [(0.26, 0.5, 0.4, 0.1), (0.25, 0.52, 0.4, 0.1), (0.25, 0.5, 0.425, 0.1), (0.25, 0.5, 0.4, 0.103)]:
        assert not points.matched(theirs, [at(*worse)])
    assert not points.matched(theirs, [])
    # One of ours has to match on all four at once.
    assert not points.matched(theirs, [at(0.1, 0.5, 0.9, 0.1), at(0.9, 0.5, 0.1, 0.1)])


def test_nearest_names_the_axis_that_misses():
    theirs = at(0.25, 0.5, 0.4, 0.1)
    found = points.nearest(theirs, [at(0.25, 0.5, 0.48, 0.1, recipe="near"), at(0.9, 0.9, 0.9, 0.9, recipe="far")])
    assert found is not None
    assert (found[0].recipe, found[1]) == ("near", "p90")
    assert found[2] == pytest.approx(4.0)


def test_front_leaves_out_what_is_dominated_and_what_is_there_twice():
    best, same, worse = at(0.1, 0.1, 0.1, 0.1, recipe="a"), at(0.1, 0.1, 0.1, 0.1, recipe="b"), at(0.1, 0.2, 0.1, 0.1)
    assert points.front([worse, same, best]) == [best]


def test_geometric_mean():
    assert points.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert points.geometric_mean([0.0, 4.0]) == 0.0
    assert np.isnan(points.geometric_mean([]))


def test_fidelity_is_the_mean_cosine_of_the_worst_output():
    source = {"a": np.eye(3, dtype=np.float32), "b": np.ones((3, 4), np.float32)}
    turned = {"a": np.asarray([[1, 0, 0], [0, 1, 0], [1, 0, 1]], np.float32), "b": source["b"] * 2}
    found = evaluation.compared(source, turned, "cosine")
    assert found["worst_output"] == "a"
    assert found["fidelity"] == pytest.approx((2 + np.sqrt(0.5)) / 3)
    assert found["agreement"] == pytest.approx(2 / 3)


def test_a_stream_of_probabilities_is_judged_by_agreement():
    source, variant = np.asarray([[0.1], [0.9], [0.6], [0.2]]), np.asarray([[0.1], [0.9], [0.4], [0.2]])
    found = evaluation.compared({"p": source}, {"p": variant}, "numbers")
    assert found["fidelity"] == pytest.approx(0.75)
    assert evaluation.compared({"p": source}, {"p": source * np.nan}, "numbers")["fidelity"] == 0.0
