"""Who finds the K passages of a question: the retriever (the paper), BM25, or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from art import distributed
from art.retriever.search import best, inner_products

if TYPE_CHECKING:
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher
    from art.training.corpus import RunCorpus

Candidates = Callable[[Sequence[Sequence[str]]], np.ndarray]
"""Micro-batches of questions, n in all → rows [n, K] of the store, distinct within a question.

Every process of the job must call it at the same point, each with questions of its own."""


def from_retriever(retriever: Retriever, searcher: IndexSearcher, top_k: int) -> Candidates:
    """Find the K nearest passages under the current question tower and the last index."""

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        # Searched at once, because a search reads all shards however few the questions.
        _, rows = searcher.search(lambda: embed_batch(retriever, batch), top_k)
        return rows

    return find


def embed_batch(retriever: Retriever, batch: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the vectors of micro-batches of questions, [n, D].

    Embedded by micro-batch, so that they do not depend on how many of these a process has.
    """
    return np.concatenate([retriever.embed_questions(list(texts)) for texts in batch])


def in_fresh_order(
    found: Candidates, retriever: Retriever, corpus: RunCorpus, top_k: int
) -> Candidates:
    """Find the K nearest of what is found, by vectors of the passage tower as it is now.

    They are what a fresh index would find wherever its K nearest passages are found at all; others
    are not looked at.

    Args:
        found: the candidates, K or more, in any order.
        retriever: the student.
        corpus: that it searches.
        top_k: K.
    """
    stored = corpus.searched().index.manifest.dtype

    def nearest(texts: Sequence[str], rows: np.ndarray) -> np.ndarray:
        distinct, place = np.unique(rows, return_inverse=True)
        fresh = retriever.embed_tokens("passage", [corpus.tokens[row] for row in distinct])
        asked = retriever.embed_questions(list(texts))
        vectors = torch.from_numpy(fresh.astype(stored)[place.reshape(rows.shape)])
        scores = inner_products(vectors, torch.from_numpy(asked)[:, None])
        return best(scores, torch.from_numpy(rows), top_k)[1].numpy()

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        rows = found(batch)
        ends = np.cumsum([len(texts) for texts in batch])[:-1]
        with distributed.fail_together():
            # By micro-batch: see `embed_batch`.
            parts = zip(batch, np.split(rows, ends), strict=True)
            return np.concatenate([nearest(*part) for part in parts])

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
        with distributed.fail_together():
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


def spread(candidates: Candidates, top_k: int, *, share: int) -> Candidates:
    """Find K of the passages that `candidates` finds, from top to bottom of its lists.

    Args:
        candidates: finds D ≥ K passages, best first.
        top_k: K.
        share: how many of the K are spread over the D; behind them stand the best of the others.
    """

    def find(batch: Sequence[Sequence[str]]) -> np.ndarray:
        return np.stack([_spread_first(rows, share)[:top_k] for rows in candidates(batch)])

    return find


def _spread_first(rows: np.ndarray, count: int) -> np.ndarray:
    """Put `count` rows from all over a list first, the others behind them in their order.

    Where a list ends early, -1 stands behind its last row, and stays there.
    """
    found = rows[rows >= 0]
    chosen = spread_ranks(len(found), min(count, len(found)))
    return np.concatenate([found[chosen], np.delete(found, chosen), rows[rows < 0]])


def spread_ranks(depth: int, count: int) -> np.ndarray:
    """Return some of the ranks of a list, the first and the last among them, denser at the top.

    Each is about the same multiple of the one before: near passages differ more from each other
    than far ones, and are what the retriever has to order.

    Args:
        depth: D, ranks of the list.
        count: how many to choose, at most D.

    Returns:
        Ranks from 0, ascending, distinct, [count].
    """
    ranks = np.geomspace(1, max(depth, 1), count).round().astype(np.int64)
    # Where rounding gives the same rank twice the next free one is taken; at the end, the last.
    for place in range(1, count):
        ranks[place] = max(ranks[place], ranks[place - 1] + 1)
    return ranks - 1


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
