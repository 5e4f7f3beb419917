"""A reader: a model that finds the answer to a question in a passage, and says how sure it is.

Source: Karpukhin et al. 2020 (DPR), section 6.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DPRReader

from art.answering.spans import best_spans
from art.answering.template import ReaderTemplate, Reading
from art.data.batching import token_batches
from art.data.tokens import pad
from art.errors import ArtError
from art.retriever.padding import encoding_tokens
from art.teacher.models import find_model
from art.weights import fingerprint_folder, loading_model

# Of DPR's own readers: `sequence_length` and `max_answer_length` of its published commands.
LONGEST_INPUT = 350
LONGEST_ANSWER = 10
_PUBLISHED = "facebook/dpr-reader-single-nq-base"


class Logits(NamedTuple):
    """What a reader says of n passages.

    Attributes:
        start: of each token as the first of the answer, [n, L].
        end: likewise as the last, [n, L].
        relevance: of the passage, [n].
    """

    start: Tensor
    end: Tensor
    relevance: Tensor


class FoundSpans(NamedTuple):
    """The best answer in each of n passages.

    Attributes:
        first: the place of its first token among those of the text, [n] int64.
        last: of its last token, [n] int64.
        score: of the span; −∞ where the passage has no text, or none of it was read, [n].
        relevance: of the passage, [n].
    """

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    score: NDArray[np.float32]
    relevance: NDArray[np.float32]


class AnswerReader(nn.Module):
    """DPR's reader with its tokenizer's way of joining a question and a passage.

    Args:
        model: transformers' `DPRReader`.
        template: makes its inputs.
        fingerprint: stands for weights and tokenizer.
    """

    def __init__(self, model: nn.Module, template: ReaderTemplate, *, fingerprint: str) -> None:
        super().__init__()
        self.model = model
        self.template = template
        self.fingerprint = fingerprint

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    def forward(self, ids: Tensor, mask: Tensor) -> Logits:
        """Return what it says of n passages.

        Args:
            ids: token ids, padded on the right, [n, L] int64.
            mask: True = attend, [n, L] bool.
        """
        said: Any = self.model(input_ids=ids, attention_mask=mask.long(), return_dict=True)
        return Logits(said.start_logits, said.end_logits, said.relevance_logits)

    @torch.inference_mode()
    def read(self, readings: Sequence[Reading]) -> FoundSpans:
        """Return the best answer in each of n passages; inputs are batched by their tokens."""
        count = len(readings)
        found = FoundSpans(
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
        )
        starts = torch.tensor([one.text_start for one in readings])
        lengths = [len(one.ids) for one in readings]
        for batch in token_batches(lengths, encoding_tokens(self)):
            ids, mask = pad([readings[i].ids for i in batch], pad_id=self.template.pad_id)
            own = starts[torch.from_numpy(batch)]
            is_text = mask & (torch.arange(ids.shape[1]) >= own[:, None])  # [n, L]
            start, end, relevance = self(ids.to(self.device), mask.to(self.device))
            spans = best_spans(start, end, is_text.to(self.device), max_tokens=LONGEST_ANSWER)
            found.first[batch] = spans.first.cpu() - own
            found.last[batch] = spans.last.cpu() - own
            found.score[batch] = spans.score.cpu()
            found.relevance[batch] = relevance.cpu()
        return found


def load_reader(model: str, *, cache: Path | None = None) -> AnswerReader:
    """Load a reader, in evaluation mode.

    Args:
        model: hub name or folder of a `DPRReader`, such as facebook/dpr-reader-single-nq-base.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: it cannot be loaded, or is no reader.
    """
    found, hint = find_model(model, cache=cache), "name a reader, such as " + _PUBLISHED
    if found.config.model_type != "dpr":
        raise ArtError(f"{model!r} ({found.config.model_type}) is not a DPR reader", hint=hint)
    with loading_model(model):
        weights, report = DPRReader.from_pretrained(
            found.folder, config=found.config, dtype=torch.float32, output_loading_info=True
        )
    # transformers would go on with random numbers in their place.
    if missing := sorted(report["missing_keys"]):
        raise ArtError(
            f"{model!r} lacks {len(missing)} weights of a reader, such as {missing[0]}", hint=hint
        )
    length = min(LONGEST_INPUT, found.config.max_position_embeddings)
    template = ReaderTemplate(found.tokenizer, max_length=length)
    return AnswerReader(weights, template, fingerprint=fingerprint_folder(found.folder)).eval()
