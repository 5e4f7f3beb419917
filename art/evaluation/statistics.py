"""Intervals, tests, correlations and ranks; plain numbers in, plain numbers out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # not scipy.stats: it loads itself where it is used, and takes a second
from numpy.typing import ArrayLike, NDArray

from art.errors import ArtError

FloatArray = NDArray[np.floating[Any]]

_SMALLEST_NORMAL = np.finfo(np.float32).smallest_normal


def wilson(successes: int, count: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a share (Wilson 1927), (0, 1) when nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    interval = scipy.stats.binomtest(successes, count).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


@dataclass(frozen=True, slots=True)
class PairedTest:
    """How two rankings of the same questions differ: questions that one of them is better for.

    Attributes:
        only_first: the first; where metrics are 0 or 1, questions that it alone answers.
        only_second: the second.
        p_value: how likely so uneven a division is where both are equally good.
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test whether two rankings answer equally many questions: exact McNemar, two-sided binomial.

    Args:
        first: which questions the first ranking answers, [Q] bool.
        second: the same questions under the second ranking, [Q] bool.
    """
    return sign_test(np.asarray(first, bool), np.asarray(second, bool))


def sign_test(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Test whether either of two rankings is the better one for more questions, two-sided binomial.

    Args:
        first: a value of each question under the first ranking, higher is better, [Q]; NaN where
            there is none.
        second: of the same questions under the second ranking, [Q].

    Returns:
        Questions that the first, or the second, is better for, and the exact p-value; questions
        with equal values or none do not count. For values of 0 and 1 it is McNemar's test.
    """
    first, second = np.asarray(first), np.asarray(second)
    only_first, only_second = int((first > second).sum()), int((second > first).sum())
    differing = only_first + only_second
    p_value = float(scipy.stats.binomtest(only_first, differing).pvalue) if differing else 1.0
    return PairedTest(only_first, only_second, p_value)


def paired_difference(first: ArrayLike, second: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a mean difference between two values of the same questions.

    Student's, on the differences; where all are the same, that one twice.

    Args:
        first: [Q], one at least.
        second: [Q], taken away from the first.
    """
    return mean_interval(np.asarray(first, float) - np.asarray(second, float))


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a mean: Student's; where all values are the same, that one twice.

    Args:
        values: a value of each question, [Q], one at least.
    """
    found = np.asarray(values, float)
    if np.ptp(found) == 0:
        return float(found[0]), float(found[0])
    interval = scipy.stats.ttest_1samp(found, 0.0).confidence_interval(0.95)
    return float(interval.low), float(interval.high)


def rank_agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Return the mean over questions of Spearman's rank correlation, ties at their average rank.

    A question for which either side scores all passages alike agrees with nothing and counts 0.

    Args:
        first: scores of the K passages of each question, [B, K].
        second: other scores of the same passages, [B, K].
    """
    ranks = [scipy.stats.rankdata(np.asarray(scores), axis=1) for scores in (first, second)]
    a, b = (each - each.mean(axis=1, keepdims=True) for each in ranks)
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    product = (a * b).sum(axis=1)
    correlations = np.divide(product, scale, out=np.zeros_like(scale), where=scale > 0)
    return float(correlations.mean()) if len(correlations) else 0.0


def positive_ranks(scores: ArrayLike, positives: ArrayLike) -> NDArray[np.int64]:
    """Return how many passages stand before each question's positive: 0 where it comes first.

    The mean over the questions of a development file, each scored against the passages of all of
    them, is DPR's average rank (`validate_average_rank` of facebookresearch/DPR, which also counts
    from 0). The order is ours: by falling score, and among equals by column.

    Args:
        scores: [Q, P]; −∞ for a passage that does not compete.
        positives: the column of each question's positive, [Q] int.

    Returns:
        Ranks [Q].
    """
    values, columns = np.asarray(scores), np.asarray(positives, np.int64)[:, None]
    own = np.take_along_axis(values, columns, axis=1)  # [Q, 1]
    earlier = np.arange(values.shape[1]) < columns  # [Q, P]
    return np.asarray(((values > own) | ((values == own) & earlier)).sum(axis=1), np.int64)


def spaced_scores(scores: ArrayLike) -> NDArray[np.float32]:
    """Return float32 scores that fall strictly along each row, so that every reader sees one order.

    Each is the given score, or one float32 ulp below the one before where that is lower still.

    Args:
        scores: finite scores, best passage first, [..., K].

    Returns:
        Scores of the same shape, float32.

    Raises:
        ArtError: a score is not finite as float32.
    """
    with np.errstate(over="ignore"):  # an overflow is reported as the fault that it is, below
        spaced = np.array(scores, np.float32)
    finite = np.isfinite(spaced).all()
    # Nothing between zero and the smallest normal number: a program that flushes such numbers to
    # zero (and some trec_evals live in one) would see ties again.
    spaced[np.abs(spaced) < _SMALLEST_NORMAL] = 0.0
    for rank in range(1, spaced.shape[-1]):
        below = np.nextafter(spaced[..., rank - 1], np.float32(-np.inf))
        below = np.where(np.abs(below) < _SMALLEST_NORMAL, -_SMALLEST_NORMAL, below)
        spaced[..., rank] = np.minimum(spaced[..., rank], below)
    if not (finite and np.isfinite(spaced).all()):
        raise ArtError("a score is not a finite float32 number")
    return spaced
