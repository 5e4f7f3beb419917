"""The retriever: a question tower and a passage tower that turn texts into vectors.

The score of a question and a passage is the inner product of their vectors over the temperature;
both towers start from the same weights and, unless tied, learn apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from art import files
from art.data.batching import BatchLimits, token_batches
from art.data.prompts import RetrieverTemplate
from art.data.tokens import pad
from art.retriever.padding import by_length, encoding_tokens, training_limits
from art.retriever.projection import Projection, output_size, save_projection
from art.retriever.settings import (
    FORMAT_VERSION,
    MANIFEST,
    TOWER_FOLDERS,
    Pooling,
    RetrieverManifest,
    RetrieverSettings,
)
from art.weights import fingerprint_tensors, saving_weights, written_by


class Tower(nn.Module):
    """A backbone with pooling, an optional projection and optional normalisation.

    Args:
        backbone: a Hugging Face encoder whose output has `last_hidden_state` [n, L, hidden].
        pooling: see `RetrieverSettings`.
        normalize: see `RetrieverSettings`.
        dtype: see `RetrieverSettings`.
        projection: one layer or several from the hidden size to D, or None.

    Attributes:
        one_length: encode only texts of one length together, because padding would change their
            vectors; loading finds out whether it would.
    """

    one_length: bool

    def __init__(
        self,
        backbone: PreTrainedModel,
        *,
        pooling: Pooling,
        normalize: bool,
        dtype: Literal["float32", "bfloat16"],
        projection: Projection | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection
        self.pooling = pooling
        self.normalize = normalize
        self.dtype = dtype
        self.one_length = False

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on, unless every weight is frozen: a frozen tower's vectors stay fixed."""
        return super().train(mode and self.trainable)

    @property
    def trainable(self) -> bool:
        """Whether any weight is not frozen."""
        return any(parameter.requires_grad for parameter in self.parameters())

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        if self.projection is None:
            return int(self.backbone.config.hidden_size)
        return output_size(self.projection)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode one batch.

        Args:
            ids: token ids, [n, L] int64.
            mask: True = attend, [n, L] bool.

        Returns:
            Vectors, [n, D] float32 (float64 for a float64 model).
        """
        if self.one_length:
            return by_length(self.together, ids, mask, BatchLimits(ids.numel(), padding=0))
        return self.together(ids, mask)

    def together(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Encode one batch at once, whatever the lengths; see `forward`."""
        autocast = torch.autocast(
            ids.device.type, dtype=torch.bfloat16, enabled=self.dtype == "bfloat16"
        )
        with autocast:
            # No token types: their default is zero everywhere, as DPR and ART were trained.
            output = self.backbone(input_ids=ids, attention_mask=mask.long())
        vectors = pool(output.last_hidden_state, mask, self.pooling)
        if self.projection is not None:
            vectors = self.projection(vectors)  # [n, D]
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def embed(self, ids: Tensor, mask: Tensor) -> NDArray[np.float32]:
        """Encode one batch without dropout or gradient.

        Args:
            ids: as for `forward`; from pinned memory they are uploaded while the device is at work.
            mask: likewise.

        Returns:
            Vectors, [n, D].
        """
        device = next(self.parameters()).device
        with quiet(self):
            found = self(ids.to(device, non_blocking=True), mask.to(device, non_blocking=True))
        vectors: NDArray[np.float32] = found.float().cpu().numpy()
        return vectors


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Reduce a sequence of hidden states to one vector, in float32 at least.

    Args:
        hidden: [n, L, D].
        mask: True = attend, [n, L] bool.
        pooling: see `RetrieverSettings`; `cls` is the first position, padding being on the right.

    Returns:
        [n, D]; zeros where `mean` has nothing to attend to.
    """
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if pooling == "cls":
        return hidden[:, 0].to(wide)
    if pooling == "last":
        positions = torch.arange(mask.shape[1], device=mask.device)
        last = (positions * mask).amax(dim=1)  # [n]
        return hidden[torch.arange(len(hidden), device=hidden.device), last].to(wide)
    weights = mask.unsqueeze(-1).to(wide)  # [n, L, 1]
    return (hidden.to(wide) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)


class Retriever(nn.Module):
    """Two towers, the tokenizer they share, and the settings that make their vectors.

    Args:
        question_tower: encodes questions.
        passage_tower: encodes passages; the same object when tied.
        tokenizer: of both towers.
        settings: saved beside the weights.
    """

    def __init__(
        self,
        question_tower: Tower,
        passage_tower: Tower,
        tokenizer: PreTrainedTokenizerBase,
        settings: RetrieverSettings,
    ) -> None:
        super().__init__()
        self.question_tower = question_tower
        self.passage_tower = passage_tower
        self.tokenizer = tokenizer
        self.settings = settings
        append_eos = settings.append_eos
        if append_eos is None:
            append_eos = settings.pooling == "last" and tokenizer.eos_token_id is not None
        self.question_template = RetrieverTemplate(
            tokenizer,
            max_length=settings.question_length,
            prefix=settings.question_prefix,
            append_eos=append_eos,
        )
        self.passage_template = RetrieverTemplate(
            tokenizer,
            max_length=settings.passage_length,
            prefix=settings.passage_prefix,
            append_eos=append_eos,
            title_join=settings.title_join,
        )

    @property
    def temperature(self) -> float:
        """What inner products are divided by in training."""
        return self.settings.temperature

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        return self.passage_tower.embedding_size

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where token ids must be."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> str:
        """What the towers compute in; weights and vectors are float32 in any case."""
        return self.settings.dtype

    @property
    def training_limits(self) -> BatchLimits | None:
        """The limits of `forward` with which a training step of these towers is fast here."""
        return training_limits(self)

    @property
    def pad_id(self) -> int:
        """The token id that fills short rows; always masked."""
        return padding_id(self.tokenizer)

    def forward(
        self,
        question_ids: Tensor | None,
        question_mask: Tensor | None,
        passage_ids: Tensor | None,
        passage_mask: Tensor | None,
        *,
        limits: BatchLimits | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Encode questions and passages in one call, as DDP sees only one.

        Args:
            question_ids: [B, L] int64, or None.
            question_mask: True = attend, [B, L] bool, or None.
            passage_ids: [P, L] int64, or None.
            passage_mask: True = attend, [P, L] bool, or None.
            limits: see `by_length`.

        Returns:
            Question vectors [B, D] and passage vectors [P, D]; None for a pair that is None.
        """
        questions = passages = None
        if question_ids is not None and question_mask is not None:
            tower = self.question_tower
            questions = by_length(tower, question_ids, question_mask, limits)  # [B, D]
        if passage_ids is not None and passage_mask is not None:
            tower = self.passage_tower
            passages = by_length(tower, passage_ids, passage_mask, limits)  # [P, D]
        return questions, passages

    def embed_questions(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the vectors of questions, without dropout or gradient, [n, D] float32."""
        return self.embed_tokens("question", self.question_template.questions(texts))

    def embed_tokens(
        self,
        tower: Literal["question", "passage"],
        sequences: Sequence[ArrayLike],
        *,
        batch_tokens: int | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of token sequences, without dropout or gradient.

        Args:
            tower: which one encodes.
            sequences: n sequences of token ids.
            batch_tokens: the most token positions in one batch, padding included; None for what
                is fast on the retriever's device.

        Returns:
            [n, D] float32, in the order of `sequences`.
        """
        chosen = self.question_tower if tower == "question" else self.passage_tower
        vectors = np.empty((len(sequences), chosen.embedding_size), dtype=np.float32)
        lengths = [len(np.asarray(sequence)) for sequence in sequences]
        for batch in token_batches(lengths, batch_tokens or encoding_tokens(chosen)):
            padded = pad([sequences[i] for i in batch], pad_id=self.pad_id)
            vectors[batch] = chosen.embed(*padded)
        return vectors

    def fingerprint(self) -> str:
        """Return what an index must have been built with: all that shapes a passage vector."""
        shaping = (
            self.settings.pooling,
            self.settings.normalize,
            self.settings.dtype,
            *self.settings.projection_activations,
            *(["one length at a time"] if self.passage_tower.one_length else []),
        )
        return files.fingerprint(
            fingerprint_tensors(self.passage_tower.named_parameters()),
            self.passage_template.fingerprint,
            *(str(one) for one in shaping),
        )

    def save(self, folder: str | Path, *, provenance: Mapping[str, Any] | None = None) -> None:
        """Write the retriever as one ordinary Hugging Face folder per tower, and `retriever.json`.

        Args:
            folder: replaced whole; what stood there survives a write that fails.
            provenance: what made these weights, as JSON values; kept in `retriever.json`.

        Raises:
            ArtError: a file cannot be written.
        """
        manifest = RetrieverManifest(
            format_version=FORMAT_VERSION,
            settings=self.settings,
            versions=written_by(),
            provenance=dict(provenance or {}),
        )
        with files.atomic_folder(folder) as partial, saving_weights(Path(folder)):
            self._save_tower(self.question_tower, partial / TOWER_FOLDERS["question"])
            if not self.settings.tied:
                self._save_tower(self.passage_tower, partial / TOWER_FOLDERS["passage"])
            manifest.write(partial / MANIFEST)

    def _save_tower(self, tower: Tower, folder: Path) -> None:
        tower.backbone.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        if tower.projection is not None:
            save_projection(tower.projection, folder)


def padding_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id that fills short rows; decoder models often name none, and any will do."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    return 0


@contextmanager
def quiet(module: nn.Module) -> Iterator[None]:
    """Compute without dropout and gradient in this block."""
    # Every submodule gets its own mode back: a user may have frozen the dropout of some.
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for one, training in modes:
            one.training = training
