"""Attention on a CPU, a block of queries at a time.

torch's fused kernel multiplies one head of one sequence at a time, by keys that are first copied
for every head that shares them, and spends a third of a small model's time on a few per cent of its
arithmetic. Here the heads that share keys are one matrix product, of as many sequences as stay in
the processor's cache, and keys behind the last that a query of a block may see are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_QUERIES = 64  # of a block: the causal half of long sequences is left out, at few products a block
_SCORES = 1 << 20  # of a block, all sequences and heads together: 2 MiB in bfloat16

# How a model may say that it passes its attention something that this one does not know.
_REFUSALS = (
    *(AssertionError, AttributeError, ImportError, LookupError),
    *(RuntimeError, TypeError, ValueError),
)

Attention = Callable[..., tuple[Tensor, None]]


@contextmanager
def in_blocks(wanted: bool = True) -> Iterator[None]:
    """Let models attend in blocks where they would use torch's attention.

    They still believe that it is torch's: some make other masks, or read fewer positions, for any
    attention whose name they do not know. It holds for the whole process, so for one thread.

    Args:
        wanted: False to leave everything as it is.
    """
    if not wanted:
        yield
        return
    with _in_place_of_torchs(blocked_attention):
        yield


@contextmanager
def _in_place_of_torchs(attention: Attention) -> Iterator[None]:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS["sdpa"] = attention
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS["sdpa"] = before


def same_in_blocks(model: PreTrainedModel) -> bool:
    """Return whether a model is on a CPU, uses torch's attention, and in blocks gets the same.

    Args:
        model: in evaluation mode.
    """
    if model.device.type != "cpu" or model.config._attn_implementation != "sdpa":
        return False
    # Rounding alone is below 1e-5 in float32 and about 1e-2 in bfloat16.
    bound = 1e-3 if model.dtype == torch.float32 else 0.1
    return all(apart <= bound for apart in _deviations(model))


@torch.no_grad()
def _deviations(model: PreTrainedModel) -> list[float]:
    """Return how far this attention is from torch's in every layer, relative; inf where it fails.

    Layer by layer on the same inputs: through a whole model, bfloat16's rounding alone may grow to
    the size of the output.
    """
    found: list[float] = []
    torchs: Attention = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def both(*inputs: Any, **settings: Any) -> tuple[Tensor, None]:
        expected = torchs(*inputs, **settings)[0]
        ours = blocked_attention(*inputs, **settings)[0]
        found.append(float((ours - expected).float().norm() / expected.float().norm()))
        return expected, None

    # Two sequences, of more than a block where the model has as many positions; one is padded.
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    length = min(_QUERIES + 6, limit or _QUERIES + 6)
    try:
        with _in_place_of_torchs(both):
            vocabulary = model.get_input_embeddings().num_embeddings
            ids = (2 + torch.arange(2 * length)).view(2, length) % vocabulary
            mask = torch.ones_like(ids)
            mask[1, length // 2 :] = 0
            inputs = {"input_ids": ids, "attention_mask": mask}
            if model.config.is_encoder_decoder:
                inputs["decoder_input_ids"] = ids
            model.base_model(**inputs)
    except _REFUSALS:
        return [math.inf]
    return found or [math.inf]


def blocked_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return softmax(query · key · scaling + bias) · value, as transformers' attentions do.

    Args:
        module: the layer, whose `is_causal` counts where no mask is given.
        query: [n, H, T, D].
        key: [n, G, L, D], each for H / G heads.
        value: [n, G, L, E].
        attention_mask: bool (True = attend) or added to the scores, [n or 1, H or 1, T or 1, L].
        scaling: of the scores; None for 1 / √D.
        is_causal: overrides the layer's.
        position_bias: added to the scores, [n or 1, H or 1, T or 1, L].

    Returns:
        [n, T, H, E], and None for the weights, which are not kept.
    """
    num_rows, num_heads, num_queries, width = query.shape
    num_keys = key.shape[2]
    by_query = (-1, -1, num_queries, -1)  # biases may be the same for all queries
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    if attention_mask is None and causal and num_queries > 1:
        every = torch.ones(1, 1, num_queries, num_keys, dtype=torch.bool, device=query.device)
        attention_mask = every.tril()
    scaling = width**-0.5 if scaling is None else scaling
    result = query.new_empty(num_rows, num_queries, num_heads, value.shape[-1])
    for start in range(0, num_queries, _QUERIES):
        block = slice(start, min(start + _QUERIES, num_queries))
        seen = num_keys
        biases = []
        if attention_mask is not None:
            mask = attention_mask.expand(by_query)[:, :, block]
            seen = _last_seen(mask) if num_queries > _QUERIES else num_keys
            biases.append(_added(mask[..., :seen], query.dtype))
        if position_bias is not None:
            bias = position_bias.expand(by_query)[:, :, block, :seen]
            biases.append(bias.to(query.dtype).contiguous())
        queries = query[:, :, block] * scaling
        at_once = max(1, _SCORES // (num_heads * queries.shape[2] * seen))
        for first in range(0, num_rows, at_once):
            rows = slice(first, first + at_once)
            mixed = _attend(
                queries[rows],
                key[rows, :, :seen],
                value[rows, :, :seen],
                [bias[rows] if len(bias) > 1 else bias for bias in biases],
            )
            result[rows, block] = mixed.transpose(1, 2)
    return result, None


def _last_seen(mask: Tensor) -> int:
    """Return how many keys there are up to the last that any query of a block may see."""
    if mask.dtype != torch.bool:
        return mask.shape[-1]
    seen = mask.reshape(-1, mask.shape[-1]).any(dim=0).nonzero()
    # A block of nothing but padding sees nothing; whatever it is given is not read.
    return int(seen[-1]) + 1 if len(seen) else 1


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as what is added to the scores."""
    # Half of the least number, because with a score it must not become -inf: a query that sees
    # nothing would get what is no number, and pass it on to all others in the next layer.
    least = torch.finfo(dtype).min / 2
    if mask.dtype != torch.bool:
        return mask.to(dtype).clamp(min=least)
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, least)


def _attend(query: Tensor, key: Tensor, value: Tensor, biases: list[Tensor]) -> Tensor:
    """Return the mixed values [m, H, T, E] of scaled queries [m, H, T, D]."""
    num_rows, num_heads, num_queries, width = query.shape
    groups, num_keys = key.shape[1:3]
    together = num_rows * groups
    scores = torch.bmm(
        query.reshape(together, -1, width),
        key.reshape(together, num_keys, width).transpose(1, 2),
    )  # [m · G, H / G · T, L]
    by_head = scores.view(num_rows, num_heads, num_queries, num_keys)
    for bias in biases:
        by_head.add_(bias)
    mixed = torch.bmm(scores.softmax(dim=-1), value.reshape(together, num_keys, -1))
    return mixed.view(num_rows, num_heads, num_queries, -1)
