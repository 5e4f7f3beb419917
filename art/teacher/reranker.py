"""Cross-encoders: a model that reads question and passage together and gives their relevance."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from art.data.batching import token_batches
from art.data.joint_inputs import PairTemplate
from art.data.pairs import Ids
from art.data.tokens import pad
from art.errors import ArtError
from art.files import fingerprint
from art.teacher.base import Part, Teacher
from art.teacher.models import automatic_dtype, check_length, load_weights
from art.weights import check_size, fingerprint_folder, load_tokenizer, loading_model, resolve_model


class Reranker(Teacher):
    """A cross-encoder with its tokenizer's way of joining two texts.

    Args:
        model: a `…ForSequenceClassification` of one or two labels.
        template: makes pairs for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
    """

    template: PairTemplate

    def __init__(
        self,
        model: PreTrainedModel,
        template: PairTemplate,
        *,
        fingerprint: str,
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, template, fingerprint=fingerprint, batch_tokens=batch_tokens)
        # Decoder-only models find the end of each text by it.
        model.config.get_text_config().pad_token_id = template.pad_id
        known = inspect.signature(model.forward).parameters
        self._typed = template.token_types is not None and "token_type_ids" in known

    def _parts(self, firsts: Sequence[Ids], seconds: Sequence[Ids]) -> Iterator[Part]:
        lengths = [len(one) + len(other) for one, other in zip(firsts, seconds, strict=True)]
        # The longest batches first: if the memory does not suffice, it shows at once.
        for batch in token_batches(lengths, self.batch_tokens)[::-1]:
            yield batch, self._relevance([firsts[i] for i in batch], [seconds[i] for i in batch])

    def _relevance(self, questions: Sequence[Ids], passages: Sequence[Ids]) -> Tensor:
        """Return the scores of one batch of n pairs on the device, [n] float32."""
        sequences = [np.concatenate(pair) for pair in zip(questions, passages, strict=True)]
        ids, mask = pad(sequences, pad_id=self.template.pad_id)  # [n, L]
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        if self._typed:
            inputs["token_type_ids"] = self._types([len(one) for one in questions], mask)
        on_device = {name: value.to(self.device) for name, value in inputs.items()}
        logits: Tensor = self.model(**on_device).logits.float()  # [n, labels]
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def _types(self, borders: Sequence[int], mask: Tensor) -> Tensor:
        """Return token types [n, L]; those of padding are 0, as Hugging Face's."""
        assert self.template.token_types is not None
        of_question, of_passage = self.template.token_types
        behind = torch.arange(mask.shape[1]) >= torch.tensor(borders)[:, None]
        return torch.where(behind, of_passage, of_question) * mask


def load_reranker(
    model: str,
    *,
    dtype: str = "auto",
    batch_tokens: int | None = None,
    device: torch.device | str | None = None,
    max_length: int = 512,
    attention: str | None = None,
    quantization: Mapping[str, Any] | None = None,
    cache: Path | None = None,
) -> Reranker:
    """Load a cross-encoder as a teacher.

    A model of one label scores with its logit; one of two with the logit of the last label minus
    that of the first, which is the log-odds of "relevant".

    Args:
        model: hub name or folder of a model with a classification head.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where it is fast, else float32.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
        device: None for the current GPU, else the CPU.
        max_length: tokens of a pair at most; the passage is cut, the question never.
        attention: transformers' name of an attention implementation; None for its own choice.
        quantization: transformers' quantisation config as a mapping; None for none.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: the model cannot be loaded, or is no cross-encoder of one or two labels with
            weights of its own that can read this many tokens.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = resolve_model(model, cache=cache)
    with loading_model(model):
        config = AutoConfig.from_pretrained(folder)
    check_size(config, model)
    tokenizer = load_tokenizer(folder, model)
    _check_kind(config, model)
    template = PairTemplate(tokenizer, max_length=max_length)
    check_length(config, model, max_length)
    precision = automatic_dtype(place) if dtype == "auto" else dtype
    weights = load_weights(
        folder,
        model,
        config=config,
        kind=AutoModelForSequenceClassification,
        dtype=precision,
        device=place,
        attention=attention,
        quantization=quantization,
    )
    own = [fingerprint_folder(folder), template.fingerprint, template.layout, precision]
    own += [repr(quantization)] if quantization else []
    return Reranker(
        weights, template, fingerprint=fingerprint("reranker 1", *own), batch_tokens=batch_tokens
    )


def _check_kind(config: PreTrainedConfig, model: str) -> None:
    if config.is_encoder_decoder:
        raise ArtError(
            f"{model!r} ({config.model_type}) is an encoder-decoder model, not a cross-encoder",
            where="teacher.model",
            hint="choose a reranker with a classification head, or another teacher.kind",
        )
    if config.num_labels not in (1, 2):
        raise ArtError(
            f"{model!r} tells {config.num_labels} labels apart; a cross-encoder has one or two",
            where="teacher.model",
            hint="choose a reranker",
        )
