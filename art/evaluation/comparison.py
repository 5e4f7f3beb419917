"""Several retrievers on the same questions, and what re-ordering by the teacher's scores gives."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from art.evaluation.evaluate import Evaluation, evaluate, evaluate_rows
from art.evaluation.rerank import in_order
from art.evaluation.statistics import PairedTest, mcnemar
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.teacher.grouped import grouped_scores

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.retriever.encoders import Retriever
    from art.teacher.cached import CachedTeacher


def compare(
    retrievers: Mapping[str, tuple[Retriever, TokenStore]],
    store: PassageStore,
    questions: Sequence[Question],
    *,
    teacher: CachedTeacher,
    ks: Sequence[int] = (1, 5, 20),
    depth: int = 20,
    cache: Path | None = None,
) -> dict[str, Evaluation]:
    """Evaluate BM25, some retrievers, and the teacher re-ordering BM25's best passages.

    Args:
        retrievers: name → retriever and the store's token ids under its passage template.
        store: the passages.
        questions: labelled ones.
        teacher: the frozen language model that re-orders BM25's ranking. It is asked only about
            questions that one of BM25's passages answers: the others miss in any order.
        ks: depths of the top-k accuracy, `depth` at most.
        depth: how many of BM25's passages the teacher re-orders.
        cache: where BM25's index is kept; `files.cache_folder()` when None.

    Returns:
        Name → evaluation, over the same questions in the same order: `BM25`, the names given, and
        `teacher re-ordering BM25's top <depth>`.
    """
    bm25 = evaluate_bm25(store, questions, ks=ks, depth=depth, cache=cache)
    results = {"BM25": bm25}
    for name, (retriever, tokens) in retrievers.items():
        with tempfile.TemporaryDirectory() as folder:
            index = embed_passages(retriever, tokens, Path(folder), store=store, progress=False)
            results[name] = evaluate(retriever, index, store, questions, ks=ks)
    # What no order answers stays as BM25 has it, with BM25's scores.
    rows, scores = bm25.rows.copy(), bm25.scores.copy()
    answered = answered_somewhere(bm25)
    texts = [bm25.questions[position].text for position in answered]
    likelihoods = grouped_scores(
        teacher, texts, rows[answered], description="re-ordering BM25's best"
    )
    rows[answered], scores[answered] = in_order(rows[answered], likelihoods)
    name = f"teacher re-ordering BM25's top {rows.shape[1]}"
    results[name] = evaluate_rows(rows, scores, store, bm25.questions, ks=ks)
    return results


def evaluate_bm25(
    store: PassageStore,
    questions: Sequence[Question],
    *,
    ks: Sequence[int] = (1, 5, 20),
    depth: int = 20,
    cache: Path | None = None,
) -> Evaluation:
    """Evaluate BM25's best passages.

    Args:
        store: the passages.
        questions: labelled ones.
        ks: depths of the top-k accuracy, `depth` at most.
        depth: passages found for each question.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
    """
    texts = [question.text for question in questions]
    scores, rows = BM25.build(store, cache=cache).search(texts, min(depth, len(store)))
    return evaluate_rows(rows, scores, store, questions, ks=ks)


def answered_somewhere(ranking: Evaluation) -> NDArray[np.int64]:
    """Return the positions of a labelled ranking's questions that one of their passages answers."""
    assert ranking.hits is not None  # labelled
    return np.flatnonzero(ranking.hits.any(axis=1))


def paired_test(first: Evaluation, second: Evaluation, metric: str) -> PairedTest:
    """Test whether two retrievers answer equally many of the same questions (exact McNemar).

    Args:
        first: of one retriever.
        second: of another, over the same questions in the same order.
        metric: a share such as `top_5`.
    """
    return mcnemar(first.per_question[metric] > 0, second.per_question[metric] > 0)
