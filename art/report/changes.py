"""The questions that training won and lost: those whose ranking it changed most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from art.evaluation.rankings import KeptRanking
from art.report.tables import metric_name, metric_value

NUM_SHOWN = 5


@dataclass(frozen=True)
class Change:
    """A question before and after training.

    Attributes:
        before: what it found at step 0.
        after: what it finds at the chosen step.
        gain: how much better that is, in a unit of its own; negative where it is worse.
        said: what has changed, for a person.
    """

    before: KeptRanking
    after: KeptRanking
    gain: float
    said: str


def won_and_lost(
    before: Sequence[KeptRanking], after: Sequence[KeptRanking], metric: str
) -> tuple[list[Change], list[Change]]:
    """Return the questions that got most better and most worse, the most changed ones first.

    Labelled questions go by the rank of the first hit: by the ratio of both ranks, so that the
    first few places count most, and a miss counts as the place behind the last one looked at.
    Where no question is labelled, they go by the metric.

    Args:
        before: the questions at step 0.
        after: the same questions at the chosen step.
        metric: such as the teacher's log-likelihood given the first passage.

    Returns:
        At most `NUM_SHOWN` questions each.
    """
    labelled = any(one.passages and one.passages[0].hit is not None for one in before)
    compare = _by_first_hit if labelled else _by_metric(metric)
    pairs = zip(before, after, strict=True)
    found = [change for pair in pairs if (change := compare(*pair)) is not None]
    won = sorted((one for one in found if one.gain > 0), key=lambda one: -one.gain)
    lost = sorted((one for one in found if one.gain < 0), key=lambda one: one.gain)
    return won[:NUM_SHOWN], lost[:NUM_SHOWN]


def _by_first_hit(before: KeptRanking, after: KeptRanking) -> Change:
    first, last = (one.first_hit or one.depth + 1 for one in (before, after))
    said = f"first hit: {_rank(before)} → {_rank(after)}"
    return Change(before, after, math.log2(first / last), said)


def _rank(ranking: KeptRanking) -> str:
    if ranking.first_hit is None:
        return f"not in the first {ranking.depth}"
    return f"rank {ranking.first_hit}"


def _by_metric(metric: str) -> Callable[[KeptRanking, KeptRanking], Change | None]:
    def compare(before: KeptRanking, after: KeptRanking) -> Change | None:
        first, last = before.metrics[metric], after.metrics[metric]
        if first is None or last is None:
            return None
        values = " → ".join(metric_value(metric, value) for value in (first, last))
        return Change(before, after, last - first, f"{metric_name(metric)}: {values}")

    return compare
