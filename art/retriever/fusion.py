"""The retriever's ranking and BM25's made one: by their weighted scores, or by their ranks.

By scores each list is brought to the range from 0 to 1 for every question, and the retriever's
values count with a weight, BM25's with what is left of 1. By ranks a passage gets 1 / (60 + rank),
ranks from 1. From a list that does not hold it a passage gets nothing.

No weight suits all questions: BM25 is to be trusted where a passage shares the question's words.
So, unless a weight is given, each question has its own: with m the share of the question's words,
counted by their rarity, that BM25's best passage holds, BM25's values count (m / 0.45)² times as
much as the retriever's. Both numbers were chosen on the demonstration's choosing questions.

Sources: Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and
individual Rank Learning Methods"; Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval" (convex combination; BM25's scores against the most that they can be).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError

if TYPE_CHECKING:
    from art.retriever.bm25 import BM25
    from art.retriever.index import Index

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Found = tuple[NDArray[Any], Rows]
"""What a search returns: scores and rows, [Q, K] each, best first."""

# Passages that each list has at least, whatever is asked for: so the first 5 are the same where 5
# are asked for and where 100 are.
DEPTH = 100
_RANK_CONSTANT = 60
_EVEN_SHARE = 0.45  # of a question's words in BM25's best passage: both lists count the same
_STEEPNESS = 2  # twice that share, four times the weight


@dataclass(frozen=True)
class Fusion:
    """How two rankings are made one.

    Args:
        weight: of the retriever's scores, the rest of 1 being BM25's; `ranks` for reciprocal ranks;
            None for a weight of each question's own, by the share of its words that BM25 found.

    Raises:
        ArtError: the weight is not between 0 and 1.
    """

    weight: float | Literal["ranks"] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.weight, str):
            if self.weight != "ranks":
                raise ArtError(
                    f"the retriever's weight is {self.weight!r}",
                    hint="a number between 0 and 1, or ranks",
                )
        elif self.weight is not None and not 0 < self.weight < 1:
            raise ArtError(
                f"the retriever's weight is {self.weight}, it must be between 0 and 1",
                hint="with 0 or 1 there is nothing to fuse",
            )

    @classmethod
    def chosen(cls, fused: bool, weight: float | str | None) -> Fusion | None:
        """Return what a user's two options say together; None where nothing is fused.

        Raises:
            ArtError: there is a weight, but nothing to fuse; or it is neither `ranks` nor a number
                between 0 and 1.
        """
        if weight is not None and not fused:
            raise ArtError(
                "a weight for results that are not fused", hint="add --fused, in Python fused=True"
            )
        if isinstance(weight, str):
            with suppress(ValueError):
                weight = float(weight)
        return cls(weight) if fused else None  # type: ignore[arg-type]  # checked there

    def __call__(
        self, retriever: Found, bm25: Found, top_k: int, *, most: Floats
    ) -> tuple[Floats, Rows]:
        """Fuse the two rankings of the same questions.

        Args:
            retriever: scores and rows, [Q, K1] each, best first.
            bm25: scores and rows, [Q, K2] each, best first; where the score is 0 nothing was found.
            top_k: K.
            most: what BM25's scores of each question can be at most, [Q], see `BM25.most`.

        Returns:
            Scores and rows, [Q, K] each, ordered by (score descending, row ascending); score 0 and
            row -1 behind the last where both lists together hold fewer.
        """
        scores, rows = bm25
        words = np.where(scores > 0, rows, -1)
        if self.weight == "ranks":
            lists = [(reciprocal_ranks(rows), rows) for rows in (retriever[1], words)]
        else:
            weight = own_weights(scores, most) if self.weight is None else self.weight
            lists = [
                (weight * scaled_scores(*retriever), retriever[1]),
                ((1 - weight) * scaled_scores(scores, words), words),
            ]
        return add_values(lists, top_k)

    def in_words(self) -> str:
        """Return how rankings are fused, for a person."""
        if self.weight is None:
            return "scores, BM25's by the share of a question's words that it found"
        if isinstance(self.weight, str):
            return "reciprocal ranks"
        return f"scores, {self.weight:g} the retriever's and {1 - self.weight:g} BM25's"


class FusedSearch:
    """Searches an index and the words of its passages, and fuses what both find.

    Args:
        index: of the passages under the retriever that embeds the questions.
        bm25: of the same passages.
        fusion: how the two rankings are made one.
    """

    def __init__(self, index: Index, bm25: BM25, fusion: Fusion) -> None:
        self._index = index
        self._bm25 = bm25
        self._fusion = fusion

    def search(
        self, questions: Sequence[str], question_vectors: NDArray[np.float32], top_k: int
    ) -> tuple[Floats, Rows]:
        """Return the K best passages of each question.

        Args:
            questions: Q texts.
            question_vectors: of the same questions, [Q, D].
            top_k: K; above N, all N passages are returned. Up to `DEPTH` it only says how many of
                the same ranking are returned.

        Returns:
            Scores and rows, [Q, min(K, N)] each, ordered by (score descending, row ascending).

        Raises:
            ArtError: as `Index.search` and `BM25.search`.
        """
        depth = max(top_k, DEPTH) if top_k > 0 else top_k  # what is no depth is refused by both
        found = self._index.search(question_vectors, depth)
        words = self._bm25.search(questions, depth)
        most = self._bm25.most(questions)
        return self._fusion(found, words, min(top_k, len(self._index)), most=most)


def own_weights(scores: NDArray[Any], most: Floats) -> Floats:
    """Return the weight of the retriever's scores for each question, the rest of 1 being BM25's.

    Args:
        scores: BM25's, best first, [Q, K].
        most: what they can be at most, [Q]; 0 for a question without words.

    Returns:
        [Q, 1]; 1/2 where BM25's best passage has 0.45 of that, nearer to 1 where it has less.
    """
    best = scores[:, 0] if scores.shape[1] else np.zeros(len(scores))
    share = np.divide(best, most, out=np.zeros(len(scores)), where=most > 0)
    times: Floats = (share[:, None] / _EVEN_SHARE) ** _STEEPNESS
    return 1 / (1 + times)


def reciprocal_ranks(rows: Rows) -> Floats:
    """Return what each passage of a list gets for its rank, 1 / (60 + rank), ranks from 1.

    Args:
        rows: passages, best first, [Q, K]; -1 behind the last.

    Returns:
        Values [Q, K]; 0 behind the last.
    """
    values = 1.0 / (_RANK_CONSTANT + 1.0 + np.arange(rows.shape[1]))
    return np.where(rows >= 0, values, 0.0)


def scaled_scores(scores: NDArray[Any], rows: Rows) -> Floats:
    """Return each question's scores as shares of the way from the lowest to the highest.

    The lowest is what a passage that is not in the list can have at most: the last score of a full
    list; 0 where the list ends before, as a search by words leaves out what scores 0.

    Args:
        scores: best first, [Q, K].
        rows: their passages, [Q, K]; -1 behind the last.

    Returns:
        Values from 0 to 1, [Q, K]: 1 where all scores of a full list are the same, 0 behind the
        last.
    """
    there = rows >= 0
    wide = np.asarray(scores, np.float64)
    lowest = np.where(there[:, -1:], wide[:, -1:], 0.0)
    span = wide[:, :1] - lowest
    values = np.divide(wide - lowest, span, out=np.ones_like(wide), where=span > 0)
    return np.where(there, values, 0.0)


def add_values(lists: Sequence[tuple[Floats, Rows]], top_k: int) -> tuple[Floats, Rows]:
    """Add what each passage gets from several lists, and return the best.

    Args:
        lists: values and rows, [Q, K_i] each, for the same questions; a row is -1 where there is no
            passage, and stands once in a question's list else.
        top_k: K.

    Returns:
        Sums and rows, [Q, K] each, ordered by (sum descending, row ascending); sum 0 and row -1
        behind the last. Values are added in the order of the lists.
    """
    every_value = np.concatenate([values for values, _ in lists], axis=1)
    every_row = np.concatenate([rows for _, rows in lists], axis=1)
    sums = np.zeros((len(every_row), top_k))
    best = np.full((len(every_row), top_k), -1, dtype=np.int64)
    for position, (values, rows) in enumerate(zip(every_value, every_row, strict=True)):
        there = rows >= 0
        distinct, place = np.unique(rows[there], return_inverse=True)  # by row
        total = np.bincount(place, weights=values[there], minlength=len(distinct))
        order = np.argsort(-total, kind="stable")[:top_k]
        sums[position, : len(order)] = total[order]
        best[position, : len(order)] = distinct[order]
    return sums, best
