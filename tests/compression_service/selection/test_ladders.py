"""What reference networks say of a device: nothing which they did not show, and the same thing back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compression_service.selection import ladders

FOUND = [[16, 0.01, 0.011, 0.012], [64, 0.03, 0.03, 0.05], [256, 1.0, 1.2, 1.5], [512, 8.0, 8.0, 9.0]]
LADDER = ladders.known(FOUND)


@given(st.floats(1e-4, 1e4))
def test_a_network_which_takes_as_long_takes_as_long(ms):
    side = ladders.side_of(LADDER, ms)
    assert ladders.at(LADDER, side).typical_ms == pytest.approx(ms, rel=1e-6)


@given(st.floats(1e-4, 1e4), st.floats(1e-4, 1e4))
def test_what_takes_longer_is_a_larger_network(one, other):
    assert (one <= other) == (ladders.side_of(LADDER, one) <= ladders.side_of(LADDER, other)) or one == pytest.approx(
        other
    )


def test_rungs_are_read_as_they_are_and_beyond_them_time_grows_with_the_cube():
    assert ladders.at(LADDER, 256) == pytest.approx(ladders.Rung(256, 1.0, 1.2, 1.5))
    assert ladders.at(LADDER, 1024).typical_ms == pytest.approx(64.0)
    assert ladders.at(LADDER, 8).typical_ms == pytest.approx(0.01 / 8)
    assert ladders.typical_ms(LADDER, 1.2) == pytest.approx(1.0), "of a mean, that network's typical time"


def test_a_larger_network_which_was_quicker_had_a_better_moment():
    held = ladders.known([[16, 1.0, 1.0, 2.0], [32, 0.9, 0.9, 1.5], [64, 4.0, 4.0, 4.0]])
    assert held[1] == ladders.Rung(32, 1.0, 1.0, 2.0)
    assert 16 <= ladders.side_of(held, 1.0) <= 32


@pytest.mark.parametrize(
    "found",
    [
        None, 3, "ladder", [], [[16, 1, 1, 1]], [[16, 1, 1], [32, 2, 2]], [[16, 1, 1, 1], [16, 2, 2, 2]],
        [[32, 1, 1, 1], [16, 2, 2, 2]], [[16, 0, 1, 1], [32, 2, 2, 2]], [[16, 1, 1, 1], [32, float("nan"), 2, 2]],
        [[16, 1, 1, 1], [32, 1e9, 2, 2]], [[side, side, side, side] for side in range(1, 40)], {"16": 1}, [[16, "x", 1, 1]] * 2,
        [[16, 5, 5, 5], [32, 5, 5, 5]],
    ],
)  # fmt: skip
def test_a_ladder_which_cannot_be_true_is_none(found):
    assert ladders.known(found or []) == ladders.known(found) == ()
