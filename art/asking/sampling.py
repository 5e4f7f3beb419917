"""Tokens drawn from what a language model says comes next, each passage by a stream of its own.

A draw is a pure function of the logits and of a number between 0 and 1 that belongs to one token of
one question of one kind of one passage. So what is asked of a passage depends on its neighbours
only as far as they change the last bits of its logits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# So many tokens nearly always hold the nucleus; sorting a whole vocabulary takes longer than a
# small model's forward pass.
_MOST_LIKELY = 256

Uniforms = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    Attributes:
        seed: of all streams.
        temperature: of the softmax; 0 takes the most likely token.
        top_p: the most likely tokens that together have this probability are drawn from.
    """

    seed: int = 0
    temperature: float = 0.7
    top_p: float = 0.95

    def uniforms(self, passage_id: str, kind: str, num_questions: int, num_tokens: int) -> Uniforms:
        """Return the numbers that the questions of one kind of one passage are drawn by.

        More questions of a passage, or other kinds beside this one, change none of them.

        Returns:
            Numbers in [0, 1), [num_questions, num_tokens].
        """
        return stream_of(self.seed, passage_id, kind).random((num_questions, num_tokens))

    def draw(self, logits: Tensor, uniforms: NDArray[np.float64]) -> NDArray[np.int64]:
        """Draw a token for each of n questions.

        Args:
            logits: of the next token, [n, V].
            uniforms: a number for each, [n].

        Returns:
            Token ids, [n].

        Source: Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration".
        """
        if self.temperature == 0:
            return np.asarray(logits.argmax(dim=-1).cpu())
        scaled = logits.float() / self.temperature
        total = scaled.logsumexp(dim=-1, keepdim=True)
        width = min(_MOST_LIKELY, scaled.shape[1])
        values, ids = scaled.topk(width, dim=-1)
        chances = (values - total).exp().double().cpu()  # [n, width]
        drawn, is_whole = _drawn(chances, torch.from_numpy(uniforms), self.top_p)
        tokens = ids.cpu().gather(1, drawn[:, None])[:, 0]
        for row in torch.nonzero(~is_whole)[:, 0] if width < scaled.shape[1] else ():
            values, ids = scaled[row].sort(descending=True, stable=True)
            chances = (values - total[row]).exp().double().cpu()[None]
            place, _ = _drawn(chances, torch.from_numpy(uniforms[row : row + 1]), self.top_p)
            tokens[row] = ids[int(place)]
        return tokens.numpy()


def _drawn(chances: Tensor, uniforms: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Return which place of falling chances [n, W] is drawn, and whether they hold the nucleus."""
    cumulated = chances.cumsum(dim=-1)
    nucleus = cumulated - chances < top_p  # the first place is always in it
    nucleus[:, 0] = True
    mass = (chances * nucleus).sum(dim=-1)
    place = (cumulated <= (uniforms * mass)[:, None]).sum(dim=-1)
    return torch.minimum(place, nucleus.sum(dim=-1) - 1), cumulated[:, -1] >= top_p


def stream_of(seed: int, passage_id: str, purpose: str) -> np.random.Generator:
    """Return the random stream of one passage for one purpose."""
    return np.random.default_rng([seed, _number(passage_id), _number(purpose)])


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
