"""The questions that training won and lost: those whose ranking it changed most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from art.evaluation.metrics import metric
from art.evaluation.rankings import KeptRanking

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
    before: Sequence[KeptRanking], after: Sequence[KeptRanking], name: str
) -> tuple[list[Change], list[Change]]:
    """Return the questions that got most better and most worse, the most changed ones first.

    Labelled questions go by the rank of the first hit: by the ratio of both ranks, so that the
    first few places count most, and a miss counts as the place behind the last one looked at.
    Where no question is labelled, they go by the metric.

    Args:
        before: the questions at step 0.
        after: the same questions at the chosen step.
        name: of the metric, such as the teacher's log-likelihood given the first passage.

    Returns:
        At most `NUM_SHOWN` questions each.
    """
    labelled = any(one.passages and one.passages[0].hit is not None for one in before)
    compare = _by_first_hit if labelled else _by_metric(name)
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


def _by_metric(name: str) -> Callable[[KeptRanking, KeptRanking], Change | None]:
    chosen = metric(name)

    def compare(before: KeptRanking, after: KeptRanking) -> Change | None:
        first, last = before.metrics[name], after.metrics[name]
        if first is None or last is None:
            return None
        said = f"{chosen.title}: {chosen.shown(first)} → {chosen.shown(last)}"
        return Change(before, after, chosen.gain(first, last), said)

    return compare
