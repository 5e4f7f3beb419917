"""Where an answer stands in a text: pure functions of a reader's logits."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Spans(NamedTuple):
    """The best span of each of n passages.

    Attributes:
        first: the place of its first token, [n] int64.
        last: of its last token, [n] int64.
        score: the logit of its start and that of its end, added; −∞ where there is no text, [n].
    """

    first: Tensor
    last: Tensor
    score: Tensor


def best_spans(start: Tensor, end: Tensor, is_text: Tensor, *, max_tokens: int) -> Spans:
    """Return the span of text with the highest sum of its start's and its end's logit.

    Among equal spans the shortest is taken.

    Args:
        start: logits of each token as the first of the answer, [n, L].
        end: logits as the last, [n, L].
        is_text: where the text stands, in one piece, [n, L] bool.
        max_tokens: of a span.

    Source: Karpukhin et al. 2020 (DPR), section 6.1.
    """
    length = start.shape[1]
    start, end = (logits.masked_fill(~is_text, -torch.inf) for logits in (start, end))
    found = Spans(
        torch.zeros(len(start), dtype=torch.int64, device=start.device),
        torch.zeros(len(start), dtype=torch.int64, device=start.device),
        torch.full((len(start),), -torch.inf, dtype=start.dtype, device=start.device),
    )
    for width in range(min(max_tokens, length)):  # tokens between first and last
        score, first = (start[:, : length - width] + end[:, width:]).max(dim=1)
        better = score > found.score
        now = Spans(first, first + width, score)
        found = Spans(*(torch.where(better, new, old) for new, old in zip(now, found, strict=True)))
    return found
