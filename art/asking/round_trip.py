"""Whether a question leads back to its passage: by searches, then by the teacher's preference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art.asking.asker import AskedQuestion
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.mining import Search
from art.teacher.base import Teacher
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores
from art.teacher.log_file import LOG_NAME
from art.teacher.score_log import ScoreLog

DEPTH = 20  # of a search, among which the passage must be
CONTENDERS = 5  # of a search, among which the teacher must prefer the passage

_AT_ONCE = 256  # questions


def found_by(
    search: Search, questions: Sequence[AskedQuestion], store: PassageStore
) -> NDArray[np.int64]:
    """Return the rows that a search finds for each question, [Q, `DEPTH`], -1 where there is none.

    Args:
        search: of the store.
        questions: Q of them.
        store: the passages.
    """
    found = np.full((len(questions), min(DEPTH, len(store))), -1, dtype=np.int64)
    for start in range(0, len(questions), _AT_ONCE):
        texts = [one.text for one in questions[start : start + _AT_ONCE]]
        found[start : start + len(texts)] = search(texts, found.shape[1])[1]
    return found


def rows_of(questions: Sequence[AskedQuestion], store: PassageStore) -> NDArray[np.int64]:
    """Return the row of each question's passage, [Q]."""
    known = {name: store.row_of(name) for name in {one.passage_id for one in questions}}
    return np.array([known[one.passage_id] for one in questions], dtype=np.int64)


def contenders(own: NDArray[np.int64], found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each question's passage and the best that a search found beside it, [Q, K]."""
    others = np.where(found == own[:, None], -1, found)
    # Stable, so that those found stay in their order and what is none comes last.
    order = np.argsort(others < 0, axis=1, kind="stable")
    others = np.take_along_axis(others, order, axis=1)[:, : CONTENDERS - 1]
    return np.concatenate([own[:, None], others], axis=1)


def preferred(
    teacher: Teacher,
    tokens: TokenStore,
    questions: Sequence[AskedQuestion],
    rows: NDArray[np.int64],
    folder: Path,
    *,
    progress: bool,
) -> NDArray[np.bool_]:
    """Return whether the teacher prefers the first passage of each question, [Q].

    Every process of the job must call it, with the same arguments.

    Args:
        teacher: frozen.
        tokens: the passages, encoded by its template.
        questions: Q of them.
        rows: from `contenders`, [Q, K].
        folder: where its scores are kept, of whole blocks, so that a killed job goes on.
        progress: show pairs a second and the remaining time on the main process.
    """
    log = ScoreLog(folder / LOG_NAME, fingerprint=teacher.fingerprint)
    try:
        cached = CachedTeacher(teacher, log, tokens)
        texts = [one.text for one in questions]
        scores = grouped_scores(
            cached, texts, rows, after_block=cached.sync, description="judging", progress=progress
        )
    finally:
        log.close()
    return np.asarray(scores[:, 0] >= scores.max(axis=1))
