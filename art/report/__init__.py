"""What a person sees of metrics and runs.

    tables   metrics as text: aligned tables, percentages with intervals, paired tests
    history  what a run folder tells, finished or not
    changes  the questions that training won and lost
    curves   pictures of what happened over the steps
    page     one self-contained HTML page about one or several runs

`tables`, whose functions stand here, loads nothing heavy; the only room that says matplotlib.
"""

from art.report.tables import comparison, diagnosis, evaluation, hours, metrics, side_by_side

__all__ = ["comparison", "diagnosis", "evaluation", "hours", "metrics", "side_by_side"]
