"""How flat a teacher's soft labels are, and the temperature that would make them teach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from art.training.losses import entropy, log_soft_labels

# At half of log K the labels weigh about √K passages: the good ones stand out, and more than one
# still teaches. SmolLM2-135M at the shipped T = 0.2 is near there: 1.3 of log 12 = 2.5 on COVID-QA.
# A rule of thumb to begin with and no optimum; T0-3B taught at the paper's 1.0.
_WANTED_SHARE = 0.5
_TEMPERATURES = (1e-4, 1e4)
_HALVINGS = 60


@dataclass(frozen=True)
class LabelEntropy:
    """How evenly soft labels spread: entropies as shares of log K, which is the most there can be.

    Attributes:
        share: mean over the questions at T = 1.
        temperature: T at which that mean is about half; None where the teacher does not tell the
            passages apart, or tells them from nothing but ties.
        low: the share of the question at the 10th percentile, at that temperature; NaN without.
        high: of the one at the 90th.
    """

    share: float
    temperature: float | None
    low: float
    high: float

    @classmethod
    def of(cls, log_likelihoods: NDArray[np.floating[Any]]) -> LabelEntropy:
        """Measure the soft labels of Q questions over K ≥ 2 passages, [Q, K]."""
        temperature = suggest_temperature(log_likelihoods)
        low = high = math.nan
        if temperature is not None:
            shares = entropy_shares(log_likelihoods, temperature)
            low, high = np.quantile(shares, [0.1, 0.9]).tolist()
        return cls(float(entropy_shares(log_likelihoods, 1.0).mean()), temperature, low, high)


def entropy_shares(
    log_likelihoods: NDArray[np.floating[Any]], temperature: float
) -> NDArray[np.float64]:
    """Return the entropy of each question's soft labels as a share of log K.

    Args:
        log_likelihoods: of Q questions given K ≥ 2 passages each, [Q, K].
        temperature: T, divisor before the softmax.

    Returns:
        Shares from 0 to 1, [Q].
    """
    values = torch.from_numpy(np.asarray(log_likelihoods, dtype=np.float64))
    entropies = entropy(log_soft_labels(values, temperature=temperature))
    shares: NDArray[np.float64] = entropies.numpy() / math.log(values.shape[1])
    return shares


def suggest_temperature(log_likelihoods: NDArray[np.floating[Any]]) -> float | None:
    """Return the temperature at which the mean entropy of soft labels is half of log K.

    The entropy of a softmax never falls as its temperature rises, so halving an interval finds it.

    Args:
        log_likelihoods: of Q questions given K ≥ 2 passages each, [Q, K].

    Returns:
        The temperature; None where no temperature makes the labels so sharp, or none so flat.
    """
    low, high = (math.log(temperature) for temperature in _TEMPERATURES)

    def too_sharp(exponent: float) -> bool:
        return bool(entropy_shares(log_likelihoods, math.exp(exponent)).mean() < _WANTED_SHARE)

    if not too_sharp(low) or too_sharp(high):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_sharp(middle) else (low, middle)
    return math.exp(high)
