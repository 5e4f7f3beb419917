"""What turns texts into vectors besides the weights, and the file that keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from art.config import Manifest

MANIFEST = "retriever.json"
TOWER_FOLDERS = {"question": "question_tower", "passage": "passage_tower"}
# 2 added how titles are joined, the end token and activations; what 1 lacks has its old meaning.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

Pooling = Literal["cls", "mean", "last"]
TitleJoin = Literal["separator", "space"]
Activation = Literal["identity", "tanh", "relu", "gelu", "sigmoid"]


@dataclass(frozen=True, slots=True)
class RetrieverSettings:
    """What turns texts into vectors besides the weights; saved with them.

    Args:
        pooling: `cls` (first position), `mean` (attended positions) or `last` (last attended one).
        normalize: scale vectors to length 1.
        temperature: what inner products are divided by, in training.
        question_length: tokens a question is cut to, specials included.
        passage_length: tokens a passage is cut to, specials included.
        question_prefix: text before every question.
        passage_prefix: text before every passage.
        num_layers: layers kept of the backbone; None for all.
        projection_size: output size of a projection after pooling; None for no projection.
        dtype: what the backbone computes in; weights and vectors are float32 in any case.
        tied: one tower serves questions and passages.
        title_join: what stands between a title and its text: the tokenizer's `separator`, or a
            `space`.
        append_eos: end every text with the end-of-sequence token, where the tokenizer does not do
            it. None in folders of earlier versions: where pooling is `last` and there is one, also
            behind another token that the tokenizer puts there.
        projection_activations: behind each layer of the projection; empty for one linear layer.
    """

    pooling: Pooling
    normalize: bool
    temperature: float
    question_length: int
    passage_length: int
    question_prefix: str
    passage_prefix: str
    num_layers: int | None
    projection_size: int | None
    dtype: Literal["float32", "bfloat16"]
    tied: bool
    title_join: TitleJoin = "separator"
    append_eos: bool | None = None
    projection_activations: tuple[Activation, ...] = ()

    def in_words(self) -> str:
        """Return what shapes the vectors, in one line."""
        return (
            f"pooling {self.pooling}, {'' if self.normalize else 'not '}normalised, questions of"
            f" {self.question_length:,} tokens after {self.question_prefix!r}, passages of"
            f" {self.passage_length:,} after {self.passage_prefix!r}, title and text joined by a"
            f" {self.title_join}"
        )


class RetrieverManifest(Manifest):
    """`retriever.json`: how to put the tower folders beside it together again."""

    format_version: int
    settings: RetrieverSettings
    versions: dict[str, str]
    provenance: dict[str, Any]
