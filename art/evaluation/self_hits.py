"""A passage with the id of the question that finds it, which BEIR leaves out of a ranking.

ArguAna's and Quora's questions are passages of their corpora: each would find itself first.

Source: Thakur et al. 2021 (BEIR), `ignore_identical_ids` of its evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore


def self_hits(
    questions: Sequence[Question], rows: NDArray[np.int64], store: PassageStore
) -> NDArray[np.bool_]:
    """Return which passages have the id of the question that finds them, [Q, K].

    Args:
        questions: Q of them.
        rows: passages of each question, [Q, K]; -1 where there is none.
        store: the passages.
    """
    own = [store.row_of(question.question_id) for question in questions]
    known = np.array([-1 if row is None else row for row in own], np.int64)
    return np.asarray((rows == known[:, None]) & (rows >= 0))


def without_self_hits(
    own: NDArray[np.bool_], rows: NDArray[np.int64], scores: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Drop each question's own passage, or its last one where that was not found: [Q, K - 1].

    Args:
        own: from `self_hits`.
        rows: passages of each question, [Q, K].
        scores: their scores, [Q, K].
    """
    dropped = own.copy()
    dropped[~own.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return rows[~dropped].reshape(shape), scores[~dropped].reshape(shape)


def self_hits_note(count: int, *, dropped: bool) -> list[str]:
    """Return what to say of questions that find a passage with their own id; nothing of none.

    Args:
        count: such questions.
        dropped: whether the passages are left out.
    """
    if not count:
        return []
    if dropped:
        return [f"{count} questions found a passage with their own id, which is left out (BEIR)"]
    return [
        f"{count} questions found a passage with their own id, which counts here; BEIR's metrics "
        "leave it out (--drop-self-hits)"
    ]
