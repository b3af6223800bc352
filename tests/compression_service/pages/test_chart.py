"""The geometry of the Pareto chart."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from compression_service.pages.chart import Chart, Mark, draw, front_of


def chart_of(*marks: Mark, width: float = 760) -> Chart:
    chart = draw(marks, "p90 latency", lambda value: f"{value:g} ms", width, 360)
    assert chart is not None
    return chart


def test_better_is_up_and_left():
    chart = chart_of(Mark("slow", 10, 1.0), Mark("fast", 1, 0.95))
    slow, fast = chart.dots
    assert fast.x < slow.x and fast.y > slow.y
    assert chart.front_names == ["fast", "slow"]


def test_each_line_is_a_tenth_of_the_loss():
    chart = chart_of(Mark("a", 1, 0.9), Mark("b", 2, 0.99), Mark("c", 3, 0.999))
    steps = [chart.dots[n].y - chart.dots[n + 1].y for n in range(2)]
    assert abs(steps[0] - steps[1]) < 0.01
    assert [label for _, label in chart.y_ticks] == ["1", "0.9999", "0.999", "0.99", "0.9"]


def test_the_front_leaves_out_what_is_worse_in_both():
    marks = [Mark("a", 1, 0.9), Mark("b", 2, 0.8), Mark("c", 3, 0.95), Mark("d", 3, 0.94), Mark("e", 1, 0.9)]
    assert front_of(marks) == ["a", "c"]


def test_fewer_than_two_points_are_no_chart():
    assert draw([Mark("a", 1, 1.0)], "x", str, 760, 360) is None
    assert draw([Mark("a", 1, 1.0), Mark("b", 0, 1.0), Mark("c", float("nan"), 1.0)], "x", str, 760, 360) is None


def test_labels_of_crowded_points_do_not_cover_each_other():
    marks = [Mark(f"variant-{n}", 10 + n * 0.01, 1.0) for n in range(6)]
    chart = chart_of(*marks)
    places = sorted((dot.label_y, dot.label_x) for dot in chart.dots)
    assert len({(round(y), round(x)) for y, x in places}) == 6
    for (y1, x1), (y2, x2) in pairwise(places):
        assert abs(y1 - y2) >= 13 or abs(x1 - x2) > 40


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 1e9), st.floats(0, 1)), min_size=2, max_size=12), st.sampled_from([350, 760]))
def test_every_dot_and_tick_is_inside(values, width):
    chart = chart_of(*[Mark(f"v{n}", x, y) for n, (x, y) in enumerate(values)], width=width)
    for dot in chart.dots:
        assert chart.left <= dot.x <= chart.right and chart.top <= dot.y <= chart.bottom
    assert all(chart.left - 1 <= x <= chart.right + 1 for x, _ in chart.x_ticks) and chart.x_ticks
    assert all(chart.top <= y <= chart.bottom for y, _ in chart.y_ticks)
