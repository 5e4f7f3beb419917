"""The passage that stands for a label, for each held-out question that has none.

A teacher that judges what it taught would praise itself. So BM25, which neither teaches nor is
taught, judges as well: before the first step the best passages of the retriever and of BM25 are put
into the teacher's order, this ranking and BM25's are fused by reciprocal ranks, and checkpoints are
judged by how far in front the first passage of the fused ranking stands. The start's own ranking is
no judge: it has its own first passage in front, and so prefers itself to whatever is learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art import distributed
from art.evaluation.rerank import in_order
from art.retriever.fusion import DEPTH, add_values, reciprocal_ranks
from art.teacher.grouped import grouped_scores
from art.training.candidates import half_and_half

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher
    from art.teacher.cached import CachedTeacher

    Rows = NDArray[np.int64]

NUM_SCORED = 16
"""Passages of each question that the teacher puts into order, at most: half of them BM25's."""


def agreed_passages(
    questions: Sequence[str],
    *,
    retriever: Retriever,
    searcher: IndexSearcher,
    bm25: BM25,
    teacher: CachedTeacher,
    own: Rows | None = None,
    after_block: Callable[[], None] = lambda: None,
) -> Rows:
    """Return the passage of each question that BM25 and the teacher agree on most.

    Every process of the job must call it, with the same arguments.

    Args:
        questions: Q texts.
        retriever: as it starts; finds half of the passages that the teacher orders.
        searcher: of the index of the same weights.
        bm25: of the same passages.
        teacher: of the run; its scores go into the log like all others.
        own: the row of each question's own passage, which no evaluation may find, [Q]; -1 where
            there is none. None where none has one.
        after_block: called whenever the teacher's log holds the scores of another block.

    Returns:
        Rows of the store, [Q]; -1 where nothing but the own passage was found.
    """
    num_scored = min(NUM_SCORED, len(searcher.index))
    _, dense = searcher.search_for_all(
        # All at once, whatever the number of processes: else their bits would depend on it.
        lambda: retriever.embed_questions(list(questions)) if distributed.is_main() else None,
        num_scored,
    )
    values, found = bm25.search(questions, DEPTH)
    sparse = np.where(values > 0, found, -1)
    pairs = zip(dense, sparse[:, :num_scored], strict=True)
    both = np.stack([half_and_half(first, second) for first, second in pairs])
    scores = grouped_scores(
        teacher, questions, both, after_block=after_block, description="ordering for agreement"
    )
    judged, _ = in_order(both, scores)
    rankings = [sparse, judged]
    if own is not None:
        rankings = [np.where(rows == own[:, None], -1, rows) for rows in rankings]
    return first_of_all(rankings)


def first_of_all(rankings: Sequence[Rows]) -> Rows:
    """Return the first passage of several rankings fused by reciprocal ranks, the lowest of equals.

    Args:
        rankings: rows of each question, best first, [Q, K_i] each; -1 behind the last.

    Returns:
        Rows [Q].
    """
    _, best = add_values([(reciprocal_ranks(rows), rows) for rows in rankings], 1)
    return best[:, 0]
