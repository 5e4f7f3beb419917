"""A ranking re-ordered by the teacher's scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art.evaluation.sharing import gather_shares, my_share

if TYPE_CHECKING:
    from art.teacher.cached import CachedTeacher


def score_rows(
    teacher: CachedTeacher, questions: Sequence[str], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return the log-likelihood of each question given each of its passages.

    Every process of the job must call it, with the same arguments; each scores its share.

    Args:
        teacher: a frozen language model over the store's passages.
        questions: texts, Q of them.
        rows: passages of each question, [Q, K].

    Returns:
        Log-likelihoods, [Q, K] float32.
    """
    mine = my_share(len(questions))
    return gather_shares(teacher.score(list(questions[mine]), rows[mine]).scores)


def in_order(
    rows: NDArray[np.int64], scores: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Put each question's passages into the order of these scores.

    Args:
        rows: passages of each question, [Q, K].
        scores: their scores, higher is better, [Q, K].

    Returns:
        The rows re-ordered, [Q, K], equal scores in their earlier order; their scores, [Q, K].
    """
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
