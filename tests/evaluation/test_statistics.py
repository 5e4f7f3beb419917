"""Intervals, tests and ranks against SciPy and hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from art.errors import ArtError
from art.evaluation.statistics import (
    mcnemar,
    positive_ranks,
    rank_agreement,
    sign_test,
    spaced_scores,
    wilson,
)

TINY = np.finfo(np.float32).smallest_normal


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


def test_the_sign_test_counts_the_better_ones_of_values_and_is_mcnemars_for_0_and_1():
    first, second = np.array([0.9, 0.5, 0.2, np.nan, 0.4]), np.array([0.1, 0.5, 0.1, 0.3, 0.3])
    result = sign_test(first, second)
    assert (result.only_first, result.only_second, result.p_value) == (3, 0, 0.25)
    assert sign_test(second, first).only_second == 3
    draw = np.random.default_rng(0).integers
    for _ in range(5):
        some, others = draw(0, 2, 40), draw(0, 2, 40)
        assert sign_test(some.astype(float), others.astype(float)) == mcnemar(some, others)


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
