"""Curves and bands as SVG; the same curves give the same bytes."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Okabe and Ito's palette, told apart with every kind of colour blindness, without its yellow,
# which vanishes on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")
_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text, which is small and can be searched
    "svg.hashsalt": "art",
    "text.parse_math": False,  # a run may be called anything
}
_NUM_POINTS = 150  # a longer curve is drawn as the means of so many stretches
_NUM_MARKED = 30  # points that are shown one by one
_LEGEND_COLUMNS = 4


@dataclass(frozen=True)
class Curve:
    """A line of a chart.

    Attributes:
        label: of the legend.
        steps: where it has points, [P].
        values: there, [P].
        band: lower and upper ends around the values, [P] each.
        ringed: a step whose point gets a ring.
    """

    label: str
    steps: Floats
    values: Floats
    band: tuple[Floats, Floats] | None = None
    ringed: int | None = None


@dataclass(frozen=True)
class StackedCurves:
    """Values that add up, one above the other.

    Attributes:
        label: of the axes.
        steps: where there are values, [P].
        layers: name → values, [P], from the lowest to the highest; the same names in each stack
            of a picture.
    """

    label: str
    steps: Floats
    layers: Mapping[str, Floats]


def draw_curves(curves: Sequence[Curve], *, from_zero: bool = False) -> str:
    """Return one chart, with a legend where there are several curves.

    Args:
        curves: of the chart.
        from_zero: whether the values' axis goes from 0 to 1 at least.
    """
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.add_subplot()
        lines = _draw_curves(axes, curves)
        if from_zero:
            axes.set_ylim(0, max(1.0, axes.get_ylim()[1]))
        if len(curves) > 1:
            columns = min(len(curves), _LEGEND_COLUMNS)
            labels = _labels(curve.label for curve in curves)
            figure.legend(lines, labels, loc="outside upper left", ncols=columns)
        return _svg(figure)


def draw_side_by_side(charts: Mapping[str, Sequence[Curve]]) -> str:
    """Return charts in a row, their titles above them."""
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(4.5 * len(charts), 3.2), layout="constrained")
        rows = figure.subplots(1, len(charts), squeeze=False)
        for axes, (title, curves) in zip(rows[0], charts.items(), strict=True):
            axes.set_title(title)
            lines = _draw_curves(axes, curves)
            if len(curves) > 1:
                labels = _labels(curve.label for curve in curves)
                beside = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
                axes.legend(lines, labels, reverse=True, **beside)
        return _svg(figure)


def draw_stacks(stacks: Sequence[StackedCurves]) -> str:
    """Return stacked areas, one above the other on the same scales."""
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(6.0, 1.0 + 2.2 * len(stacks)), layout="constrained")
        columns = figure.subplots(len(stacks), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
        for axes, stack in zip(columns, stacks, strict=True):
            layers = [_thinned(stack.steps, values) for values in stack.layers.values()]
            areas = axes.stackplot(layers[0][0], [values for _, values in layers], colors=_COLOURS)
            if len(stacks) > 1:
                axes.set_title(stack.label, loc="left")
        _label_steps(columns[-1], max(stack.steps[-1] for stack in stacks))
        figure.legend(
            areas, _labels(stacks[0].layers), loc="outside upper left", ncols=_LEGEND_COLUMNS + 1
        )
        return _svg(figure)


def inline(svg: str, prefix: str) -> str:
    """Return a picture of these functions as an element of an HTML page.

    Args:
        svg: the picture.
        prefix: of every id in it, so that none stands twice on the page.
    """
    element = svg[svg.index("<svg ") :].rstrip()
    element = re.sub(r' (xmlns(:xlink)?|width|height)="[^"]*"', "", element, count=4)
    return re.sub(r'( id="| xlink:href="#|url\(#)', rf"\g<1>{prefix}-", element)


def _draw_curves(axes: Axes, curves: Sequence[Curve]) -> list[Line2D]:
    lines = []
    for number, curve in enumerate(curves):
        colour = _COLOURS[number % len(_COLOURS)]
        dashes = _DASHES[number // len(_COLOURS) % len(_DASHES)]
        steps, values = _thinned(curve.steps, curve.values)
        marker = "." if len(steps) <= _NUM_MARKED else ""
        lines += axes.plot(steps, values, color=colour, linestyle=dashes, marker=marker)
        if curve.band is not None:
            low, high = (_thinned(curve.steps, end)[1] for end in curve.band)
            axes.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
        there = curve.steps == curve.ringed
        points = axes.plot(curve.steps[there], curve.values[there], "o", color=colour)
        points[0].set(markersize=8, fillstyle="none")
    _label_steps(axes, max(curve.steps[-1] for curve in curves))
    return lines


def _label_steps(axes: Axes, last: float) -> None:
    axes.set_xlim(-0.02 * last, 1.02 * last)  # all of a run's charts show the same steps
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _labels(names: Iterable[str]) -> list[str]:
    # Of a name that begins with an underscore, a legend thinks that it is not meant to be shown.
    return [f" {name}" for name in names]


def _thinned(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    if len(steps) <= _NUM_POINTS:
        return steps, values
    means = [
        [part.mean() for part in np.array_split(column, _NUM_POINTS)] for column in (steps, values)
    ]
    return np.array(means[0]), np.array(means[1])


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=nothing)
    return file.getvalue()
