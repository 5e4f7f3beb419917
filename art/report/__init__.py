"""What a person sees of metrics and runs.

    tables   metrics as text: aligned tables, percentages with intervals, paired tests
    filling  a diagnosis while it goes on, as a table that fills
    history  a run read from its folder, finished or not
    changes  the questions that training won and lost
    curves   charts of what happened over the steps
    drawing  charts as SVG
    rendering  pages from their templates
    page     one self-contained HTML page about one or several runs
    asked    another about the questions that `art ask` made

`tables`, whose functions stand here, loads neither torch nor matplotlib, which only this room uses.
"""

from art.report.tables import (
    against_published,
    comparison,
    diagnosis,
    evaluation,
    fused,
    hours,
    metrics,
    paired,
    side_by_side,
)

__all__ = [
    "against_published",
    "comparison",
    "diagnosis",
    "evaluation",
    "fused",
    "hours",
    "metrics",
    "paired",
    "side_by_side",
]
