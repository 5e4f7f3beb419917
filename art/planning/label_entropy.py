"""How flat a teacher's soft labels are, and the temperature that would make them teach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.training.soft_labels import entropy_shares, suggest_temperature


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
