"""What a tower's vectors depend on, apart from how we keep it: all that a target reads.

The settings of a retriever are read here and nowhere else in this room.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from art.data.encoding import special_ends
from art.data.prompts import RetrieverTemplate
from art.retriever.projection import layers_of
from art.retriever.static import StaticEmbeddingModel

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from art.retriever.encoders import Retriever, Tower
    from art.retriever.settings import Pooling

Side = Literal["question", "passage"]


@dataclass(frozen=True)
class TowerParts:
    """One tower, taken apart.

    Attributes:
        side: whose texts it encodes.
        tower: token ids and mask → vectors [n, D].
        backbone: the encoder inside it.
        pooling: how its states become one vector.
        projection: the linear layers behind the pooling, each with its activation; often none.
        normalize: whether vectors have length 1.
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        template: token ids as our own commands read a text.
        prefix: text before every text.
        max_length: tokens at most, special tokens included.
        pad_id: the token id of masked positions.
        first_ids: special token ids before a text.
        last_ids: special token ids after a text.
        between: what stands between a title and a text.
        dtype: what our own commands compute the backbone in.
        temperature: what inner products are divided by in training.
    """

    side: Side
    tower: Tower
    backbone: PreTrainedModel
    pooling: Pooling
    projection: list[tuple[nn.Linear, nn.Module]]
    normalize: bool
    tokenizer: Any
    template: RetrieverTemplate
    prefix: str
    max_length: int
    pad_id: int
    first_ids: list[int]
    last_ids: list[int]
    between: str
    dtype: str
    temperature: float

    @property
    def is_static(self) -> bool:
        """Whether the encoder is a table of word vectors."""
        return isinstance(self.backbone, StaticEmbeddingModel)

    @property
    def embedding_size(self) -> int:
        """D, the length of a vector."""
        return self.tower.embedding_size


def take_apart(retriever: Retriever, side: Side) -> TowerParts:
    """Return the parts of one tower of a retriever; nothing is copied."""
    settings, tokenizer = retriever.settings, retriever.tokenizer
    is_question = side == "question"
    tower = retriever.question_tower if is_question else retriever.passage_tower
    template = retriever.question_template if is_question else retriever.passage_template
    first_ids, last_ids = special_ends(tokenizer)
    if template.append_eos and last_ids[-1:] != [tokenizer.eos_token_id]:
        last_ids = [*last_ids, int(tokenizer.eos_token_id)]
    return TowerParts(
        side=side,
        tower=tower,
        backbone=tower.backbone,
        pooling=tower.pooling,
        projection=[] if tower.projection is None else layers_of(tower.projection),
        normalize=tower.normalize,
        tokenizer=tokenizer,
        template=template,
        prefix=template.prefix,
        max_length=template.max_length,
        pad_id=retriever.pad_id,
        first_ids=first_ids,
        last_ids=last_ids,
        between=" " if settings.title_join == "space" else tokenizer.sep_token or "\n",
        dtype=settings.dtype,
        temperature=settings.temperature,
    )


def encoding_notes(parts: TowerParts) -> Iterator[str]:
    """Yield a line where other tools compute in another precision, or pad what must not be."""
    if parts.tower.one_length:
        yield (
            f"padding changes the vectors of {parts.backbone.config.model_type}: art encodes texts"
            " one length at a time, and other tools should encode them one by one"
        )
    if parts.dtype != "float32":
        yield (
            f"weights are written in float32 and other tools compute in it; art computes this "
            f"retriever in {parts.dtype}, so that vectors differ by its rounding"
        )
