"""Metrics against trec_eval and hand calculations, and what each says of itself."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from art.errors import ArtError
from art.evaluation.metrics import METRICS, compute_all, means, metric
from art.evaluation.metrics.evidence import JUDGED, Hits, Judgements, PooledRanks
from art.evaluation.statistics import spaced_scores

pytestmark = pytest.mark.usefixtures("known_metrics")


def test_a_question_is_answered_at_k_if_a_hit_stands_there_or_before():
    hits = [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    every = np.ones(4, bool)
    values = compute_all(Hits(np.array(hits, bool), every, ks=(4, 1, 9, 2, 1)))
    found = {name: each.tolist() for name, each in values.items()}
    by_the_end = [True, False, True, True]
    assert found == {
        "top_1": [False, False, True, False],
        "top_2": [True, False, True, False],
        "top_4": by_the_end,
        "top_9": by_the_end,
    }


def ranking_and_qrels(seed: int, num_questions: int = 20, depth: int = 130):
    random = np.random.default_rng(seed)
    names = [f"d{i}" for i in range(300)]
    ranking = {
        f"q{q}": random.choice(names, size=depth, replace=False).tolist()
        for q in range(num_questions)
    }
    qrels = {
        f"q{q}": {
            str(name): int(random.integers(-1, 4)) for name in random.choice(names, 12, False)
        }
        for q in range(2, num_questions + 3)
    }
    return ranking, qrels


def judged(qrels, ranking, depth=None, wanted=JUDGED) -> dict[str, dict[str, float]]:
    """Metric → question → value, of the questions that have judgements."""
    values = compute_all(Judgements(list(ranking), list(ranking.values()), qrels, depth, wanted))
    return {
        name: {
            question: value
            for question, value in zip(ranking, found.tolist(), strict=True)
            if not np.isnan(value)
        }
        for name, found in values.items()
    }


@pytest.mark.parametrize("k", [1, 10, 100, 1000])
def test_judged_metrics_follow_their_formulas_at_every_depth(k: int):
    ranking, qrels = ranking_and_qrels(0)
    names = ("ndcg", "mrr", "recall", "recall_cap", "map")
    metrics = judged(qrels, ranking, wanted=[f"{name}@{k}" for name in names])
    assert list(metrics) == [f"{name}@{k}" for name in names]
    for name in metrics:
        assert metrics[name].keys() == ranking.keys() & qrels.keys()
    for question in metrics[f"ndcg@{k}"]:
        gains = np.array([max(qrels[question].get(p, 0), 0) for p in ranking[question][:k]])
        best = np.array(sorted((max(g, 0) for g in qrels[question].values()), reverse=True)[:k])
        ideal = best @ (1 / np.log2(np.arange(len(best)) + 2))
        ranks = np.flatnonzero(gains > 0) + 1
        relevant = sum(g > 0 for g in qrels[question].values())
        expected = [
            gains @ (1 / np.log2(np.arange(len(gains)) + 2)) / ideal,
            1 / ranks[0] if len(ranks) else 0,
            len(ranks) / relevant,
            len(ranks) / min(relevant, k),
            ((np.arange(len(ranks)) + 1) / ranks).sum() / relevant,
        ]
        found = [metrics[f"{name}@{k}"][question] for name in names]
        assert found == pytest.approx(expected, abs=1e-9)


def test_an_empty_ranking_counts_as_nothing_found_and_no_relevant_passage_gives_nothing():
    wanted = ("ndcg@10", "recall_cap@10", "map@1000")
    values = judged({"a": {"x": 1}, "b": {"x": 0}}, {"a": [], "b": ["x"]}, wanted=wanted)
    assert values == {name: {"a": 0.0, "b": 0.0} for name in wanted}


def test_trec_eval_on_the_written_scores_sees_our_order_even_with_ties():
    ranking, qrels = ranking_and_qrels(1)
    random = np.random.default_rng(2)
    tied = -np.sort(-random.integers(0, 4, size=(len(ranking), 130)), axis=1) / 3 + 1e-12
    run = {
        question: dict(zip(names, map(float, scores), strict=True))
        for (question, names), scores in zip(ranking.items(), spaced_scores(tied), strict=True)
    }
    measures = [ir_measures.parse_measure(name) for name in ("nDCG@10", "RR@10", "R@100", "AP@100")]
    asked = {question: qrels[question] for question in run if question in qrels}
    theirs = ir_measures.calc_aggregate(measures, asked, run)
    ours = {name: np.mean(list(values.values())) for name, values in judged(qrels, ranking).items()}
    assert list(ours.values()) == pytest.approx([theirs[measure] for measure in measures])


def test_metrics_deeper_than_the_ranking_are_left_out():
    ranking, qrels = ranking_and_qrels(3, depth=20)
    assert list(judged(qrels, ranking, depth=20)) == ["ndcg@10", "mrr@10"]


def test_a_passage_that_stands_twice_is_refused():
    with pytest.raises(ArtError, match="twice"):
        judged({"q": {"a": 1}}, {"q": ["a", "b", "a"]})


def test_nothing_judged_gives_no_values():
    assert judged({"other": {"a": 1}}, {"q": ["a"]})["map@100"] == {}


def test_metrics_deeper_than_the_ranking_are_not_computed_by_labels_either():
    hits = Hits(np.ones((2, 6), bool), np.ones(2, bool), ks=(1, 5, 20), depth=6)
    assert list(compute_all(hits)) == ["top_1", "top_5"]


def test_questions_without_a_label_count_in_no_mean():
    hits = Hits(np.array([[1], [0], [0]], bool), np.array([True, True, False]), ks=(1,))
    assert means(compute_all(hits)) == {"top_1": 0.5}


@given(arrays.arrays(np.int64, st.integers(1, 300), elements=st.integers(0, 10**6)))
def test_pooled_metrics_are_the_plain_means_to_the_bit(ranks: np.ndarray):
    assert means(compute_all(PooledRanks(ranks))) == {
        "pooled_mrr": float(np.mean(1.0 / (1 + ranks))),
        "pooled_top_1": float(np.mean(ranks == 0)),
        "pooled_average_rank": float(np.mean(ranks)),
    }


SHOWN = {
    "top_5": ("top-5", "25.0", "top-5, %"),
    "ndcg@10": ("ndcg@10", "25.0", "ndcg@10, %"),
    "map@1000": ("map@1000", "25.0", "map@1000, %"),
    "recall_cap@100": ("capped recall@100", "25.0", "capped recall@100, %"),
    "pooled_mrr": ("pooled MRR", "25.0", "pooled MRR, %"),
    "pooled_top_1": ("pooled top-1", "25.0", "pooled top-1, %"),
    "pooled_average_rank": ("pooled average rank", "0.250", "pooled average rank"),
    "teacher_log_likelihood": (
        "teacher-log-likelihood",
        "0.250",
        "The teacher's log-likelihood of a question given its first passage",
    ),
    "of_another_version": ("of-another-version", "0.250", "of-another-version"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_metric_says_how_it_is_shown(name: str):
    found = metric(name)
    assert (found.title, found.shown(0.25), found.chart_title) == SHOWN[name]
    assert found.name == name and found.meaning


@pytest.mark.parametrize("name", ["top_", "top_5x", "top_-1", "pooled_top_2", "stop_5", ""])
def test_names_that_only_look_like_a_family_are_unknown(name: str):
    assert metric(name).unit.name == "unknown"


def test_better_is_higher_except_where_a_metric_says_lower():
    rank, share = metric("pooled_average_rank"), metric("top_5")
    assert rank.is_better(1, 2) and not rank.is_better(2, 1) and rank.gain(3, 1) == 2
    assert share.is_better(2, 1) and not share.is_better(1, 2) and share.gain(3, 1) == -2
    assert not any(one.is_better(1, 1) for one in (rank, share))
    names = [name.replace("<k>", "3") for name in METRICS.names]
    lower = [name for name in names if not metric(name).higher_is_better]
    assert lower == ["pooled_average_rank"]
