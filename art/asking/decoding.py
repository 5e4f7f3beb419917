"""Texts written by a frozen language model, many at once; a prompt is read once for all of them.

What the model keeps of a prompt (its cache of keys and values, or what its encoder says) is
repeated for each text that follows it, not computed again. Texts that have ended leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from art.data.pairs import Ids
from art.data.tokens import pad
from art.teacher.forward import ForwardPasses

_PAD_ID = 0  # masked; any id of the vocabulary does
_FEW = 0.75  # of the batch still being written: the others are left out of it


class NextTokens(NamedTuple):
    """The next token of m texts.

    Attributes:
        ids: [m].
        is_last: which of them end their text, [m].
    """

    ids: NDArray[np.int64]
    is_last: NDArray[np.bool_]


# Logits of the next token [m, V] on the model's device, and which texts they are of [m] → tokens.
Choose = Callable[[Tensor, NDArray[np.int64]], NextTokens]


class Written(NamedTuple):
    """A text.

    Attributes:
        ids: its tokens, the one that ended it included.
        is_cut: whether none did.
    """

    ids: list[int]
    is_cut: bool


class Beginning(NamedTuple):
    """A text to be written.

    Attributes:
        shared: which of the shared prompts it follows.
        tail: token ids of the prompt behind that, at least one; none for an encoder–decoder model.
    """

    shared: int
    tail: Ids


class _Batch(NamedTuple):
    """What is under way.

    Attributes:
        logits: of each text's next token, [m, V].
        cache: of transformers, of m rows.
        mask: which positions count, [m, L] on the CPU.
        states: of the encoder with their mask, where there is one.
    """

    logits: Tensor
    cache: Any
    mask: Tensor
    states: tuple[Tensor, Tensor] | None

    def of(self, rows: Tensor) -> _Batch:
        """Return the batch with some of its rows, or with some several times."""
        self.cache.reorder_cache(rows.to(self.logits.device))
        states = self.states and (self.states[0][rows], self.states[1][rows])
        return _Batch(self.logits[rows], self.cache, self.mask[rows], states)


def write(
    passes: ForwardPasses,
    shared: Sequence[Ids],
    beginnings: Sequence[Beginning],
    choose: Choose,
    num_tokens: int,
) -> list[Written]:
    """Write a text behind each beginning.

    Args:
        passes: of the model.
        shared: prompts, or what several of them begin with; c lists of at least one token.
        beginnings: n of them.
        choose: picks the next tokens.
        num_tokens: that a text has at most.

    Returns:
        n texts.
    """
    rows = torch.tensor([one.shared for one in beginnings])
    batch = _read(passes, shared)
    if passes.family == "encoder-decoder":
        batch = batch.of(rows)
    else:
        batch = _follow(passes, batch, rows, [one.tail for one in beginnings], num_tokens)
    texts: list[list[int]] = [[] for _ in beginnings]
    place = np.arange(len(beginnings))  # in `texts`, of each row
    going = np.ones(len(beginnings), dtype=np.bool_)
    while True:
        ids = np.zeros(len(place), dtype=np.int64)
        ids[going], is_last = choose(batch.logits[torch.from_numpy(going)], place[going])
        for row in np.flatnonzero(going):
            texts[place[row]].append(int(ids[row]))
        going[going] = ~is_last
        if not going.any() or len(texts[place[going][0]]) == num_tokens:
            break
        if going.sum() <= _FEW * len(going):
            left = np.flatnonzero(going)
            batch, place, ids = batch.of(torch.from_numpy(left)), place[left], ids[left]
            going = np.ones(len(left), dtype=np.bool_)
        batch = _step(passes, batch, torch.from_numpy(ids)[:, None])
    is_cut = set(place[going].tolist())
    return [Written(ids, position in is_cut) for position, ids in enumerate(texts)]


def _read(passes: ForwardPasses, shared: Sequence[Ids]) -> _Batch:
    """Read the shared prompts, each once."""
    if passes.family == "encoder-decoder":
        _, mask = pad(shared, pad_id=_PAD_ID)  # [c, L], as `read` pads
        # What the decoder looks at and its first step, which is the same for all texts of a prompt.
        states = passes.read(shared).states
        start = torch.full((len(shared), 1), passes.decoder_start)
        return _step(passes, _Batch(states, None, mask[:, :0], (states, mask)), start)
    ids, mask = pad(shared, pad_id=_PAD_ID, side="left")  # [c, L]
    output = passes.forward(
        input_ids=ids,
        attention_mask=mask.long(),
        position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
        use_cache=True,
        logits_to_keep=1,
    )
    return _Batch(output.logits[:, -1], output.past_key_values, mask, None)


def _follow(
    passes: ForwardPasses, batch: _Batch, rows: Tensor, tails: Sequence[Ids], num_tokens: int
) -> _Batch:
    """Read the n tails behind the shared prompts at `rows`."""
    ids, mask = pad(tails, pad_id=_PAD_ID, side="left")  # [n, S], so that all end together
    if type(batch.cache) is DynamicCache:
        room = ids.shape[1] + num_tokens
        batch.cache.layers = [
            _RoomyLayer(layer, room) if type(layer) is DynamicLayer else layer
            for layer in batch.cache.layers
        ]
    return _step(passes, batch.of(rows), ids, mask)


def _step(
    passes: ForwardPasses, batch: _Batch, ids: Tensor, counts: Tensor | None = None
) -> _Batch:
    """Return the batch with the next tokens read, [m, S]; `counts` says which are not padding."""
    counts = torch.ones_like(ids, dtype=torch.bool) if counts is None else counts
    mask = torch.cat([batch.mask, counts], dim=1)
    if batch.states is not None:
        states, seen = batch.states
        output = passes.forward(
            encoder_outputs=BaseModelOutput(states),
            attention_mask=seen.long(),
            decoder_input_ids=ids,
            past_key_values=batch.cache,
            use_cache=True,
        )
    else:
        positions = mask.cumsum(dim=1)[:, -ids.shape[1] :] - 1
        output = passes.forward(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=positions.clamp(min=0),
            past_key_values=batch.cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return _Batch(output.logits[:, -1], output.past_key_values, mask, batch.states)


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values with room for those of the tokens to come: nothing is copied at a step.

    Args:
        layer: what was read before.
        room: for so many tokens.
    """

    def __init__(self, layer: DynamicLayer, room: int) -> None:
        self.lazy_initialization(layer.keys, layer.values)
        self.keys, self.values = layer.keys, layer.values
        self._most = layer.get_seq_length() + room
        self._roomy: list[Tensor] = []

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep some of the rows, or some several times."""
        length = self.get_seq_length()
        self._roomy = []
        for states in (self.keys, self.values):
            size = (len(beam_idx), states.shape[1], self._most, states.shape[3])
            self._roomy.append(states.new_empty(size))
            self._roomy[-1][:, :, :length] = states[beam_idx]
        self.keys, self.values = (one[:, :, :length] for one in self._roomy)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the states with those of the next tokens, [m, heads, S, D], behind them."""
        start = self.get_seq_length()
        stop = start + key_states.shape[2]
        for roomy, states in zip(self._roomy, (key_states, value_states), strict=True):
            roomy[:, :, start:stop] = states
        self.keys, self.values = (one[:, :, :stop] for one in self._roomy)
        return self.keys, self.values
