"""Question log-likelihoods under a frozen language model: log P(question | passage).

Encoder–decoder models (T5, T0, FLAN) read the context and decode the target; decoder-only models
read both in one sequence. Logits come from the model's own forward pass, because some models scale
or cap them there.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel

from art.data.batching import token_batches
from art.data.prompts import PAPER_QUESTION_PREFIX, Family, ScorerTemplate
from art.data.tokens import pad
from art.errors import ArtError
from art.files import fingerprint
from art.scorer.models import automatic_dtype, check_length, family_of, load_weights
from art.weights import fingerprint_folder, loading_model, resolve_model

Reduction = Literal["mean", "sum"]
Ids = Sequence[int] | NDArray[np.integer[Any]]

# Logits are turned into float32 at most this many at a time (16 MiB): a whole batch of them, at
# full precision and over a large vocabulary, would take more memory than the model.
_CHUNK_LOGITS = 1 << 22

# Padded tokens of a batch. A GPU needs many to be busy; on a CPU a larger batch falls out of the
# caches (SmolLM2-135M in bfloat16, pairs a second on one core: 10.7 with 4096, 7.3 with 16384).
_BATCH_TOKENS = {"cpu": 4096}
_BATCH_TOKENS_ELSEWHERE = 16384

# What fills up short sequences is masked; any id of the vocabulary does.
_PAD_ID = 0


class Scorer:
    """A frozen language model with its prompt.

    Args:
        model: a `…ForConditionalGeneration` or `…ForCausalLM`; put into evaluation mode, its
            parameters lose their gradients.
        template: makes contexts and targets for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        reduction: `mean` or `sum` of the target's token log-probabilities.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.

    Raises:
        ArtError: an encoder–decoder model does not say with which token its decoder starts.
    """

    template: ScorerTemplate
    fingerprint: str
    family: Family

    def __init__(
        self,
        model: PreTrainedModel,
        template: ScorerTemplate,
        *,
        fingerprint: str,
        reduction: Reduction = "mean",
        batch_tokens: int | None = None,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.template = template
        self.fingerprint = fingerprint
        self.reduction = reduction
        self.family = template.family
        self.device = torch.device(model.device)
        self.batch_tokens = batch_tokens or _BATCH_TOKENS.get(
            self.device.type, _BATCH_TOKENS_ELSEWHERE
        )
        self._accepts = inspect.signature(model.forward).parameters.keys()
        decoder_start: int | None = getattr(model.config, "decoder_start_token_id", None)
        if self.family == "encoder-decoder" and decoder_start is None:
            raise ArtError("the scorer's config.json has no decoder_start_token_id")
        self._decoder_start = decoder_start or 0
        if (head := model.get_output_embeddings()) is not None:
            head.register_forward_pre_hook(_contiguous)

    def log_likelihoods(
        self, contexts: Sequence[Ids], targets: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """Return the log-likelihood of each target after its context.

        Neither the order of the pairs nor how they fall into batches matters, beyond rounding.

        Args:
            contexts: n lists of token ids, from `template.context`.
            targets: n lists of token ids, from `template.target`.

        Returns:
            Mean (or sum) over each target's tokens of their log-probability in nats, [n] float32.

        Raises:
            ArtError: a context or target is empty, or the device's memory does not suffice.

        Source: Sachan et al. 2023, section 2.3.
        """
        if len(contexts) != len(targets):
            raise ValueError(f"{len(contexts)} contexts, but {len(targets)} targets")
        for name, sequences in (("context", contexts), ("target", targets)):
            if any(len(ids) == 0 for ids in sequences):
                raise ArtError(f"the scorer needs at least one token of {name}")
        if not len(contexts):
            return np.zeros(0, dtype=np.float32)
        # The longest batches first: if the memory does not suffice, it shows at once.
        batches = token_batches(self._lengths(contexts, targets), self.batch_tokens)[::-1]
        with torch.inference_mode():
            parts = [
                self._score([contexts[i] for i in batch], [targets[i] for i in batch])
                for batch in batches
            ]
            # One copy at the end, so that a GPU never waits for the next batch to be made.
            values = torch.cat(parts).cpu().numpy()
        scores = np.empty(len(contexts), dtype=np.float32)
        scores[np.concatenate(batches)] = values
        return scores

    def _lengths(self, contexts: Sequence[Ids], targets: Sequence[Ids]) -> NDArray[np.int64]:
        context_lengths = np.array([len(ids) for ids in contexts], dtype=np.int64)
        target_lengths = np.array([len(ids) for ids in targets], dtype=np.int64)
        if self.family == "encoder-decoder":
            # Encoder and decoder pad apart, so that a batch may take its longest context from one
            # pair and its longest target from another: count every target as the longest.
            target_lengths[:] = target_lengths.max()
        lengths: NDArray[np.int64] = context_lengths + target_lengths
        return lengths

    def _score(self, contexts: Sequence[Ids], targets: Sequence[Ids]) -> Tensor:
        """Score one batch of n pairs on the device, [n] float32."""
        try:
            if self.family == "causal":
                logits, ids, mask = self._causal_logits(contexts, targets)
            else:
                logits, ids, mask = self._decoder_logits(contexts, targets)
            total = token_log_probabilities(logits, ids, mask).sum(dim=1)  # [n]
        except torch.OutOfMemoryError as error:
            raise ArtError(
                f"the memory of {self.device} does not suffice to score {len(contexts)} pairs at "
                f"once ({self.batch_tokens} padded tokens)",
                hint="lower scorer.batch_tokens",
            ) from error
        if self.reduction == "sum":
            return total
        return total / mask.sum(dim=1).to(total)

    def _decoder_logits(
        self, contexts: Sequence[Ids], targets: Sequence[Ids]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, T, V] for the target ids [n, T] and the targets' mask [n, T]."""
        context_ids, context_mask = pad(contexts, pad_id=_PAD_ID)  # [n, L]
        ids, mask = pad(targets, pad_id=_PAD_ID)  # [n, T]
        # Padding on the right needs no mask in the decoder: no earlier token sees it.
        decoder_ids = ids.roll(1, dims=1)
        decoder_ids[:, 0] = self._decoder_start
        logits = self._forward(
            input_ids=context_ids,
            attention_mask=context_mask.long(),
            decoder_input_ids=decoder_ids,
        )
        return logits, ids, mask

    def _causal_logits(
        self, contexts: Sequence[Ids], targets: Sequence[Ids]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [n, T, V] for the target ids [n, T] and the targets' mask [n, T]."""
        # Padded on the left, every target ends where the batch ends, and the logits that matter
        # are the last ones.
        sequences = [np.concatenate(pair) for pair in zip(contexts, targets, strict=True)]
        ids, mask = pad(sequences, pad_id=_PAD_ID, side="left")  # [n, L]
        target_ids, target_mask = pad(targets, pad_id=_PAD_ID, side="left")  # [n, T]
        longest = target_ids.shape[1]
        logits = self._forward(
            input_ids=ids,
            attention_mask=mask.long(),
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            # A whole number, because a mask is only understood by newer versions of transformers.
            logits_to_keep=longest + 1,
        )
        # The logits at a token are about the next one; the last token's are about none.
        return logits[:, -longest - 1 : -1], target_ids, target_mask

    def _forward(self, **inputs: Any) -> Tensor:
        # Some models know no position_ids or logits_to_keep: they do without, or keep all logits.
        known = {
            name: value.to(self.device) if isinstance(value, Tensor) else value
            for name, value in (inputs | {"use_cache": False}).items()
            if name in self._accepts
        }
        logits: Tensor = self.model(**known).logits
        return logits


def _contiguous(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    # The last positions of every row are not one block of memory, and on a CPU torch then copies
    # the whole head once per row of the batch: two thirds of the time of a small model.
    return (inputs[0].contiguous(), *inputs[1:])


def token_log_probabilities(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Return each token's log-probability, float32 whatever the logits are, a few rows at a time.

    Args:
        logits: [n, T, V], of any float type, on any device.
        ids: the tokens they are about, [n, T] int64, on the CPU.
        mask: which of them count, [n, T] bool, on the CPU.

    Returns:
        Log-probabilities in nats, [n, T] float32 on the logits' device; 0 where `mask` is False.
    """
    device = logits.device
    result = torch.zeros(ids.shape, dtype=torch.float32, device=device)
    rows_at_once = max(1, _CHUNK_LOGITS // logits.shape[-1])
    # Indices are found on the CPU, where counting them does not make a GPU wait.
    for chunk in torch.split(mask.nonzero(), rows_at_once):
        row, column = chunk.to(device).unbind(dim=1)
        wanted = ids[chunk[:, 0], chunk[:, 1]].to(device)
        result[row, column] = -F.cross_entropy(
            logits[row, column].float(), wanted, reduction="none"
        )
    return result


def load_scorer(
    model: str,
    *,
    dtype: str = "auto",
    reduction: Reduction = "mean",
    batch_tokens: int | None = None,
    device: torch.device | str | None = None,
    passage_prompt: str | None = None,
    question_prefix: str | None = None,
    max_length: int = 512,
    question_length: int = 128,
    chat_template: bool = False,
    attention: str | None = None,
    cache: Path | None = None,
) -> Scorer:
    """Load a frozen language model as a scorer.

    Args:
        model: hub name or folder of an encoder–decoder or decoder-only model, a `.gguf` file, or
            `pip:NAME`, an installed distribution that carries one.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where it is fast, else float32.
        reduction: `mean` (the paper) or `sum` (UPR) of the question's token log-probabilities.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
        device: None for the current GPU, else the CPU.
        passage_prompt: text with `{passage}` once; None for the paper's.
        question_prefix: text before the question; None for the paper's.
        max_length: tokens of the context at most; the passage is cut, the instruction never.
        question_length: tokens of the target at most.
        chat_template: put the prompt through the model's chat template (decoder-only models).
        attention: transformers' name of an attention implementation; None for the model's fastest
            that needs no other package (`sdpa` where it has one).
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: the model cannot be loaded, or is not a language model with weights of its own
            that can read this many tokens.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = resolve_model(model, cache=cache)
    with loading_model(model):
        config = AutoConfig.from_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    family = family_of(config, model)
    template = ScorerTemplate(
        tokenizer,
        family=family,
        passage_prompt=passage_prompt,
        question_prefix=question_prefix,
        max_length=max_length,
        question_length=question_length,
        chat_template=chat_template,
    )
    check_length(config, model, template)
    precision = automatic_dtype(place) if dtype == "auto" else dtype
    weights = load_weights(
        folder,
        model,
        config=config,
        family=family,
        dtype=precision,
        device=place,
        attention=attention,
    )
    prompt = [template.prompt, max_length, question_length]
    if family == "encoder-decoder":  # else it is in the prompt
        prompt += [PAPER_QUESTION_PREFIX if question_prefix is None else question_prefix]
    own = (fingerprint_folder(folder), template.fingerprint, repr(prompt), precision, reduction)
    return Scorer(
        weights,
        template,
        fingerprint=fingerprint("scorer 1", *own),
        reduction=reduction,
        batch_tokens=batch_tokens,
    )
