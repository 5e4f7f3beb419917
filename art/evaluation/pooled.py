"""Questions asked of the passages of all of them: what a supervised run is judged by.

No corpus is searched: the pool is the positives and negatives of a file of labelled questions, as
in DPR's validation by average rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art import distributed
from art.evaluation.metrics import compute_all, means
from art.evaluation.metrics.evidence import PooledRanks
from art.evaluation.sharing import my_share
from art.evaluation.statistics import positive_ranks

if TYPE_CHECKING:
    from art.retriever.encoders import Retriever

# Fixed, so that neither a vector nor a score depends on the number of processes.
_EMBED_BLOCK = 256
_SCORES_AT_ONCE = 1 << 24

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Pool:
    """Q questions and the P passages that they are asked of.

    Attributes:
        questions: token ids of each question.
        read: columns of the pool → their token ids.
        num_passages: P.
        targets: the column of each question's positive, [Q].
        excluded: columns that do not compete for a question: its other positives.
    """

    questions: Sequence[ArrayLike]
    read: Callable[[range], Sequence[ArrayLike]]
    num_passages: int
    targets: NDArray[np.int64]
    excluded: Sequence[NDArray[np.int64]]

    @classmethod
    def of(
        cls,
        questions: Sequence[ArrayLike],
        read: Callable[[Sequence[int]], Sequence[ArrayLike]],
        *,
        keys: NDArray[np.uint64],
        targets: NDArray[np.int64],
        positives: Sequence[NDArray[np.uint64]],
    ) -> Pool:
        """Return the pool of these passages.

        Args:
            questions: token ids of each of the Q questions.
            read: positions in `keys` → token ids.
            keys: one of each passage, [P]; a passage with the key of a question's positive does not
                compete with it.
            targets: the position in `keys` of each question's positive, [Q].
            positives: the keys of all positives of each question.
        """
        order = np.argsort(keys, kind="stable")  # equal scores are not in the order of the files
        ordered, column = keys[order], np.argsort(order, kind="stable")
        excluded = []
        for target, own in zip(column[targets], positives, strict=True):
            ends = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
            spans = [np.arange(*span) for span in zip(*ends, strict=True)]
            columns = np.unique(np.concatenate(spans))
            excluded.append(columns[columns != target])
        return cls(
            questions,
            lambda wanted: read(order[wanted.start : wanted.stop].tolist()),
            len(keys),
            targets=column[targets],
            excluded=excluded,
        )

    @property
    def num_questions(self) -> int:
        """Return Q."""
        return len(self.questions)


def evaluate_pool(retriever: Retriever, pool: Pool) -> dict[str, float]:
    """Ask every question of the whole pool.

    Every process of the job must call it; each takes a share, and all return the whole.

    Args:
        retriever: both towers.
        pool: questions and passages.

    Returns:
        Metrics by name, from the number of passages before each positive: the mean of 1 / (1 + that
        number), the share of questions where it is 0, its own mean.

    Source: Karpukhin et al. 2020 (DPR), `validate_average_rank`, which takes the question's first
        positive too, but lets its others compete.
    """
    passages = _embed(retriever, "passage", pool.read, pool.num_passages)  # [P, D]
    asked = _embed(
        retriever, "question", lambda some: [pool.questions[i] for i in some], pool.num_questions
    )  # [Q, D]
    ranks = _in_blocks(
        lambda block: _ranks(asked, passages, pool, block),
        pool.num_questions,
        max(1, _SCORES_AT_ONCE // pool.num_passages),
        empty=np.zeros(0, dtype=np.int64),
    )  # [Q]
    return means(compute_all(PooledRanks(ranks)))


def _ranks(
    questions: NDArray[np.float32], passages: NDArray[np.float32], pool: Pool, block: range
) -> NDArray[np.int64]:
    own = slice(block.start, block.stop)
    scores = questions[own] @ passages.T  # [block, P]
    for row, columns in zip(scores, pool.excluded[own], strict=True):
        row[columns] = -np.inf
    return positive_ranks(scores, pool.targets[own])


def _embed(
    retriever: Retriever,
    tower: Literal["question", "passage"],
    read: Callable[[range], Sequence[ArrayLike]],
    count: int,
) -> NDArray[np.float32]:
    return _in_blocks(
        lambda block: retriever.embed_tokens(tower, read(block)),
        count,
        _EMBED_BLOCK,
        empty=np.zeros((0, retriever.embedding_size), dtype=np.float32),
    )


def _in_blocks(
    compute: Callable[[range], NDArray[Number]], count: int, size: int, *, empty: NDArray[Number]
) -> NDArray[Number]:
    """Compute blocks of `count` rows, each process its share of them, and gather all."""
    starts = range(0, count, size)

    def mine() -> NDArray[Number]:
        share = starts[my_share(len(starts))]
        blocks = [compute(range(start, min(start + size, count))) for start in share]
        return np.concatenate([empty, *blocks])

    return np.concatenate(distributed.together(mine))
