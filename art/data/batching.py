"""Batches by token budget and the order of an epoch: pure functions of their arguments."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class BatchLimits(NamedTuple):
    """How much goes into one batch.

    Attributes:
        tokens: at most, padding included (items × longest).
        padding: tokens of it at most that are padding; None for any number.
    """

    tokens: int
    padding: int | None = None


def token_batches(
    lengths: ArrayLike, budget: int, padding: int | None = None
) -> list[NDArray[np.int64]]:
    """Cut items into batches of similar length whose padded size stays within a budget.

    Args:
        lengths: [n] tokens of each item.
        budget: tokens of a batch at most, padding included (items × longest); an item longer than
            that is a batch of its own.
        padding: tokens of padding in a batch at most; None for any number.

    Returns:
        Arrays of indices, together 0 … n-1, by length and among equals by index.
    """
    tokens = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(tokens, kind="stable")
    before = np.concatenate([[0], np.cumsum(tokens[order])])  # tokens of all shorter items
    batches = []
    start = 0
    for stop in range(1, len(order) + 1):
        if stop < len(order):
            # Sorted, so the next item would be the longest of the batch.
            padded = (stop + 1 - start) * tokens[order[stop]]
            added = padded - (before[stop + 1] - before[start])
            if padded <= budget and (padding is None or added <= padding):
                continue
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


def evenly_spaced(num_items: int, most: int) -> range:
    """Return the indices of at most so many of 0 … num_items-1, the same distance apart."""
    return range(0, num_items, max(-(-num_items // most), 1))
