"""What a contrastive step reads of a question, whether labelled or cut from a passage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ContrastiveItem:
    """A question, its positive passage, and its hard negatives.

    Attributes:
        question: token ids.
        passages: token ids of the positive, then of the negatives.
        keys: one of each passage, [len(passages)]; equal keys are the same passage.
        positive_keys: of every passage known to be positive for the question, `keys[0]` included.
    """

    question: ArrayLike
    passages: Sequence[ArrayLike]
    keys: NDArray[np.uint64]
    positive_keys: NDArray[np.uint64]


Items = Callable[[Sequence[int]], Sequence[ContrastiveItem]]
"""Positions in the training set → their items at this step."""
