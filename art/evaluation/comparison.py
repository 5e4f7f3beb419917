"""Several rankings of the same questions: retrievers, BM25, fused, re-ordered by a teacher."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.evaluation.evaluate import DEFAULT_KS, Evaluation, evaluate, evaluate_rows
from art.evaluation.metrics import metric
from art.evaluation.rerank import in_order
from art.evaluation.sharing import gather_shares, my_share
from art.evaluation.statistics import PairedTest, sign_test
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.fusion import DEPTH, Fusion
from art.teacher.grouped import grouped_scores

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.evaluation.metrics.evidence import Qrels
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index
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


def compare_fused(
    retriever: Retriever | NDArray[np.float32],
    index: Index,
    bm25: BM25,
    store: PassageStore,
    questions: Sequence[Question],
    *,
    fusion: Fusion,
    qrels: Qrels | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    regex_answers: bool = False,
    drop_self_hits: bool = False,
) -> dict[str, Evaluation]:
    """Evaluate BM25, a retriever, and both fused, on the same questions.

    Every process of the job must call it, with the same arguments.

    Args:
        retriever: whose question tower embeds the questions, or their vectors, [Q, D].
        index: of the store's passages under the same retriever.
        bm25: of the same passages.
        store: the passages.
        questions: Q of them.
        fusion: how the two rankings are made one.
        qrels: as for `evaluate`, like all that follow.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.

    Returns:
        `BM25`, `retriever` and `fused` → evaluation, in this order.
    """
    judged: dict[str, Any] = {"qrels": qrels, "ks": ks, "regex_answers": regex_answers}
    words = _evaluate_words(
        bm25, store, questions, depth=max(*ks, DEPTH), drop_self_hits=drop_self_hits, **judged
    )
    found = evaluate(
        retriever, index, store, questions, depth=DEPTH, drop_self_hits=drop_self_hits, **judged
    )
    fused = evaluate_fused(found, words, store, fusion=fusion, **judged)
    return {"BM25": words, "retriever": found, "fused": fused}


def evaluate_fused(
    retriever: Evaluation,
    bm25: Evaluation,
    store: PassageStore,
    *,
    fusion: Fusion,
    qrels: Qrels | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    regex_answers: bool = False,
) -> Evaluation:
    """Evaluate what a retriever and BM25 found, fused: as `FusedSearch` does if both are deep.

    Args:
        retriever: of the retriever; `DEPTH` passages or more a question, but for a smaller store.
        bm25: of BM25, over the same questions in the same order, equally deep.
        store: the passages.
        fusion: how the two rankings are made one.
        qrels: what both were evaluated with, as all that follow.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
    """
    # What is not to be found is in neither list: nothing is dropped here.
    scores, rows = fusion(
        (retriever.scores, retriever.rows), (bm25.scores, bm25.rows), retriever.rows.shape[1]
    )
    result = evaluate_rows(
        rows,
        scores,
        store,
        retriever.questions,
        qrels=qrels,
        ks=ks,
        regex_answers=regex_answers,
        whole=retriever.whole,
    )
    # What both say is of the questions, such as how many were left out before.
    of_both = [note for note in retriever.notes if note in bm25.notes]
    own = [note for note in result.notes if note not in of_both]
    return replace(result, notes=[*of_both, *own])


def evaluate_bm25(
    store: PassageStore,
    questions: Sequence[Question],
    *,
    ks: Sequence[int] = (1, 5, 20),
    depth: int = 20,
    cache: Path | None = None,
) -> Evaluation:
    """Evaluate BM25's best passages.

    Every process of the job must call it, with the same arguments; each takes a share of the work.

    Args:
        store: the passages.
        questions: labelled ones.
        ks: depths of the top-k accuracy, `depth` at most.
        depth: passages found for each question.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
    """
    with distributed.fail_together():
        bm25 = BM25.build(store, cache=cache)
    return _evaluate_words(bm25, store, questions, depth=depth, ks=ks)


def _evaluate_words(
    bm25: BM25,
    store: PassageStore,
    questions: Sequence[Question],
    *,
    depth: int,
    drop_self_hits: bool = False,
    **judged: Any,
) -> Evaluation:
    with distributed.fail_together():
        texts = [question.text for question in questions[my_share(len(questions))]]
        part = bm25.search(texts, min(depth + drop_self_hits, len(store)))
    scores, rows = gather_shares(part[0]), gather_shares(part[1])
    return evaluate_rows(rows, scores, store, questions, drop_self_hits=drop_self_hits, **judged)


def answered_somewhere(ranking: Evaluation) -> NDArray[np.int64]:
    """Return the positions of a labelled ranking's questions that one of their passages answers."""
    assert ranking.hits is not None  # labelled
    return np.flatnonzero(ranking.hits.any(axis=1))


def paired_test(first: Evaluation, second: Evaluation, name: str) -> PairedTest:
    """Test whether either of two rankings is the better one for more of the same questions.

    Args:
        first: of one ranking.
        second: of another, over the same questions in the same order.
        name: of the metric; for a share such as `top_5` this is the exact McNemar test, for others
            the exact sign test.
    """
    sign = 1 if metric(name).higher_is_better else -1
    return sign_test(sign * first.per_question[name], sign * second.per_question[name])
