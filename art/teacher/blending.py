"""One score out of several sources': each in units of its own spread, then their weighted mean.

Sources score in units of their own: log-probabilities, inner products, BM25's sums. Only what a
source says *within* a list of passages moves soft labels, so that is what its scale measures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError

Array = NDArray[np.floating[Any]]


def scale_of(scores: Array) -> float:
    """Return how far a source tells the passages of a list apart: its scale in a blend.

    It is the population standard deviation, over all entries of all lists, of the scores less the
    mean of their own list.

    Args:
        scores: of B lists of K passages, [B, K], finite.

    Raises:
        ArtError: a score is not a finite number, or the source tells no two passages apart.
    """
    scale = float(np.sqrt(np.square(_centred(scores)).mean())) if scores.size else 0.0
    # What is left of equal scores that their mean was subtracted from is rounding.
    largest = float(np.abs(scores).max()) if scores.size else 0.0
    if scale <= 8 * np.finfo(scores.dtype).eps * largest or not scale:
        raise ArtError("the source gives all passages of a list the same score")
    return scale


def blend(
    scores: Mapping[str, Array], weights: Mapping[str, float], scales: Mapping[str, float]
) -> NDArray[np.float64]:
    """Return the weighted mean of sources: Σ_s w_s (s − its list's mean) / scale_s / Σ_s w_s.

    Multiplying all weights, or adding a number to all of a list's scores, changes nothing.

    Args:
        scores: source → scores of B lists of K passages, [B, K], finite; further ones are ignored.
        weights: source → weight, above 0.
        scales: source → what `scale_of` gave, once and for all lists of a run.

    Returns:
        Blended scores [B, K], higher for a passage that suits its question better; every list has
        the mean 0.

    Raises:
        ArtError: a source has no scores or no scale, a weight or scale is not above 0, or a score
            is not a finite number.
    """
    if not weights:
        raise ArtError("a blend needs the weight of at least one source")
    for source, weight in weights.items():
        if source not in scores or source not in scales:
            what = "scores" if source not in scores else "scale"
            raise ArtError(f"a blend weighs {source}, but there is no {what} of it")
        for name, value in (("weight", weight), ("scale", scales[source])):
            if not 0.0 < value < np.inf:
                raise ArtError(f"the {name} of {source} in a blend is {value}, not above 0")
    total = sum(weights.values())
    # In the order of their names: the bits must not depend on the order of a file.
    parts = [
        weights[source] / total / scales[source] * _centred(scores[source])
        for source in sorted(weights)
    ]
    return np.sum(parts, axis=0)  # type: ignore[no-any-return]


def _centred(scores: Array) -> NDArray[np.float64]:
    if not np.isfinite(scores).all():
        raise ArtError("a score that is to be blended is not a finite number")
    values = scores.astype(np.float64)
    centred: NDArray[np.float64] = values - values.mean(axis=1, keepdims=True)
    return centred
