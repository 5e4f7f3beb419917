"""A diagnosis while it goes on: what it will take, then a table that fills question by question.

In a terminal the table is drawn again in its place. In a pipe or a file there is a line for each
tenth of the questions, and no bar beside it.
"""

from __future__ import annotations

import sys

from tqdm import tqdm

from art.diagnosis.watching import Estimate, Interim, Watcher
from art.errors import say
from art.evaluation.metrics import metric
from art.report.tables import agreements, metrics

_STEPS = 10  # lines in a pipe, at most


class FillingTable(Watcher):
    """Shows a diagnosis on stderr.

    Args:
        redraws: whether the table is drawn again in its place; None for whether stderr is a
            terminal.

    Attributes:
        wants_bar: see `Watcher`.
    """

    def __init__(self, *, redraws: bool | None = None) -> None:
        self.wants_bar = sys.stderr.isatty() if redraws is None else redraws
        self._lines: list[tqdm] = []
        self._step = 0

    def estimated(self, estimate: Estimate) -> None:
        """Say how many pairs there are and how long they take."""
        say(_estimate(estimate))

    def scored(self, interim: Interim) -> None:
        """Draw the table, or say a line where another tenth of the questions is done."""
        if interim.num_done == interim.num_questions:  # these are the result
            self.end()  # while the bar still stands above: where it ends, lines would be moved
            return
        if self.wants_bar:
            self._draw([f"{_done(interim)}:", *_table(interim).splitlines()])
            return
        step = _STEPS * interim.num_done // interim.num_questions
        if step > self._step:
            self._step = step
            say(f"{_done(interim)}, {_time(interim.seconds_left)} left; {_line(interim)}")

    def end(self) -> None:
        """Remove the table from the terminal: the whole one follows."""
        for line in reversed(self._lines):
            line.close()
        self._lines = []

    def _draw(self, texts: list[str]) -> None:
        # Lines of tqdm stand below its bar, and whatever is said moves them down.
        for position in range(len(self._lines), len(texts)):
            self._lines.append(
                tqdm(bar_format="{desc}", position=position + 1, leave=False, dynamic_ncols=True)
            )
        for line, text in zip(self._lines, texts, strict=True):
            line.set_description_str(text)


def _estimate(estimate: Estimate) -> str:
    counts = [f"{'at most ' * estimate.is_most}{estimate.num_pairs:,} pairs to score"]
    if estimate.num_further:
        counts.append(f"{estimate.num_further:,} for the other prompts")
    beside = [f"{estimate.num_known:,} known already"] if estimate.num_known else []
    beside += [f"{estimate.num_twice:,} found by both searches"] if estimate.num_twice else []
    return (
        " and ".join(counts)
        + (f", besides {' and '.join(beside)}" if beside else "")
        + f": about {_time(estimate.seconds)} at {estimate.pairs_per_second:,.1f} pairs "
        "a second here"
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _done(interim: Interim) -> str:
    return f"{interim.num_done:,} of {interim.num_questions:,} questions"


def _table(interim: Interim) -> str:
    if interim.results:
        return metrics({name: result.metrics for name, result in interim.results.items()})
    return agreements(interim.agreements)


def _line(interim: Interim) -> str:
    """Return what a line has room for: one metric of each ranking."""
    if interim.results:
        shown = metric(interim.tested)
        cells = {name: result.metrics for name, result in interim.results.items()}
        values = [f"{name} {shown.shown(of[interim.tested])}" for name, of in cells.items()]
        return f"{shown.title}: {'; '.join(values)}"
    shares = [f"{name} {100 * one.share:.1f}" for name, one in interim.agreements.items()]
    return f"same first passage as the teacher: {'; '.join(shares)}"
