"""Log-probabilities of tokens from a language model's logits, at full precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Logits are turned into float32 at most this many at a time (16 MiB): a whole batch of them, at
# full precision and over a large vocabulary, would take more memory than the model.
_CHUNK_LOGITS = 1 << 22


def token_log_probabilities(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Return each token's log-probability, float32 whatever the logits are, a few rows at a time.

    Args:
        logits: [m, V] of the m tokens that count, of any float type, on any device.
        ids: the tokens they are about, [n, T] int64, on the CPU.
        mask: which of them count, [n, T] bool, on the CPU.

    Returns:
        Log-probabilities in nats, [n, T] float32 on the logits' device; 0 where `mask` is False.
    """
    device = logits.device
    result = torch.zeros(ids.shape, dtype=torch.float32, device=device)
    rows_at_once = max(1, _CHUNK_LOGITS // logits.shape[-1])
    # Indices are found on the CPU, where counting them does not make a GPU wait.
    places = mask.nonzero()  # [m, 2]
    chunks = (torch.split(one, rows_at_once) for one in (logits, places))
    for some, where in zip(*chunks, strict=True):
        wanted = ids[where[:, 0], where[:, 1]].to(device)
        row, column = where.to(device).unbind(dim=1)
        result[row, column] = -F.cross_entropy(some.float(), wanted, reduction="none")
    return result
