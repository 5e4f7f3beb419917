"""Tokens drawn: by the chances that transformers' own warpers give, from streams of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from art.asking.sampling import Sampling

NUM_DRAWS = 2000


# The nucleus of 3,000 nearly equal tokens is wider than what is looked at first.
@pytest.mark.parametrize(("num_tokens", "spread"), [(40, 3.0), (3000, 4.0), (3000, 0.1)])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 0.9), (0.5, 0.95), (2.0, 1.0)])
def test_chances_are_those_of_transformers_warpers(
    num_tokens: int, spread: float, temperature: float, top_p: float
) -> None:
    logits = spread * torch.randn((1, num_tokens), generator=torch.Generator().manual_seed(0))
    warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature), TopPLogitsWarper(top_p)])
    expected = warpers(torch.zeros((1, 1)), logits.clone()).softmax(dim=-1)[0].numpy()
    # Evenly spaced numbers fall on each token in proportion to its chance, but for one at each end.
    uniforms = (np.arange(NUM_DRAWS) + 0.5) / NUM_DRAWS
    sampling = Sampling(temperature=temperature, top_p=top_p)
    drawn = sampling.draw(logits.expand(NUM_DRAWS, -1), uniforms)
    counts = np.bincount(drawn, minlength=num_tokens)
    assert np.abs(counts - NUM_DRAWS * expected).max() <= 1.01
    assert (counts[expected == 0] == 0).all()


def test_temperature_0_takes_the_most_likely() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    assert Sampling(temperature=0).draw(logits, np.array([0.99, 0.99])).tolist() == [1, 0]


def test_a_passages_stream_depends_on_nothing_else() -> None:
    sampling = Sampling(seed=3)
    two = sampling.uniforms("p1", "question", 2, 8)
    np.testing.assert_array_equal(sampling.uniforms("p1", "question", 4, 8)[:2], two)
    others = [
        sampling.uniforms("p2", "question", 2, 8),
        sampling.uniforms("p1", "claim", 2, 8),
        Sampling(seed=4).uniforms("p1", "question", 2, 8),
    ]
    assert all((one != two).all() for one in others)
