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
from art.evaluation.sharing import my_share
from art.evaluation.statistics import PairedTest, sign_test
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.fusion import DEPTH, Fusion
from art.retriever.searcher import IndexSearcher
from art.teacher.grouped import grouped_scores

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.evaluation.metrics.evidence import Qrels
    from art.retriever.encoders import Retriever
    from art.teacher.cached import CachedTeacher


def compare(
    retrievers: Mapping[str, tuple[Retriever, TokenStore]],
    store: PassageStore,
    questions: Sequence[Question],
    *,
    teacher: CachedTeacher,
    fusion: Fusion,
    qrels: Qrels | None = None,
    ks: Sequence[int] = (1, 5, 20),
    depth: int = 20,
    cache: Path | None = None,
) -> dict[str, Evaluation]:
    """Evaluate BM25, some retrievers, each fused with BM25, and the teacher re-ordering the first.

    Args:
        retrievers: name → retriever and the store's token ids under its passage template; one or
            more.
        store: the passages.
        questions: labelled ones.
        teacher: the frozen language model that re-orders the first retriever's best passages. It is
            asked only about questions that one of them answers: the others miss in any order.
        fusion: how a retriever's ranking and BM25's are made one.
        qrels: question id → passage id → relevance, in place of the questions' own labels.
        ks: depths of the top-k accuracy.
        depth: how many passages the teacher re-orders, `ks` at least.
        cache: where BM25's index is kept; `files.cache_folder()` when None.

    Returns:
        Name → evaluation, over the same questions in the same order: `BM25`, each name given and
        `<name>, fused`, and `teacher re-ordering <depth> of <first name>`.
    """
    judged: dict[str, Any] = {"qrels": qrels, "ks": ks}
    with distributed.fail_together():
        bm25 = BM25.build(store, cache=cache)
    words = evaluate_words(bm25, store, questions, depth=DEPTH, **judged)
    results = {"BM25": words}
    for name, (retriever, tokens) in retrievers.items():
        with tempfile.TemporaryDirectory() as folder:
            index = embed_passages(retriever, tokens, Path(folder), store=store, progress=False)
            searcher = IndexSearcher(index, retriever.device)
            found = evaluate(retriever, searcher, store, questions, depth=DEPTH, **judged)
        results[name] = found
        fused = evaluate_fused(found, words, bm25, store, fusion=fusion, **judged)
        results[f"{name}, fused"] = fused
    first = next(iter(retrievers))
    name = f"teacher re-ordering {depth} of {first}"
    results[name] = _reordered(results[first], store, teacher=teacher, depth=depth, **judged)
    return results


def _reordered(
    found: Evaluation,
    store: PassageStore,
    *,
    teacher: CachedTeacher,
    depth: int,
    **judged: Any,
) -> Evaluation:
    # What no order answers stays as it was found, with the scores that found it.
    rows, scores = found.rows.copy(), found.scores.copy()
    answered = answered_somewhere(found, depth)
    texts = [found.questions[position].text for position in answered]
    likelihoods = grouped_scores(
        teacher, texts, rows[answered, :depth], description="re-ordering by the teacher"
    )
    order, likely = in_order(rows[answered, :depth], likelihoods)
    rows[answered, :depth], scores[answered, :depth] = order, likely
    # What stands behind them keeps its place, below the last of them.
    scores[answered, depth:] = np.minimum(scores[answered, depth:], likely[:, -1:])
    return evaluate_rows(rows, scores, store, found.questions, whole=found.whole, **judged)


def compare_fused(
    retriever: Retriever | NDArray[np.float32],
    searcher: IndexSearcher,
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
        searcher: of an index of the store's passages under the same retriever.
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
    words = evaluate_words(
        bm25, store, questions, depth=max(*ks, DEPTH), drop_self_hits=drop_self_hits, **judged
    )
    found = evaluate(
        retriever, searcher, store, questions, depth=DEPTH, drop_self_hits=drop_self_hits, **judged
    )
    fused = evaluate_fused(found, words, bm25, store, fusion=fusion, **judged)
    return {"BM25": words, "retriever": found, "fused": fused}


def evaluate_fused(
    retriever: Evaluation,
    words: Evaluation,
    bm25: BM25,
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
        words: of BM25, over the same questions in the same order, equally deep.
        bm25: which found them.
        store: the passages.
        fusion: how the two rankings are made one.
        qrels: what both were evaluated with, as all that follow.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
    """
    # What is not to be found is in neither list: nothing is dropped here.
    scores, rows = fusion(
        (retriever.scores, retriever.rows),
        (words.scores, words.rows),
        retriever.rows.shape[1],
        most=bm25.most([question.text for question in retriever.questions]),
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
    of_both = [note for note in retriever.notes if note in words.notes]
    own = [note for note in result.notes if note not in of_both]
    return replace(result, notes=[*of_both, *own])


def evaluate_bm25(
    store: PassageStore,
    questions: Sequence[Question],
    *,
    qrels: Qrels | None = None,
    ks: Sequence[int] = (1, 5, 20),
    depth: int = 20,
    cache: Path | None = None,
) -> Evaluation:
    """Evaluate BM25's best passages.

    Every process of the job must call it, with the same arguments; each takes a share of the work.

    Args:
        store: the passages.
        questions: labelled ones.
        qrels: question id → passage id → relevance, in place of the questions' own labels.
        ks: depths of the top-k accuracy, `depth` at most.
        depth: passages found for each question.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
    """
    with distributed.fail_together():
        bm25 = BM25.build(store, cache=cache)
    return evaluate_words(bm25, store, questions, depth=depth, qrels=qrels, ks=ks)


def evaluate_words(
    bm25: BM25,
    store: PassageStore,
    questions: Sequence[Question],
    *,
    depth: int,
    drop_self_hits: bool = False,
    **judged: Any,
) -> Evaluation:
    """Evaluate the best passages of a BM25 that is there; every process of the job must call it.

    Passages that share no word with a question are not found.

    Args:
        bm25: of the store's passages.
        store: the passages.
        questions: as for `evaluate`, like all that follow.
        depth: passages found for each question.
        drop_self_hits: leave out a passage whose id is its question's.
        judged: `qrels`, `ks` and `regex_answers`.
    """
    texts = [question.text for question in questions[my_share(len(questions))]]
    wanted = min(depth + drop_self_hits, len(store))
    parts = distributed.together(lambda: bm25.search(texts, wanted))
    scores, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    # What shares no word with a question was not found: it must not count where it happens to fit.
    rows = np.where(scores > 0, rows, -1)
    return evaluate_rows(rows, scores, store, questions, drop_self_hits=drop_self_hits, **judged)


def answered_somewhere(ranking: Evaluation, depth: int) -> NDArray[np.int64]:
    """Return the positions of a ranking's questions that its first passages answer.

    All of them where judgements stand for labels: there more than one passage may count.
    """
    if ranking.hits is None:
        return np.arange(ranking.num_questions)
    return np.flatnonzero(ranking.hits[:, :depth].any(axis=1))


def reciprocal_ranks(ranking: Evaluation, depth: int) -> NDArray[np.float64]:
    """Return 1 / rank of the first passage that answers each question of a labelled ranking, [Q].

    Args:
        ranking: `depth` passages a question or more.
        depth: passages looked at; 0 for a question that none of them answers.
    """
    assert ranking.hits is not None  # labelled
    hits = ranking.hits[:, :depth]
    return np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1.0), 0.0)


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
