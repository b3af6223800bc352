"""Stretches: what a limit on processor time makes of a latency, there and back; and profiles which cannot be true."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression_service.selection import stretches

# A quota of 2 ms in 10: one pause of 8 ms when an inference meets the end of its burst.
QUOTA = stretches.known([[0.1, 0.1], [0.19, 0.19], [0.21, 8.21], [2.0, 10.0], [4.0, 20.0], [20.0, 100.0]])


def test_short_inferences_run_at_full_speed_and_long_ones_get_the_share():
    assert stretches.wall_ms(QUOTA, 0.05) == pytest.approx(0.05)
    assert stretches.wall_ms(QUOTA, 2.0) == pytest.approx(10.0) and stretches.wall_ms(QUOTA, 200.0) == pytest.approx(
        1000
    )
    assert stretches.share(QUOTA) == pytest.approx(0.2)
    assert stretches.own_ms(QUOTA, 1000.0) == pytest.approx(200.0)
    assert 0.19 < stretches.own_ms(QUOTA, 3.0) < 0.21, "no inference takes 3 ms there: it is one at the edge"


def test_without_a_limit_nothing_changes():
    assert stretches.wall_ms((), 3.0) == stretches.own_ms((), 3.0) == 3.0 and stretches.share(()) == 1.0


@given(st.floats(1e-3, 1e4), st.floats(1e-3, 1e4))
def test_there_and_back_and_never_faster_than_the_processor(own, other):
    wall = stretches.wall_ms(QUOTA, own)
    assert stretches.own_ms(QUOTA, wall) == pytest.approx(own, rel=1e-6) and wall >= own * (1 - 1e-9)
    assert (own <= other) == (wall <= stretches.wall_ms(QUOTA, other)) or own == pytest.approx(other)


@pytest.mark.parametrize(
    "found",
    [
        None, 3, "x", {}, [], [[1, 1]], [[1, 2, 3], [4, 5, 6]], [[1, 2], [1, 3]], [[2, 2], [1, 3]], [[1, 0.5], [2, 0.6]],
        [[0, 1], [1, 2]], [[-1, 1], [1, 2]], [[1, float("nan")], [2, 3]], [[1, float("inf")], [2, 3]], [["a", 1], [2, 3]],
        [[i + 1, i + 1] for i in range(1000)], [[1, 1], [1e300, 1e300]], [[1, None], [2, 3]],
    ],
)  # fmt: skip
def test_what_cannot_be_true_counts_as_no_limit(found):
    assert stretches.known(found) == ()


def test_a_curve_which_falls_is_held_level():
    held = stretches.known([[1, 5], [2, 4], [3, 6]])
    assert [wall for _, wall in held] == [5, 5, 6]
    assert stretches.own_ms(held, 5.0) in (1.0, 2.0)
