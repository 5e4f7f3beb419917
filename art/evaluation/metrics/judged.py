"""nDCG@10, MRR@10, Recall@100 and MAP by relevance judgements, as trec_eval computes them."""

from __future__ import annotations

from typing import Any

import ir_measures
import numpy as np

from art.errors import ArtError
from art.evaluation.metrics.base import METRICS, Metric, Values
from art.evaluation.metrics.evidence import Judgements


def _add(name: str, measure: Any, *, depth: int, cut: int | None = None, preference: int) -> None:
    """Add a metric of trec_eval.

    Args:
        name: of the metric, which is its title too.
        measure: what trec_eval computes.
        depth: of the ranking that it needs.
        cut: length that the ranking is cut to before; None for none.
        preference: see `Metric`.
    """

    def compute(judgements: Judgements) -> Values | None:
        if judgements.depth is not None and judgements.depth < depth:
            return None
        return _by_trec_eval(measure, judgements, cut)

    meaning = f"{name} of labelled questions"
    METRICS.add(Metric(name, name, meaning, Judgements, compute, preference=preference))


# trec_eval knows no reciprocal rank at a depth: the ranking is cut for it.
_add("ndcg@10", ir_measures.nDCG @ 10, depth=10, preference=0)
_add("mrr@10", ir_measures.RR, depth=10, cut=10, preference=1)
_add("recall@100", ir_measures.R @ 100, depth=100, preference=2)
_add("map", ir_measures.AP, depth=1, preference=3)


def _by_trec_eval(measure: Any, judgements: Judgements, cut: int | None) -> Values:
    """Return the values [Q], NaN for a question without judgements.

    Raises:
        ArtError: a passage stands twice in one ranking.
    """
    pairs = zip(judgements.question_ids, judgements.passage_ids, strict=True)
    run = {
        question: _descending(question, passages[:cut])
        for question, passages in pairs
        if question in judgements.qrels
    }
    asked = {question: dict(judgements.qrels[question]) for question in run}
    # One back end, because they differ on ties.
    found = ir_measures.pytrec_eval.iter_calc([measure], asked, run) if asked else ()
    values = {one.query_id: float(one.value) for one in found}
    return np.array([values.get(question, np.nan) for question in judgements.question_ids], float)


def _descending(question: str, passages: list[str]) -> dict[str, float]:
    # trec_eval orders by score (float32) and then by id: whole numbers falling by 1 are our order.
    scored = {passage: float(-rank) for rank, passage in enumerate(passages)}
    if len(scored) != len(passages):
        raise ArtError("a passage stands twice in the ranking", where=f"question {question}")
    return scored
