"""Two rankings of the same questions: what differs between them, and whether by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from art.data.records import comparable
from art.errors import MismatchError, shown
from art.evaluation.labels import some
from art.evaluation.metrics import metric
from art.evaluation.rankings import KeptRanking
from art.evaluation.statistics import PairedTest, paired_difference, sign_test


@dataclass(frozen=True)
class Difference:
    """How a metric differs between two rankings.

    Attributes:
        name: of the metric.
        num_questions: that it applies to in both.
        first: its mean in the first ranking over these.
        second: in the second.
        low: lower end of the 95 % interval of second − first, paired by question; None for fewer
            than two questions.
        high: the upper end.
        test: questions that the second (`only_first`) and the first are better for; its p-value is
            exact McNemar's for a metric of 0 and 1, else of the sign test.
    """

    name: str
    num_questions: int
    first: float
    second: float
    low: float | None
    high: float | None
    test: PairedTest


@dataclass(frozen=True)
class PairedRankings:
    """Two rankings of the questions that both have.

    Attributes:
        first: of each question, [Q].
        second: of the same questions in the same order, [Q].
        differences: of each metric that both have.
        notes: what a reader of them must know, a sentence each.
    """

    first: list[KeptRanking]
    second: list[KeptRanking]
    differences: list[Difference]
    notes: list[str]

    @property
    def primary(self) -> str:
        """The metric that is trusted most."""
        return min((one.name for one in self.differences), key=lambda one: metric(one).priority)


def pair(
    first: Sequence[KeptRanking], second: Sequence[KeptRanking], *, names: tuple[str, str]
) -> PairedRankings:
    """Compare two rankings on the questions that both have, question by question.

    Args:
        first: of any questions.
        second: of any questions.
        names: of both, for messages.

    Raises:
        MismatchError: they have no question or no metric in common, or a question has another text
            in one than in the other.
    """
    of_first, of_second = ({one.id: one for one in side} for side in (first, second))
    common = [name for name in of_first if name in of_second]
    if not common:
        raise MismatchError(
            f"{names[0]} and {names[1]} have no question in common: {shown(first[0].id)} and "
            f"{shown(second[0].id)} are their first",
            hint="compare rankings of the same questions",
        )
    pairs = _to_one_depth([of_first[one] for one in common], [of_second[one] for one in common])
    _check_texts(*pairs, names)
    known = [{name for one in side for name in one.metrics} for side in pairs]
    differences = [
        found for name in pairs[0][0].metrics if name in known[1] and (found := _of(name, *pairs))
    ]
    if not differences:
        has = " and ".join(", ".join(sorted(one)) or "none" for one in known)
        raise MismatchError(
            f"{names[0]} and {names[1]} have no metric in common: {has}",
            hint="judge both by the same labels",
        )
    notes = [
        f"{len(others)} questions are only in {name} and are left out ({some(others)})"
        for name, own, all_others in (
            (names[0], of_first, of_second),
            (names[1], of_second, of_first),
        )
        if (others := [one for one in own if one not in all_others])
    ]
    return PairedRankings(*pairs, differences, notes)


def _check_texts(
    first: Sequence[KeptRanking], second: Sequence[KeptRanking], names: tuple[str, str]
) -> None:
    for one, other in zip(first, second, strict=True):
        texts = (one.question, other.question)
        if all(texts) and comparable(texts[0]) != comparable(texts[1]):
            raise MismatchError(
                f"the question {shown(one.id)} is {shown(texts[0])} in {names[0]} and "
                f"{shown(texts[1])} in {names[1]}",
                hint="compare rankings of the same questions",
            )


def _to_one_depth(
    first: list[KeptRanking], second: list[KeptRanking]
) -> tuple[list[KeptRanking], list[KeptRanking]]:
    """Forget hits that lie deeper than the shallower of both rankings looks."""
    depth = min(one.depth for one in (*first, *second))

    def cut(one: KeptRanking) -> KeptRanking:
        deeper = one.first_hit is not None and one.first_hit > depth
        return one.model_copy(
            update={"depth": depth, "first_hit": None if deeper else one.first_hit}
        )

    return [cut(one) for one in first], [cut(one) for one in second]


def _of(
    name: str, first: Sequence[KeptRanking], second: Sequence[KeptRanking]
) -> Difference | None:
    """Return how a metric differs; None where it applies to no question in both."""
    pairs = [
        (a, b)
        for one, other in zip(first, second, strict=True)
        if (a := one.metrics.get(name)) is not None and (b := other.metrics.get(name)) is not None
    ]
    if not pairs:
        return None
    before, after = np.array(pairs).T  # [Q] each
    low, high = paired_difference(after, before) if len(pairs) > 1 else (None, None)
    sign = 1 if metric(name).higher_is_better else -1
    test = sign_test(sign * after, sign * before)
    return Difference(name, len(pairs), float(before.mean()), float(after.mean()), low, high, test)
