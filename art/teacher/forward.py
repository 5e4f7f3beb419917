"""Forward passes of a frozen language model over padded batches: the logits of targets' tokens.

Only those: the hidden states of padding and of contexts never meet the vocabulary.

A context that several targets follow is read once: an encoder–decoder model keeps what its encoder
says of it, a decoder-only model the keys and values of its layers. Logits come from the model's own
forward pass, because some models scale or cap them there.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from art.data.pairs import Ids
from art.data.prompts import Family
from art.data.tokens import pad
from art.errors import ArtError
from art.teacher.log_probabilities import token_log_probabilities

# What fills up short sequences is masked; any id of the vocabulary does.
_PAD_ID = 0

# Rotary positions that are scaled by the length read so far: a prefix alone is not what it is as
# the beginning of a longer sequence.
_ROPE_BY_LENGTH = {"dynamic", "longrope"}

# How a model that cannot go on from a cache of keys and values may say so.
_REFUSALS = (AttributeError, IndexError, RuntimeError, TypeError, ValueError)


class TargetLogits(NamedTuple):
    """What the model says of n targets' tokens.

    Attributes:
        logits: [m, V] on the model's device, of the m tokens that count, row by row of `mask`.
        ids: the targets, padded, [n, T] int64 on the CPU.
        mask: which of them count, [n, T] bool on the CPU.
    """

    logits: Tensor
    ids: Tensor
    mask: Tensor

    def log_probabilities(self) -> Tensor:
        """Return each token's log-probability in nats, [n, T] float32; 0 where `mask` is False."""
        return token_log_probabilities(self.logits, self.ids, self.mask)


@dataclass(frozen=True, slots=True)
class ReadContexts:
    """What a model keeps of c contexts that it has read.

    Attributes:
        lengths: positions kept of each, [c] int64.
        states: of an encoder, [c, L, D]; or keys and values by layer, [c, heads, L, D] each.
        last: a decoder-only model's contexts' last tokens, [c], which are read with the targets:
            they say what each target's first token is.
    """

    lengths: Tensor
    states: Any
    last: NDArray[np.int64]

    @property
    def longest(self) -> int:
        """Positions of the longest context, its last token included."""
        return int(self.lengths.max()) + bool(len(self.last))


class ForwardPasses:
    """A frozen language model's forward passes.

    Args:
        model: a `…ForConditionalGeneration` or `…ForCausalLM` in evaluation mode.
        family: which of them.

    Raises:
        ArtError: an encoder–decoder model does not say with which token its decoder starts.
    """

    def __init__(self, model: PreTrainedModel, family: Family) -> None:
        self.model = model
        self.family = family
        self.device = torch.device(model.device)
        self._accepts = inspect.signature(model.forward).parameters.keys()
        decoder_start: int | None = getattr(model.config, "decoder_start_token_id", None)
        if family == "encoder-decoder" and decoder_start is None:
            raise ArtError("the teacher's config.json has no decoder_start_token_id")
        self.decoder_start = decoder_start or 0
        self._wanted: Tensor | None = None  # positions that the head has yet to be given
        if (head := model.get_output_embeddings()) is not None:
            head.register_forward_pre_hook(self._only_wanted)

    @cached_property
    def shares_contexts(self) -> bool:
        """Whether targets after a context that was read once get the same logits as apart.

        A decoder-only model is tried out: its cache must keep every position of every layer (not a
        window of them, not a state), and going on from it must give what whole sequences give.
        """
        if self.family == "encoder-decoder":
            return True
        if "past_key_values" not in self._accepts or _ropes(self.model) & _ROPE_BY_LENGTH:
            return False
        ids = np.arange(3, 15) * 7 % self.model.config.get_text_config().vocab_size
        contexts, targets = [ids[:9], ids[4:9]], [ids[9:], ids[:3]]
        with torch.no_grad():
            expected = self.whole(contexts, targets).logits.float().log_softmax(-1)
            try:
                read = self.read(contexts)
                found = self.follow(read, np.arange(2), targets).logits.float().log_softmax(-1)
            except torch.OutOfMemoryError:
                raise
            except _REFUSALS:
                return False
            spread = (expected - expected.mean(-1, keepdim=True)).norm()
            # Rounding alone is below 1e-5 of the spread in float32 and about 1e-2 in bfloat16.
            bound = 1e-3 if self.model.dtype == torch.float32 else 0.1
            return bool((found - expected).norm() <= bound * spread)

    def read(self, contexts: Sequence[Ids]) -> ReadContexts:
        """Read c contexts, of at least two tokens each if the model is decoder-only.

        Raises:
            ValueError: a decoder-only model's cache does not keep every position of every layer.
        """
        if self.family == "encoder-decoder":
            ids, mask = pad(contexts, pad_id=_PAD_ID)  # [c, L]
            encoder = self.model.get_encoder()
            inputs = {"input_ids": ids, "attention_mask": mask.long()}
            states = encoder(**self._on_device(inputs)).last_hidden_state  # [c, L, D]
            return ReadContexts(mask.sum(dim=1), states, np.zeros(0, dtype=np.int64))
        ids, mask = pad([context[:-1] for context in contexts], pad_id=_PAD_ID, side="left")
        cache = self.forward(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=True,
            logits_to_keep=1,  # of which nothing is used, but 0 means all
        ).past_key_values
        last = np.array([context[-1] for context in contexts], dtype=np.int64)
        return ReadContexts(mask.sum(dim=1), _keys_and_values(cache, ids.shape[1]), last)

    def follow(
        self, read: ReadContexts, rows: NDArray[np.int64], targets: Sequence[Ids]
    ) -> TargetLogits:
        """Return the logits of n targets, each after one of the contexts read.

        Args:
            read: c contexts.
            rows: which of them each target follows, [n].
            targets: n lists of token ids.
        """
        index = torch.from_numpy(rows)
        lengths = read.lengths[index][:, None]  # [n, 1]
        longest = int(lengths.max())
        ids, mask = pad(targets, pad_id=_PAD_ID)  # [n, T]
        if self.family == "encoder-decoder":
            # Padding on the right needs no mask in the decoder: no earlier token sees it.
            logits = self._logits(
                mask,
                encoder_outputs=BaseModelOutput(read.states[:, :longest][index.to(self.device)]),
                attention_mask=(torch.arange(longest) < lengths).long(),
                decoder_input_ids=_shifted(ids, torch.full(rows.shape, self.decoder_start)),
                use_cache=False,
            )
            return TargetLogits(logits, ids, mask)
        seen = torch.arange(longest - 1, -1, -1) < lengths  # padded on the left
        logits = self._logits(
            mask,
            input_ids=_shifted(ids, torch.from_numpy(read.last[rows])),
            attention_mask=torch.cat([seen, mask], dim=1).long(),
            # Positions of padding are held low, where every model has some.
            position_ids=(lengths + torch.arange(ids.shape[1])) * mask,
            past_key_values=_repeated(read.states, index.to(self.device), longest),
            use_cache=True,
        )
        return TargetLogits(logits, ids, mask)

    def whole(self, contexts: Sequence[Ids], targets: Sequence[Ids]) -> TargetLogits:
        """Return the logits of n targets of a decoder-only model, each read behind its context."""
        # Padded on the left, every target ends where the batch ends, and the logits that matter
        # are the last ones.
        sequences = [np.concatenate(pair) for pair in zip(contexts, targets, strict=True)]
        ids, mask = pad(sequences, pad_id=_PAD_ID, side="left")  # [n, L]
        target_ids, target_mask = pad(targets, pad_id=_PAD_ID, side="left")  # [n, T]
        longest = target_ids.shape[1]
        # The logits at a token are about the next one; the last token's are about none.
        wanted = torch.zeros_like(mask)
        wanted[:, -longest - 1 : -1] = target_mask
        logits = self._logits(
            wanted,
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
            # A whole number, because a mask is only understood by newer versions of transformers.
            logits_to_keep=longest + 1,
        )
        return TargetLogits(logits, target_ids, target_mask)

    def _logits(self, wanted: Tensor, **inputs: Any) -> Tensor:
        """Return the logits [m, V] at the m positions that `wanted`, [n, L] on the CPU, marks."""
        self._wanted = wanted
        try:
            logits: Tensor = self.forward(**inputs).logits
            # A model without a head of its own has given the logits of all positions.
            return logits[0] if self._wanted is None else self._picked(logits)
        finally:
            self._wanted = None

    def _only_wanted(self, _: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *others = inputs
        if self._wanted is not None:
            hidden, self._wanted = self._picked(hidden)[None], None
        # The last positions of every row are not one block of memory, and on a CPU torch then
        # copies the whole head once per row of the batch: two thirds of a small model's time.
        return (hidden.contiguous(), *others)

    def _picked(self, values: Tensor) -> Tensor:
        """Return what stands at the positions wanted: [n, L, …] → [m, …], L the last ones kept."""
        assert self._wanted is not None
        # Found on the CPU, where counting them does not make a GPU wait.
        places = self._wanted[:, -values.shape[1] :].nonzero()
        row, column = places.to(values.device).unbind(dim=1)
        return values[row, column]

    def forward(self, **inputs: Any) -> Any:
        """Return what the model says; of these inputs it is given those that it knows."""
        # Some models know no position_ids or logits_to_keep: they do without, or keep all logits.
        known = {name: value for name, value in inputs.items() if name in self._accepts}
        return self.model(**self._on_device(known))

    def _on_device(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value.to(self.device) if isinstance(value, Tensor) else value
            for name, value in inputs.items()
        }


def _shifted(ids: Tensor, first: Tensor) -> Tensor:
    """Return what is read before each of `ids` [n, T]: `first` [n], then `ids` but for the last."""
    return torch.cat([first[:, None], ids[:, :-1]], dim=1)


def _ropes(model: PreTrainedModel) -> set[str]:
    """Return the kinds of rotary positions of a model; some have them by kind of layer."""
    settings = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    nested = [value for value in settings.values() if isinstance(value, dict)]
    return {str(one["rope_type"]) for one in (settings, *nested) if "rope_type" in one}


def _keys_and_values(cache: Any, length: int) -> list[tuple[Tensor, Tensor]]:
    """Return keys and values by layer of a cache that keeps `length` positions in each."""
    layers = cache.layers if type(cache) is DynamicCache else []
    # A layer without states of its own borrows another one's, by a way that is not the cache.
    if not layers or any(
        type(layer) is not DynamicLayer or layer.get_seq_length() != length for layer in layers
    ):
        raise ValueError("the model's cache does not keep every position of every layer")
    return [(layer.keys, layer.values) for layer in layers]


def _repeated(states: list[tuple[Tensor, Tensor]], rows: Tensor, longest: int) -> DynamicCache:
    """Return a cache of the contexts at `rows`, of their last `longest` positions."""
    cache = DynamicCache()
    cache.layers = [
        _RepeatedLayer(keys[..., -longest:, :], values[..., -longest:, :], rows)
        for keys, values in states
    ]
    return cache


class _RepeatedLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of contexts that many targets read and none changes.

    They are repeated when the model reaches the layer, so that one layer's copy is alive, not all.
    """

    def __init__(self, keys: Tensor, values: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values
        self._rows = rows

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Return the repeated states with those of the targets [n, heads, T, D] behind them."""
        return (
            torch.cat([self.keys[self._rows], key_states], dim=-2),
            torch.cat([self.values[self._rows], value_states], dim=-2),
        )
