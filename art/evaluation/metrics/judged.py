"""nDCG, MRR, recall, MAP within the first k, by relevance judgements, as trec_eval computes them.

Capped recall, which trec_eval lacks, divides by k where more passages than that are relevant: else
no ranking of k passages could reach 1 (Thakur et al. 2021, BEIR, for TREC-COVID).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ir_measures
import numpy as np

from art.evaluation.metrics.base import METRICS, Family, Metric, Values
from art.evaluation.metrics.evidence import Judgements

Measure = Callable[[Judgements, int], Values]

_DEPTH = re.compile(r"@([0-9]+)$")


def depth_of(names: Iterable[str]) -> int:
    """Return how many passages of a ranking judged metrics of these names look at, 1 at least."""
    return max((int(found[1]) for name in names if (found := _DEPTH.search(name))), default=1)


def _add(name: str, title: str, measure: Measure, preference: int) -> None:
    """Add a family of metrics, one for each depth that is asked for.

    Args:
        name: of the family, before `@<k>`.
        title: of it, for a person.
        measure: judgements and k → values [Q].
        preference: see `Metric`.
    """

    def member(k: int) -> Metric[Judgements]:
        def compute(judgements: Judgements) -> Values | None:
            if judgements.depth is not None and judgements.depth < k:
                return None
            return measure(judgements, k)

        shown = f"{title}@{k}"
        meaning = f"{shown} of labelled questions"
        return Metric(f"{name}@{k}", shown, meaning, Judgements, compute, preference=preference)

    family = f"{name}@<k>"

    def wanted(judgements: Judgements) -> list[int]:
        return [depth_of([one]) for one in judgements.wanted if METRICS[family].member(one)]

    METRICS.add(Family(family, source=Judgements, make=member, numbers=wanted))


def _by_trec_eval(measure: Any, judgements: Judgements, cut: int | None = None) -> Values:
    """Return the values [Q], NaN for a question without judgements."""
    run = {
        question: _first(passages, cut)
        for question, passages in judgements.by_falling_score.items()
        if question in judgements.qrels
    }
    # Where nothing was found, trec_eval would leave the question out of its means.
    values = dict.fromkeys(run, 0.0)
    asked = {question: dict(judgements.qrels[question]) for question in run}
    # One back end, because they differ on ties.
    found = ir_measures.pytrec_eval.iter_calc([measure], asked, run) if asked else ()
    values |= {one.query_id: float(one.value) for one in found}
    return np.array([values.get(question, np.nan) for question in judgements.question_ids], float)


def _first(passages: Mapping[str, float], cut: int | None) -> Mapping[str, float]:
    return passages if cut is None else dict(list(passages.items())[:cut])


def _capped_recall(judgements: Judgements, k: int) -> Values:
    relevant = np.array([_num_relevant(judgements, one) for one in judgements.question_ids])
    recall = _by_trec_eval(ir_measures.R @ k, judgements)
    return np.asarray(recall * (relevant / np.clip(relevant, 1, k)), float)


def _num_relevant(judgements: Judgements, question: str) -> int:
    return sum(grade > 0 for grade in judgements.qrels.get(question, {}).values())


def _trec_eval(measure: Any) -> Measure:
    return lambda judgements, k: _by_trec_eval(measure @ k, judgements)


_add("ndcg", "ndcg", _trec_eval(ir_measures.nDCG), preference=0)
# trec_eval knows no reciprocal rank at a depth: the ranking is cut for it.
_add("mrr", "mrr", lambda judged, k: _by_trec_eval(ir_measures.RR, judged, cut=k), preference=1)
_add("recall", "recall", _trec_eval(ir_measures.R), preference=2)
_add("recall_cap", "capped recall", _capped_recall, preference=3)
_add("map", "map", _trec_eval(ir_measures.AP), preference=4)
