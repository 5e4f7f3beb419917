"""The sizes of retrievers: of those in memory, and of published ones that are not here."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, PreTrainedModel

from art.planning.costs import TowerShape
from art.retriever.encoders import Retriever, Tower
from art.teacher.costs import Stack
from art.teacher.shapes import attention_size, matrices, num_parameters
from art.weights import loading_model

_BERT_BASE: dict[str, int] = {}
_BERT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_PUBLISHED_BERT: dict[str, dict[str, int]] = {
    "bert-base-uncased": _BERT_BASE,
    "google-bert/bert-base-uncased": _BERT_BASE,
    "bert-large-uncased": _BERT_LARGE,
    "google-bert/bert-large-uncased": _BERT_LARGE,
    # Where the shipped settings expect the original release's starts, which `art import` writes.
    "models/mss-base": _BERT_BASE,
    "models/ict-base": _BERT_BASE,
    "models/ict-large": _BERT_LARGE,
}


def retriever_shape(retriever: Retriever) -> TowerShape:
    """Return the shape of a loaded retriever's passage tower."""
    return tower_shape(retriever.passage_tower)


def tower_shape(tower: Tower) -> TowerShape:
    """Return the shape of a tower."""
    if tower.projection is None:
        return _tower_shape(tower.backbone, None)
    weights = sum(one.numel() for one in tower.projection.parameters() if one.ndim > 1)
    return _tower_shape(tower.backbone, tower.embedding_size, weights)


def published_tower(
    name: str, *, num_layers: int | None = None, projection_size: int | None = None
) -> TowerShape | None:
    """Return the shape of a published encoder by its hub name, None where it is not known here.

    Args:
        name: of the model.
        num_layers: layers kept of it; None for all.
        projection_size: of the linear layer after pooling; None for none.
    """
    if name not in _PUBLISHED_BERT:
        return None
    config = BertConfig(**_PUBLISHED_BERT[name])
    config.num_hidden_layers = min(num_layers or config.num_hidden_layers, config.num_hidden_layers)
    with torch.device("meta"):
        return _tower_shape(AutoModel.from_config(config, add_pooling_layer=False), projection_size)


def saved_tower(folder: str) -> TowerShape | None:
    """Return the shape of the encoder of a BERT or a reader in a folder; None where it is neither.

    Raises:
        ArtError: its config cannot be read.
    """
    with loading_model(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    if config.model_type not in ("bert", "dpr"):
        return None
    with torch.device("meta"):
        return _tower_shape(BertModel(config, add_pooling_layer=False), None)


def _tower_shape(
    backbone: PreTrainedModel, projection_size: int | None, projection_weights: int | None = None
) -> TowerShape:
    config = backbone.config
    hidden_size = int(config.hidden_size)
    num_layers = int(getattr(config, "num_hidden_layers", 0))
    head = projection_weights or hidden_size * (projection_size or 0)
    return TowerShape(
        stack=Stack(
            sum(matrices(backbone).values()), num_layers and attention_size(config, "encoder")
        ),
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=projection_size or hidden_size,
        head_parameters=head,
        num_parameters=num_parameters(backbone) + head,
    )
