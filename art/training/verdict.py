"""Whether the weights that a run chose are better than those it started from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from art.config import Manifest
from art.evaluation.metrics import metric
from art.evaluation.statistics import paired_difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from art.evaluation.rankings import KeptRanking


_EQUAL: Literal["no different"] = "no different"


class Verdict(Manifest):
    """How chosen weights compare with the start, question by question.

    Attributes:
        metric: name of the metric.
        num_questions: compared.
        chose_too: whether the same questions chose the weights, which flatters them; else they were
            put aside for this.
        step: whose weights were compared with those of step 0.
        before: mean at step 0.
        after: mean at that step.
        low: of the gain, lower end of its 95 % interval; above 0 where the weights are better.
        high: upper end.
    """

    metric: str
    num_questions: int
    chose_too: bool
    step: int
    before: float
    after: float
    low: float
    high: float

    @property
    def finding(self) -> Literal["better", "no different", "worse"]:
        """Return what the interval says."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else _EQUAL

    @property
    def keeps_start(self) -> bool:
        """Whether the start is kept: questions that had no part in the choice see no gain."""
        return not self.chose_too and self.finding != "better"

    def __str__(self) -> str:
        """Return it as a sentence for a person."""
        measure = metric(self.metric)
        gains = (measure.gain(self.before, self.after), self.low, self.high)
        shown, low, high = (f"{'+' if one >= 0 else ''}{measure.shown(one)}" for one in gains)
        unit = f" {measure.unit.sign}" if measure.unit.sign else ""
        asked = "questions, which chose it too" if self.chose_too else "questions put aside for it"
        return (
            f"step {self.step} is {self.finding} {'from' if self.finding == _EQUAL else 'than'} "
            f"the start: {measure.title} {measure.shown(self.before)} → "
            f"{measure.shown(self.after)}{unit}, {shown} (95 % interval {low} to {high}) on "
            f"{self.num_questions} {asked}"
        )


def verdict_of(
    name: str,
    step: int,
    before: Sequence[KeptRanking],
    after: Sequence[KeptRanking],
    *,
    chose_too: bool,
) -> Verdict | None:
    """Compare what the same questions found at step 0 and at another step.

    Args:
        name: of the metric.
        step: the other step.
        before: what each question found at step 0.
        after: the same questions in the same order, at that step.
        chose_too: whether they had a part in the choice of the step.

    Returns:
        None where fewer than two questions have the metric.
    """
    values = np.array(
        [
            (one.metrics[name], other.metrics[name])
            for one, other in zip(before, after, strict=True)
            if one.metrics.get(name) is not None
        ],
        float,
    )
    if len(values) < 2:
        return None
    first, second = values[:, 0], values[:, 1]
    sign = 1 if metric(name).higher_is_better else -1
    low, high = paired_difference(sign * second, sign * first)
    return Verdict(
        metric=name,
        num_questions=len(values),
        chose_too=chose_too,
        step=step,
        before=float(first.mean()),
        after=float(second.mean()),
        low=low,
        high=high,
    )
