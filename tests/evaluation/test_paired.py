"""Two rankings question by question, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from art.errors import MismatchError
from art.evaluation.paired import pair
from art.evaluation.rankings import KeptRanking

NAMES = ("a", "b")


def kept(name: str, metrics: dict[str, float | None], depth: int = 100, **others) -> KeptRanking:
    filled = {"question": f"{name}?", "first_hit": None, "passages": ()} | others
    return KeptRanking(id=name, metrics=metrics, depth=depth, **filled)


def test_tests_are_exact_and_intervals_are_of_the_paired_differences():
    random = np.random.default_rng(0)
    hits, graded = random.integers(0, 2, (2, 50)), random.random((2, 50))
    sides = [
        [
            kept(str(q), {"top_5": float(hits[side, q]), "ndcg@10": graded[side, q]})
            for q in range(50)
        ]
        for side in (0, 1)
    ]
    found = pair(*sides, names=NAMES)
    top, ndcg = found.differences
    won, lost = (int((hits[x] > hits[y]).sum()) for x, y in ((1, 0), (0, 1)))
    assert (top.test.only_first, top.test.only_second) == (won, lost)
    assert top.test.p_value == pytest.approx(scipy.stats.binomtest(won, won + lost).pvalue)
    theirs = scipy.stats.ttest_rel(graded[1], graded[0]).confidence_interval(0.95)
    assert (ndcg.low, ndcg.high) == pytest.approx((theirs.low, theirs.high))
    assert (ndcg.first, ndcg.second) == pytest.approx(tuple(graded.mean(axis=1)))
    assert found.primary == "top_5" and found.notes == []


def test_only_common_questions_count_in_any_order_and_the_others_are_named():
    first = [kept("x", {"top_1": 1.0}), kept("y", {"top_1": 0.0}), kept("old", {"top_1": 1.0})]
    second = [kept("y", {"top_1": 1.0}), kept("new", {"top_1": 1.0}), kept("x", {"top_1": 1.0})]
    found = pair(first, second, names=NAMES)
    assert [one.id for one in found.first] == [one.id for one in found.second] == ["x", "y"]
    assert (found.differences[0].first, found.differences[0].second) == (0.5, 1.0)
    assert found.notes == [
        "1 questions are only in a and are left out (old)",
        "1 questions are only in b and are left out (new)",
    ]


def test_a_lower_rank_is_the_better_one_and_questions_without_a_value_do_not_count():
    ranks = {"x": (5, 2), "y": (1, 3), "z": (None, 1)}
    sides = [
        [kept(name, {"pooled_average_rank": of[side]}) for name, of in ranks.items()]
        for side in (0, 1)
    ]
    (one,) = pair(*sides, names=NAMES).differences
    assert (one.num_questions, one.test.only_first, one.test.only_second) == (2, 1, 1)


def test_a_hit_below_the_shallower_ranking_counts_in_neither():
    first = [kept("x", {"top_1": 0.0}, depth=100, first_hit=60), kept("y", {"top_1": 0.0}, 100)]
    second = [kept("x", {"top_1": 0.0}, depth=20), kept("y", {"top_1": 0.0}, 20, first_hit=3)]
    found = pair(first, second, names=NAMES)
    assert {(one.depth, one.first_hit) for one in found.first} == {(20, None)}
    assert [one.first_hit for one in found.second] == [None, 3]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ([kept("z", {"top_1": 1.0})], "no question in common: 'x' and 'z'"),
        ([kept("x", {"map@100": 1.0})], "no metric in common: top_1 and map@100"),
        ([kept("x", {"top_1": 1.0}, question="else")], "the question 'x' is 'x?' in a and 'else'"),
    ],
)
def test_rankings_that_cannot_be_compared_are_refused(second, said: str):
    with pytest.raises(MismatchError) as caught:
        pair([kept("x", {"top_1": 1.0})], second, names=NAMES)
    assert said in str(caught.value)
