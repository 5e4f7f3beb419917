"""Blended scores against the formula written out: units, weights and offsets of sources."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from art.errors import ArtError
from art.teacher.blending import blend, scale_of

RNG = np.random.default_rng(0)
SCORES = {
    "teacher": RNG.normal(-3.0, 0.2, (5, 8)).astype(np.float32),
    "start": RNG.normal(0.4, 0.1, (5, 8)).astype(np.float32),
    "bm25": RNG.exponential(6.0, (5, 8)).astype(np.float32),
}
SCALES = {name: scale_of(scores) for name, scores in SCORES.items()}
WEIGHTS = {"teacher": 2.0, "start": 1.0, "bm25": 0.5}


def test_a_scale_is_the_deviation_from_the_means_of_the_lists() -> None:
    for scores in SCORES.values():
        pooled = np.sqrt(np.mean([np.var(row.astype(float)) for row in scores]))
        assert scale_of(scores) == pytest.approx(pooled, rel=1e-12)
        assert scale_of(scores + np.arange(5)[:, None] * 100.0) == pytest.approx(pooled, rel=1e-4)


def test_a_blend_is_the_weighted_mean_of_centred_scores_in_their_units() -> None:
    expected = sum(
        weight * (SCORES[name] - SCORES[name].mean(1, dtype=float, keepdims=True)) / SCALES[name]
        for name, weight in WEIGHTS.items()
    )
    found = blend(SCORES, WEIGHTS, SCALES)
    np.testing.assert_allclose(found, np.asarray(expected) / 3.5, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.mean(axis=1), 0.0, atol=1e-12)


def test_units_of_a_source_and_of_weights_do_not_matter() -> None:
    expected = blend(SCORES, WEIGHTS, SCALES)
    in_other_units = {**SCORES, "bm25": SCORES["bm25"].astype(float) * 7.0 + 3.0}
    scales = {**SCALES, "bm25": scale_of(in_other_units["bm25"])}
    weights = {name: weight * 10.0 for name, weight in WEIGHTS.items()}
    np.testing.assert_allclose(blend(in_other_units, weights, scales), expected, atol=1e-9)


def test_one_source_alone_keeps_its_order_and_the_order_of_weights_no_bit() -> None:
    alone = blend(SCORES, {"start": 3.0}, SCALES)
    for found, given in zip(alone, SCORES["start"], strict=True):
        assert stats.kendalltau(found, given).statistic == pytest.approx(1.0)
    turned = dict(reversed(WEIGHTS.items()))
    np.testing.assert_array_equal(blend(SCORES, turned, SCALES), blend(SCORES, WEIGHTS, SCALES))


def test_a_list_is_blended_alike_whatever_stands_beside_it() -> None:
    whole = blend(SCORES, WEIGHTS, SCALES)
    one = blend({name: scores[2:3] for name, scores in SCORES.items()}, WEIGHTS, SCALES)
    np.testing.assert_array_equal(one, whole[2:3])


@pytest.mark.parametrize("scores", [np.full((3, 4), 0.1, np.float32), np.zeros((0, 0))])
def test_a_source_that_tells_nothing_apart_has_no_scale(scores: np.ndarray) -> None:
    with pytest.raises(ArtError, match="the same score"):
        scale_of(scores)


def test_what_cannot_be_blended_is_refused() -> None:
    with pytest.raises(ArtError, match="at least one source"):
        blend(SCORES, {}, SCALES)
    with pytest.raises(ArtError, match="no scores of it"):
        blend(SCORES, {"reranker": 1.0}, SCALES)
    with pytest.raises(ArtError, match="no scale of it"):
        blend(SCORES, {"start": 1.0}, {})
    with pytest.raises(ArtError, match="weight of start in a blend is 0"):
        blend(SCORES, {"start": 0.0}, SCALES)
    with pytest.raises(ArtError, match="not a finite number"):
        blend({"start": np.array([[0.1, np.nan]])}, {"start": 1.0}, SCALES)
