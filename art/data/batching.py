"""Batches by token budget and the order of an epoch: pure functions of their arguments."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def token_batches(lengths: ArrayLike, budget: int) -> list[NDArray[np.int64]]:
    """Cut items into batches of similar length whose padded size stays within a budget.

    Args:
        lengths: [n] tokens of each item.
        budget: tokens of a batch at most, padding included (items × longest); an item longer than
            that is a batch of its own.

    Returns:
        Arrays of indices, together 0 … n-1, by length and among equals by index.
    """
    tokens = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(tokens, kind="stable")
    batches = []
    start = 0
    for stop in range(1, len(order) + 1):
        # Sorted, so the next item would be the longest of the batch.
        if stop == len(order) or (stop - start + 1) * tokens[order[stop]] > budget:
            batches.append(order[start:stop])
            start = stop
    return batches


def epoch_order(num_items: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the permutation of 0 … num_items-1 in which an epoch visits its items.

    Args:
        num_items: how many items there are.
        seed: of the run.
        epoch: from 0; every epoch has an order of its own.
    """
    return np.random.default_rng([seed, epoch]).permutation(num_items)
