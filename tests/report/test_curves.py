"""Charts: what is on them, and that long ones stay small."""

from __future__ import annotations

import re

import numpy as np
import pytest

from art.report.curves import charts, curve_picture
from art.report.drawing import Curve, StackedCurves, draw_curves, draw_side_by_side, draw_stacks
from art.report.history import read_histories

pytestmark = pytest.mark.usefixtures("known_metrics")

BLUE, RED = "#0072b2", "#d55e00"


def lines(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """The points of every line of a colour, in the picture's own units."""
    drawn = re.findall(r'<path d="([^"]*)"[^>]*style="fill: none; stroke: (#\w+)', svg)
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path)]
        for path, its in drawn
        if its == colour
    ]


def curve(values, label: str = "a", **more) -> Curve:
    return Curve(label, np.arange(1.0, len(values) + 1), np.asarray(values, np.float64), **more)


def test_points_lie_where_their_values_are() -> None:
    values = [0.0, 4.0, 1.0, 3.0]
    (points,) = lines(draw_curves([curve(values)]), BLUE)
    x, y = np.array(points).T
    assert np.allclose(np.diff(x), np.diff(x)[0])
    scale = (y[1] - y[0]) / 4.0
    assert scale < 0  # upwards
    np.testing.assert_allclose((y - y[0]) / scale, values, atol=1e-4)


def test_curves_share_the_axes_of_a_chart() -> None:
    svg = draw_curves([curve([1, 2, 1, 2, 1], "one"), curve([2, 3, 2, 3, 2], "_other $x$")])
    # The legend's own lines are shorter.
    one, other = (max(lines(svg, colour), key=len) for colour in (BLUE, RED))
    assert len(one) == len(other) == 5
    assert one[1] == pytest.approx((other[1][0], other[0][1]))
    texts = [text.strip() for text in re.findall(r">([^<>]+)</text>", svg)]
    assert {"one", "_other $x$"} <= set(texts)


def test_a_long_curve_is_drawn_as_means_and_stays_small() -> None:
    noise = np.random.default_rng(0).normal(size=15_000)
    charts = {"Loss": [curve(noise, str(i), band=(noise - 1, noise + 1)) for i in range(5)]}
    svg = draw_side_by_side(charts | {"Other": charts["Loss"][:1]})
    assert len(svg) < 100_000
    drawn = max(lines(svg, BLUE), key=len)
    assert 100 <= len(drawn) <= 200


def test_seconds_stand_on_each_other() -> None:
    steps = np.arange(1.0, 4.0)
    layers = {"score": np.array([2.0, 2.0, 2.0]), "learn": np.array([1.0, 1.0, 3.0])}
    svg = draw_stacks([StackedCurves("run", steps, layers)])
    assert {"score", "learn"} <= {text.strip() for text in re.findall(r">([^<>]+)</text>", svg)}
    heights = [
        {float(y) for y in re.findall(r"[ML] [-\d.]+ ([-\d.]+)", path)}
        for path in re.findall(r'<path id="\w+" d="(M [^"]*)"', svg)
    ]
    # The upper area begins where the lower one ends.
    assert max(min(heights[0]), min(heights[1])) in heights[0] & heights[1]


def test_a_single_runs_depths_share_a_chart_and_several_runs_have_one_each(labelled, copy) -> None:
    alone = [chart.title for chart in charts(read_histories([labelled]))]
    assert alone == [
        "Questions answered within the first k, %",
        "Loss",
        "Agreement of retriever and teacher",
        "How stale the index was, %",
        "Pairs scored before, %",
        "Seconds of a step",
    ]
    together = charts(read_histories([labelled, copy]))
    assert [chart.title for chart in together][:3] == ["top-1, %", "top-5, %", "top-20, %"]
    assert [chart.title for chart in together][3:] == alone[1:]
    for chart in together[:-1]:
        assert lines(chart.svg, BLUE)
        assert lines(chart.svg, RED)


def test_the_picture_alone_is_small_and_the_same_each_time(labelled, unlabelled) -> None:
    for folder in (labelled, unlabelled):
        histories = read_histories([folder])
        svg = curve_picture(histories)
        assert svg == curve_picture(histories)
        assert svg.startswith("<?xml")
        assert len(svg) < 60_000
        assert "Loss" in svg
