"""Signs that a retriever has collapsed: the same passages for every question, all vectors alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from art.retriever.index import Index

_ADVICE = (
    "lower training.learning_rate, raise training.warmup_share, or soften the soft labels with a "
    "higher teacher.temperature; go on from an earlier checkpoint in a new output.folder"
)

# Fewer questions may well want the same passages, and of a small corpus everybody gets the same.
_FEWEST_QUESTIONS = 4
_FEWEST_PASSAGES_PER_CANDIDATE = 4

_SAMPLE_PASSAGES = 256
# Untrained encoders already put all vectors into a narrow cone (0.9 is common, and random weights
# reach 0.99999), so that being close counts only where it is far closer than it was at the start.
_ALIKE = 0.01
_SHARE_OF_START = 0.1
_IDENTICAL = 1e-9


def distinct_share(rows: NDArray[np.int64]) -> float:
    """Return the share of distinct passages among candidates [G, K]; 1/G is a collapse."""
    return len(np.unique(rows)) / rows.size


def warn_of_candidates(rows: NDArray[np.int64], num_passages: int) -> str | None:
    """Return a warning where every question of a step was given the same passages.

    Args:
        rows: what the retriever found for the step's questions, [G, K].
        num_passages: N; a small corpus leaves no choice, and nothing is said of it.
    """
    num_questions, top_k = rows.shape
    if num_questions < _FEWEST_QUESTIONS or num_passages < _FEWEST_PASSAGES_PER_CANDIDATE * top_k:
        return None
    if len(np.unique(rows)) > top_k:
        return None
    return (
        f"the retriever has collapsed: it finds the same {top_k} passages for all {num_questions} "
        f"questions; {_ADVICE}"
    )


def passage_cosine(index: Index) -> float:
    """Return the mean cosine between two passages, over a sample spread evenly over the index."""
    rows = np.linspace(0, len(index) - 1, num=min(len(index), _SAMPLE_PASSAGES), dtype=np.int64)
    return mean_cosine(index.vectors(rows))


def mean_cosine(vectors: NDArray[np.float32]) -> float:
    """Return the mean cosine between two of the vectors [n, D]; one of length 0 has cosine 0."""
    if len(vectors) < 2:
        return 0.0
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    units = np.divide(wide, lengths, out=np.zeros_like(wide), where=lengths > 0)
    # The sum over all pairs is the squared length of the sum, and each passage pairs with itself.
    pairs = len(units) * (len(units) - 1)
    return float(((units.sum(axis=0) ** 2).sum() - (units**2).sum()) / pairs)


def warn_of_vectors(cosine: float, at_start: float | None) -> str | None:
    """Return a warning where all passages have nearly the same vector.

    Args:
        cosine: the mean between two passages now.
        at_start: the mean before the first step, None where it is not known.
    """
    apart = 1.0 - cosine
    far_closer = at_start is not None and apart < _SHARE_OF_START * (1.0 - at_start)
    if apart > _IDENTICAL and not (apart < _ALIKE and far_closer):
        return None
    return (
        f"the retriever has collapsed: the mean cosine between two passages is {cosine:.5f}; "
        f"{_ADVICE}"
    )
