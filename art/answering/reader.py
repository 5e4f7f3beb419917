"""A reader: a model that finds the answer to a question in a passage, and says how sure it is.

Source: Karpukhin et al. 2020 (DPR), section 6.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertModel, DPRConfig, DPRReader

from art import files
from art.answering.spans import best_spans
from art.answering.template import ReaderTemplate, Reading
from art.config import Manifest
from art.data.batching import token_batches
from art.data.tokens import pad
from art.errors import ArtError, ConfigError, MismatchError
from art.retriever.encoders import quiet
from art.retriever.padding import encoding_tokens
from art.teacher.models import FoundModel, find_model
from art.weights import (
    fingerprint_tensors,
    loading_model,
    saving_weights,
    without_load_report,
    written_by,
)

# Of DPR's own readers: `sequence_length` and `max_answer_length` of its published commands.
LONGEST_INPUT = 350
LONGEST_ANSWER = 10
_PUBLISHED = "facebook/dpr-reader-single-nq-base"
MANIFEST = "reader.json"
_FORMAT_VERSION = 1


class ReaderManifest(Manifest):
    """`reader.json`: what a folder of ours says of its reader besides the weights.

    Attributes:
        format_version: of this layout.
        max_length: tokens of a question and a passage together.
        versions: of the libraries that wrote it.
        provenance: what made the weights.
    """

    format_version: int
    max_length: int
    versions: dict[str, str]
    provenance: dict[str, Any]


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
        tokenizer: of the model.
        max_length: tokens of a question and a passage together.
    """

    def __init__(self, model: DPRReader, tokenizer: Any, *, max_length: int) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.template = ReaderTemplate(tokenizer, max_length=max_length)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> str:
        """What it computes in."""
        return "float32"

    def fingerprint(self) -> str:
        """Return what stands for all that its answers depend on besides the texts."""
        return files.fingerprint(
            fingerprint_tensors(self.model.named_parameters()),
            self.template.fingerprint,
            str(self.template.max_length),
        )

    def forward(self, ids: Tensor, mask: Tensor) -> Logits:
        """Return what it says of n passages.

        Args:
            ids: token ids, padded on the right, [n, L] int64.
            mask: True = attend, [n, L] bool.
        """
        said: Any = self.model(input_ids=ids, attention_mask=mask.long(), return_dict=True)
        return Logits(said.start_logits, said.end_logits, said.relevance_logits)

    def read(self, readings: Sequence[Reading]) -> FoundSpans:
        """Return the best answer in each of n passages; inputs are batched by their tokens.

        Raises:
            ArtError: a logit is not a finite number.
        """
        count = len(readings)
        found = FoundSpans(
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
        )
        starts = torch.tensor([one.text_start for one in readings])
        lengths = [len(one.ids) for one in readings]
        with quiet(self):
            for batch in token_batches(lengths, encoding_tokens(self)):
                ids, mask = pad([readings[i].ids for i in batch], pad_id=self.template.pad_id)
                own = starts[torch.from_numpy(batch)]
                is_text = mask & (torch.arange(ids.shape[1]) >= own[:, None])  # [n, L]
                said: Logits = self(ids.to(self.device), mask.to(self.device))
                if not all(bool(logits.isfinite().all()) for logits in said):
                    raise ArtError(
                        "what the reader says of a passage is not a finite number",
                        hint="its weights have diverged: train with a lower learning rate",
                    )
                start, end, relevance = said
                spans = best_spans(start, end, is_text.to(self.device), max_tokens=LONGEST_ANSWER)
                found.first[batch] = spans.first.cpu() - own
                found.last[batch] = spans.last.cpu() - own
                found.score[batch] = spans.score.cpu()
                found.relevance[batch] = relevance.cpu()
        return found

    def save(self, folder: str | Path, *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write it as an ordinary folder of transformers' `DPRReader`, and `reader.json`.

        Args:
            folder: replaced whole; what stood there survives a write that fails.
            provenance: what made these weights, as JSON values; kept in `reader.json`.

        Raises:
            ArtError: a file cannot be written.
        """
        manifest = ReaderManifest(
            format_version=_FORMAT_VERSION,
            max_length=self.template.max_length,
            versions=written_by(),
            provenance=dict(provenance or {}),
        )
        with files.atomic_folder(folder) as partial, saving_weights(Path(folder)):
            self.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            manifest.write(partial / MANIFEST)


def load_reader(model: str, *, cache: Path | None = None) -> AnswerReader:
    """Load a reader, in evaluation mode.

    Args:
        model: hub name or folder of a `DPRReader`, such as facebook/dpr-reader-single-nq-base.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: it cannot be loaded, or is no reader.
    """
    found, hint = find_model(model, cache=cache), f"name a reader, such as {_PUBLISHED}"
    if found.config.model_type != "dpr":
        raise ArtError(f"{model!r} ({found.config.model_type}) is not a DPR reader", hint=hint)
    length = _trained_length(Path(found.folder))
    length = length or min(LONGEST_INPUT, found.config.max_position_embeddings)
    return AnswerReader(_published(found, hint), found.tokenizer, max_length=length).eval()


def create_reader(
    model: str, *, max_length: int, seed: int, cache: Path | None = None
) -> AnswerReader:
    """Return a reader to train.

    Args:
        model: hub name or folder of a `DPRReader`, which is taken as it is, or of a BERT, which
            gets new heads.
        max_length: tokens of a question and a passage together.
        seed: of the new heads.
        cache: as for `load_reader`.

    Raises:
        ArtError: it cannot be loaded, or is neither.
        ConfigError: it has fewer positions than `max_length`.
    """
    found, hint = find_model(model, cache=cache), f"start from a BERT, or a reader: {_PUBLISHED}"
    check_reader_length(found, max_length)
    match found.config.model_type:
        case "dpr":
            weights = _published(found, hint)
        case "bert":
            weights = _with_new_heads(found, seed, hint)
        case other:
            raise ArtError(f"{model!r} ({other}) is not a BERT, nor a DPR reader", hint=hint)
    return AnswerReader(weights, found.tokenizer, max_length=max_length).train()


def check_reader_length(found: FoundModel, max_length: int) -> None:
    """Raise a ConfigError if inputs may be longer than the model's positions."""
    positions = getattr(found.config, "max_position_embeddings", None)
    if positions is not None and positions < max_length:
        raise ConfigError(
            f"{max_length}, but {found.name!r} has positions for {positions} tokens",
            where="reader.max_length",
            hint="lower it",
        )


def _published(found: FoundModel, hint: str) -> DPRReader:
    with loading_model(found.name), without_load_report():
        weights, report = DPRReader.from_pretrained(
            found.folder, config=found.config, dtype=torch.float32, output_loading_info=True
        )
    _check_complete(report, found.name, hint)
    return weights


def _with_new_heads(found: FoundModel, seed: int, hint: str) -> DPRReader:
    with loading_model(found.name), without_load_report():
        encoder, report = BertModel.from_pretrained(
            found.folder,
            config=found.config,
            dtype=torch.float32,
            add_pooling_layer=False,
            output_loading_info=True,
        )
    _check_complete(report, found.name, hint)
    shape = found.config.to_dict()
    for of_bert in ("model_type", "architectures", "dtype"):
        shape.pop(of_bert, None)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = DPRReader(DPRConfig(**shape))
    reader.span_predictor.encoder.bert_model.load_state_dict(encoder.state_dict())
    return reader


def _check_complete(report: Mapping[str, Any], model: str, hint: str) -> None:
    # transformers would go on with random numbers in their place.
    if missing := sorted(report["missing_keys"]):
        raise ArtError(
            f"{model!r} lacks {len(missing)} weights of a reader, such as {missing[0]}", hint=hint
        )


def _trained_length(folder: Path) -> int | None:
    """Return the length that a folder of ours was trained with; None of another folder."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    manifest = ReaderManifest.read(path)
    if manifest.format_version != _FORMAT_VERSION:
        raise MismatchError(
            f"layout {manifest.format_version}, this version reads {_FORMAT_VERSION}", where=path
        )
    return manifest.max_length
