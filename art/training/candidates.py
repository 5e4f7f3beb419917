"""Who finds the K passages of a question: the retriever (the paper), BM25, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index

Candidates = Callable[[Sequence[Sequence[str]]], np.ndarray]
"""Micro-batches of questions, n in all → rows [n, K] of the store, distinct within a question."""


def from_retriever(retriever: Retriever, index: Index, top_k: int) -> Candidates:
    """Find the K nearest passages under the current question tower and the last index."""

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        # Embedded by micro-batch, so that the vectors do not depend on how many a process has;
        # searched at once, because a search reads the whole index however few the questions.
        vectors = [retriever.embed_questions(list(texts)) for texts in batch]
        _, rows = index.search(np.concatenate(vectors), top_k)
        return rows

    return find


def from_bm25(bm25: BM25, top_k: int, *, only_matching: bool = False) -> Candidates:
    """Find BM25's K best passages; a question's are looked up once and kept.

    Args:
        bm25: over the corpus.
        top_k: K.
        only_matching: leave -1 for passages that share no word with the question.
    """
    kept: dict[str, np.ndarray] = {}

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        questions = [text for texts in batch for text in texts]
        if unseen := [text for text in dict.fromkeys(questions) if text not in kept]:
            scores, rows = bm25.search(unseen, top_k)
            if only_matching:
                rows = np.where(scores > 0, rows, -1)
            kept.update(zip(unseen, rows, strict=True))
        return np.stack([kept[text] for text in questions])

    return find


def from_both(retriever: Candidates, bm25: Candidates) -> Candidates:
    """Find the better half of the retriever's K and fill up with BM25's best others.

    Args:
        retriever: finds K.
        bm25: finds K at most, see `from_bm25` with `only_matching`.
    """

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        pairs = zip(retriever(batch), bm25(batch), strict=True)
        return np.stack([half_and_half(dense, sparse) for dense, sparse in pairs])

    return find


def num_from_retriever(top_k: int) -> int:
    """Return how many of K passages are the retriever's where both search; they stand first."""
    return (top_k + 1) // 2


def half_and_half(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Join the first ⌈K/2⌉ rows of `first` and the best of `second` that are not among them.

    Args:
        first: rows [K], best first, distinct.
        second: rows [K], best first, distinct; -1 behind the last, and where these are too few,
            more of `first` take their place.

    Returns:
        Rows [K], distinct.
    """
    top_k = len(first)
    half = first[: num_from_retriever(top_k)]
    others = second[(second >= 0) & ~np.isin(second, half)][: top_k - len(half)]
    more = first[len(half) :]
    more = more[~np.isin(more, others)][: top_k - len(half) - len(others)]
    return np.concatenate([half, others, more])
