"""Soft labels' entropies against SciPy's, and the temperature that halves them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from art.planning.label_entropy import LabelEntropy
from art.training.soft_labels import entropy_shares, suggest_temperature

SCORES = np.random.default_rng(0).normal(-3.0, 0.2, size=(40, 16)).astype(np.float32)


@pytest.mark.parametrize("temperature", [1e-4, 0.2, 1.0, 1e4])
def test_shares_are_the_entropies_of_the_softmax_over_log_k(temperature: float) -> None:
    labels = special.softmax(SCORES.astype(float) / temperature, axis=1)
    expected = stats.entropy(labels, axis=1) / math.log(16)
    np.testing.assert_allclose(entropy_shares(SCORES, temperature), expected, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 50.0])
def test_at_the_suggested_temperature_the_mean_share_is_half(scale: float) -> None:
    temperature = suggest_temperature(SCORES * scale)
    assert temperature is not None
    assert entropy_shares(SCORES * scale, temperature).mean() == pytest.approx(0.5, abs=1e-6)


def test_flatness_says_how_far_the_questions_differ_there() -> None:
    found = LabelEntropy.of(SCORES)
    assert found.temperature is not None
    shares = entropy_shares(SCORES, found.temperature)
    assert (shares < found.low).mean() == pytest.approx(0.1, abs=0.03)
    assert (shares > found.high).mean() == pytest.approx(0.1, abs=0.03)
    assert found.share == pytest.approx(entropy_shares(SCORES, 1.0).mean())


def test_a_teacher_that_tells_nothing_apart_gets_no_temperature() -> None:
    found = LabelEntropy.of(np.full((3, 8), -2.0))
    assert found.share == pytest.approx(1.0) and found.temperature is None
    assert math.isnan(found.low) and math.isnan(found.high)
