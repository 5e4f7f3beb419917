"""Answers that a reader gave, held against those that the questions accept."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from art.data.answers import compiled
from art.evaluation.metrics.base import METRICS, Family, Metric, Values
from art.evaluation.metrics.evidence import Evidence
from art.evaluation.squad import exact_match, f1


@dataclass(frozen=True, eq=False)
class GivenAnswers(Evidence):
    """What a reader answered to Q questions.

    Attributes:
        given: number of passages read → its answer to each question, empty where there is none.
        accepted: of each question; none where it has no label.
        regex: whether they are regular expressions, as in CuratedTREC; of those there is no F1.
    """

    priority: ClassVar[int] = 0

    given: Mapping[int, Sequence[str]]
    accepted: Sequence[Sequence[str]]
    regex: bool = False


def matches_pattern(given: str, accepted: Sequence[str]) -> bool:
    """Return whether one of the accepted expressions matches a given answer from its start.

    Source: Chen et al. 2017 (DrQA), its `regex_match_score`.
    """
    normal = unicodedata.normalize("NFD", given)
    return any(compiled(one).match(normal) for one in accepted)


def _compared(
    answers: GivenAnswers, k: int, compare: Callable[[str, Sequence[str]], float]
) -> Values:
    pairs = zip(answers.given[k], answers.accepted, strict=True)
    # No answer is wrong, even where an accepted one is normalised to nothing, as `The The` is.
    values = [(compare(given, of) if given else 0) if of else np.nan for given, of in pairs]
    return np.array(values, np.float64)


def _exact_match(k: int) -> Metric[GivenAnswers]:
    def compute(answers: GivenAnswers) -> Values:
        return _compared(answers, k, matches_pattern if answers.regex else exact_match)

    return Metric(
        name=f"exact_match_{k}",
        title=f"exact match, {k} passages",
        meaning=f"exact match of the answers read in {k} passages",
        source=GivenAnswers,
        compute=compute,
        has_interval=True,
        preference=0,
        family="Questions answered exactly, in k passages, %",
    )


def _f1(k: int) -> Metric[GivenAnswers]:
    return Metric(
        name=f"f1_{k}",
        title=f"F1, {k} passages",
        meaning=f"F1 of the answers read in {k} passages",
        source=GivenAnswers,
        compute=lambda answers: _compared(answers, k, f1),
    )


METRICS.add(Family("exact_match_<k>", GivenAnswers, _exact_match, lambda answers: answers.given))
METRICS.add(
    Family("f1_<k>", GivenAnswers, _f1, lambda answers: () if answers.regex else answers.given)
)
