"""Rows of different lengths through a model, without the padding up to the longest of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from art.data.batching import BatchLimits, token_batches
from art.retriever.static import StaticEmbeddingModel

# Tokens that keep a device busy; what is beyond is better read in the order of its length. On a CPU
# another batch costs about as much as the padding allowed here.
_TRAINING = {"cpu": BatchLimits(4096, padding=100), "cuda": BatchLimits(16_384)}
# Without a gradient nothing is kept from layer to layer, and on a CPU what a layer reads and writes
# should fit the caches: tests/benchmarks/encode.py.
_ENCODING = {"cpu": 2048}
_ENCODING_ELSEWHERE = 16_384


def training_limits(retriever: nn.Module) -> BatchLimits | None:
    """Return the limits of `by_length` with which a step of these towers is fast where they are."""
    if _only_looks_up(retriever):
        # Padding costs a table of word vectors nothing, but each batch a gradient of its size.
        return None
    return _TRAINING.get(next(retriever.parameters()).device.type)


def encoding_tokens(towers: nn.Module) -> int:
    """Return the padded tokens of a batch with which encoding is fast where these towers are."""
    if _only_looks_up(towers):
        return _ENCODING_ELSEWHERE
    return _ENCODING.get(next(towers.parameters()).device.type, _ENCODING_ELSEWHERE)


def _only_looks_up(towers: nn.Module) -> bool:
    return any(isinstance(module, StaticEmbeddingModel) for module in towers.modules())


def by_length(
    encode: Callable[[Tensor, Tensor], Tensor],
    ids: Tensor,
    mask: Tensor,
    limits: BatchLimits | None,
) -> Tensor:
    """Encode rows of similar length together, and only as wide as they are.

    Args:
        encode: token ids and mask of some rows → their vectors.
        ids: [n, L] int64, padded on the right.
        mask: True = attend, [n, L] bool.
        limits: of rows encoded together; None for all rows as they are.

    Returns:
        Vectors [n, D], in the order of the rows.
    """
    if limits is None:
        return encode(ids, mask)
    lengths = mask.sum(dim=1).cpu().numpy()
    batches = token_batches(lengths, *limits)
    vectors = [
        encode(ids[rows, :longest], mask[rows, :longest])
        # No model reads rows of no token at all.
        for rows, longest in ((batch, max(lengths[batch].max(), 1)) for batch in batches)
    ]
    return torch.cat(vectors)[torch.from_numpy(np.argsort(np.concatenate(batches)))]
