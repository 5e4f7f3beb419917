"""Where an answer stands in a text: by a reader's logits, or because its tokens stand there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
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


def occurrences(
    text: NDArray[np.integer], answers: Iterable[NDArray[np.integer]], continues: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return where answers stand in a text in whole words.

    Args:
        text: token ids, [L].
        answers: token ids of each answer; one without a token stands nowhere.
        continues: of each token id, whether the token goes on with a word.

    Returns:
        The places of the first and the last token of each occurrence, [n, 2], each once, in order.

    Source: `_find_answer_positions` of DPR's release, which takes parts of words too.
    """
    inside = np.append(continues[text], False)  # behind the text no word goes on
    found = set()
    for answer in answers:
        width = len(answer)
        if 0 < width <= len(text):
            windows = np.lib.stride_tricks.sliding_window_view(text, width)
            for first in np.flatnonzero((windows == answer).all(axis=1)).tolist():
                if not inside[first] and not inside[first + width]:
                    found.add((first, first + width - 1))
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
