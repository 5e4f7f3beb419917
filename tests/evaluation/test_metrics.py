"""Metrics against trec_eval, SciPy and hand calculations."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from art.errors import ArtError
from art.evaluation.metrics import (
    judged,
    mcnemar,
    positive_ranks,
    rank_agreement,
    spaced_scores,
    top_k_found,
    wilson,
)

TINY = np.finfo(np.float32).smallest_normal


def test_a_question_is_answered_at_k_if_a_hit_stands_there_or_before():
    hits = [[0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    found = {name: each.tolist() for name, each in top_k_found(hits, (1, 2, 4, 9)).items()}
    by_the_end = [True, False, True, True]
    assert found == {
        "top_1": [False, False, True, False],
        "top_2": [True, False, True, False],
        "top_4": by_the_end,
        "top_9": by_the_end,
    }


def test_wilson_gives_the_textbook_interval():
    z = stats.norm.ppf(0.975)
    for successes, count in [(0, 10), (3, 10), (10, 10), (812, 1000)]:
        p = successes / count
        centre = (p + z * z / (2 * count)) / (1 + z * z / count)
        half = z / (1 + z * z / count) * np.sqrt(p * (1 - p) / count + z * z / (4 * count**2))
        assert wilson(successes, count) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert wilson(0, 0) == (0.0, 1.0)


def test_mcnemar_is_the_two_sided_binomial_of_the_differing_questions():
    first = np.array([1] * 9 + [0] * 2 + [1] * 50 + [0] * 7)
    second = np.array([0] * 9 + [1] * 2 + [1] * 50 + [0] * 7)
    result = mcnemar(first, second)
    assert (result.only_first, result.only_second) == (9, 2)
    assert result.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert mcnemar(first, first).p_value == 1.0


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 5), st.integers(1, 7)),
        elements=st.integers(-3, 3).map(float),
    )
)
def test_rank_agreement_is_the_mean_of_spearman_with_constant_rows_as_zero(pair: np.ndarray):
    first, second = pair
    rows = []
    for a, b in zip(first, second, strict=True):
        constant = len(set(a)) == 1 or len(set(b)) == 1
        rows.append(0.0 if constant else stats.spearmanr(a, b).statistic)
    assert rank_agreement(first, second) == pytest.approx(np.mean(rows), abs=1e-12)


def test_rank_agreement_at_its_ends():
    up = [[1.0, 2.0, 5.0]]
    assert rank_agreement(up, up) == pytest.approx(1)
    assert rank_agreement(up, [[3.0, 2.0, 1.0]]) == pytest.approx(-1)
    assert rank_agreement([[1.0]], [[1.0]]) == 0.0


falling = st.lists(
    st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, 1e-40, -1e-40, float(TINY), 16777217.0, 1 + 1e-9]),
        st.floats(-1e30, 1e30),
    ),
    min_size=1,
    max_size=20,
).map(lambda scores: sorted(scores, reverse=True))


@given(falling)
def test_spaced_scores_fall_by_one_ulp_at_least_and_stay_close(scores: list[float]):
    spaced = spaced_scores([scores])[0]
    assert spaced.dtype == np.float32
    assert (spaced[1:] <= np.nextafter(spaced[:-1], np.float32(-np.inf))).all()
    assert not ((spaced != 0) & (np.abs(spaced) < TINY)).any()
    allowed = len(scores) * (np.spacing(np.abs(spaced)) + TINY)
    assert (np.abs(spaced - np.float32(scores)) <= allowed).all()


def test_scores_apart_are_left_alone_and_rows_do_not_touch_each_other():
    scores = np.array([[3.5, 2.25, -1.0], [9.0, 9.0, 1.0]])
    spaced = spaced_scores(scores)
    assert spaced[0].tolist() == scores[0].tolist()
    assert spaced[1].tolist() == [9.0, np.nextafter(np.float32(9), np.float32(0)), 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
def test_scores_beyond_float32_are_refused(bad: float):
    with pytest.raises(ArtError, match="finite"):
        spaced_scores([[1.0, bad]])


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


def test_judged_figures_follow_their_formulas():
    ranking, qrels = ranking_and_qrels(0)
    metrics = judged(qrels, ranking)
    assert list(metrics) == ["ndcg@10", "mrr@10", "recall@100", "map"]
    for name in metrics:
        assert metrics[name].keys() == ranking.keys() & qrels.keys()
    for question, values in metrics["ndcg@10"].items():
        gains = [max(qrels[question].get(p, 0), 0) for p in ranking[question]]
        best = sorted((max(g, 0) for g in qrels[question].values()), reverse=True)
        discounts = 1 / np.log2(np.arange(2, 12))
        assert values == pytest.approx(gains[:10] @ discounts / (best[:10] @ discounts))
        ranks = np.flatnonzero(np.array(gains) > 0) + 1
        relevant = sum(g > 0 for g in qrels[question].values())
        first = ranks[0] if len(ranks) else 999
        assert metrics["mrr@10"][question] == pytest.approx(1 / first if first <= 10 else 0)
        assert metrics["recall@100"][question] == pytest.approx((ranks <= 100).sum() / relevant)
        precisions = (np.arange(len(ranks)) + 1) / ranks
        assert metrics["map"][question] == pytest.approx(precisions.sum() / relevant)


def test_trec_eval_on_the_written_scores_sees_our_order_even_with_ties():
    ranking, qrels = ranking_and_qrels(1)
    random = np.random.default_rng(2)
    tied = -np.sort(-random.integers(0, 4, size=(len(ranking), 130)), axis=1) / 3 + 1e-12
    run = {
        question: dict(zip(names, map(float, scores), strict=True))
        for (question, names), scores in zip(ranking.items(), spaced_scores(tied), strict=True)
    }
    measures = [ir_measures.parse_measure(name) for name in ("nDCG@10", "RR@10", "R@100", "AP")]
    asked = {question: qrels[question] for question in run if question in qrels}
    theirs = ir_measures.calc_aggregate(measures, asked, run)
    ours = {name: np.mean(list(values.values())) for name, values in judged(qrels, ranking).items()}
    assert list(ours.values()) == pytest.approx([theirs[measure] for measure in measures])


def test_figures_deeper_than_the_ranking_are_left_out():
    ranking, qrels = ranking_and_qrels(3, depth=20)
    assert list(judged(qrels, ranking, depth=20)) == ["ndcg@10", "mrr@10", "map"]


def test_a_passage_that_stands_twice_is_refused():
    with pytest.raises(ArtError, match="twice"):
        judged({"q": {"a": 1}}, {"q": ["a", "b", "a"]})


def test_nothing_judged_gives_no_values():
    assert judged({"other": {"a": 1}}, {"q": ["a"]})["map"] == {}


@given(
    st.integers(1, 6).flatmap(
        lambda count: st.tuples(
            arrays.arrays(
                np.float32,
                st.tuples(st.just(count), st.integers(1, 8)),
                elements=st.sampled_from([-np.inf, -1.5, 0.0, 0.25, 3.0]),
            ),
            st.lists(st.integers(0, 7), min_size=count, max_size=count),
        )
    )
)
def test_positive_ranks_are_places_in_the_sorted_list(drawn) -> None:
    scores, places = drawn
    positives = [place % scores.shape[1] for place in places]
    expected = [
        sorted(range(len(row)), key=lambda column: (-row[column], column)).index(positive)
        for row, positive in zip(scores.tolist(), positives, strict=True)
    ]
    assert positive_ranks(scores, positives).tolist() == expected
