"""The sizes of models: of those in memory, and of published ones that are not at hand."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoModelForSeq2SeqLM,
    BertConfig,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
)

from art.planning.costs import LanguageModelShape, RerankerShape, Stack, TeacherShape, TowerShape
from art.retriever.encoders import Retriever, Tower
from art.teacher.base import Teacher
from art.teacher.reranker import Reranker

# What the decoder multiplies the context's tokens with, as T5 and as BART's kin name it.
_CROSS = re.compile(r"(EncDecAttention\.[kv]|encoder_attn\.[kv]_proj)\.weight$")

_BERT_BASE: dict[str, int] = {}
_BERT_LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
_T5 = {"vocab_size": 32128, "d_kv": 64, "feed_forward_proj": "gated-gelu"}
_T5_LARGE = _T5 | {"d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16}
_T5_XL = _T5 | {"d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32}
_T5_XXL = _T5 | {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
_PUBLISHED_BERT: dict[str, dict[str, int]] = {
    "bert-base-uncased": _BERT_BASE,
    "google-bert/bert-base-uncased": _BERT_BASE,
    "bert-large-uncased": _BERT_LARGE,
    "google-bert/bert-large-uncased": _BERT_LARGE,
}
_PUBLISHED_T5: dict[str, dict[str, Any]] = {
    "bigscience/T0_3B": _T5_XL,
    "bigscience/T0": _T5_XXL,
    "bigscience/T0pp": _T5_XXL,
    "google/t5-xl-lm-adapt": _T5_XL,
    "google/t5-xxl-lm-adapt": _T5_XXL,
    "google/flan-t5-large": _T5_LARGE,
    "google/flan-t5-xl": _T5_XL,
    "google/flan-t5-xxl": _T5_XXL,
}


def retriever_shape(retriever: Retriever) -> TowerShape:
    """Return the shape of a loaded retriever's passage tower."""
    return tower_shape(retriever.passage_tower)


def tower_shape(tower: Tower) -> TowerShape:
    """Return the shape of a tower."""
    return _tower_shape(
        tower.backbone, tower.projection.weight.shape[0] if tower.projection else None
    )


def teacher_shape(teacher: Teacher) -> TeacherShape:
    """Return the shape of a loaded teacher."""
    of = _reranker_shape if isinstance(teacher, Reranker) else _teacher_shape
    return of(teacher.model)


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


def published_teacher(name: str) -> LanguageModelShape | None:
    """Return the shape of a published language model by its hub name, None where it is unknown."""
    if name not in _PUBLISHED_T5:
        return None
    config = T5Config(**_PUBLISHED_T5[name])
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    shape = _teacher_shape(model)
    # These models have a head of their own, which a new model of this config may share with the
    # table of embeddings.
    shared = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return replace(shape, num_parameters=shape.num_parameters + shared * shape.head_parameters)


def _tower_shape(backbone: PreTrainedModel, projection_size: int | None) -> TowerShape:
    config = backbone.config
    hidden_size = int(config.hidden_size)
    num_layers = int(getattr(config, "num_hidden_layers", 0))
    head = hidden_size * (projection_size or 0)
    return TowerShape(
        stack=Stack(
            sum(_matrices(backbone).values()), num_layers and _attention_size(config, "encoder")
        ),
        num_layers=num_layers,
        hidden_size=hidden_size,
        embedding_size=projection_size or hidden_size,
        head_parameters=head,
        num_parameters=_count(backbone) + head,
    )


def _reranker_shape(model: PreTrainedModel) -> RerankerShape:
    matrices = _matrices(model)
    body = f"{model.base_model_prefix}."
    # Decoder-only models classify every token and keep the last one's answer.
    at_one = {
        name for name in matrices if "pooler." in name or not name.startswith((body, "score."))
    }
    head_parameters = sum(matrices[name] for name in at_one)
    attention_size = _attention_size(model.config.get_text_config(), "encoder")
    return RerankerShape(
        stack=Stack(sum(matrices.values()) - head_parameters, attention_size),
        head_parameters=head_parameters,
        num_parameters=_count(model),
    )


def _teacher_shape(model: PreTrainedModel) -> LanguageModelShape:
    head = model.get_output_embeddings()
    head_parameters = _size(head, head.weight) if head is not None else 0
    # The head may share its numbers with the table of embeddings: told apart by module, not name.
    matrices = _matrices(model, but=head)
    config = model.config.get_text_config()
    whole = {"vocab_size": int(config.vocab_size), "num_parameters": _count(model)}
    decoder_size = _attention_size(config, "decoder")
    if not config.is_encoder_decoder:
        decoder = Stack(sum(matrices.values()), decoder_size)
        return LanguageModelShape(
            None, decoder, cross=Stack(), head_parameters=head_parameters, **whole
        )
    encoder = _encoder_name(model)
    encoding = sum(size for name, size in matrices.items() if name.startswith(encoder))
    crossing = sum(size for name, size in matrices.items() if _CROSS.search(name))
    decoding = sum(matrices.values()) - encoding - crossing
    return LanguageModelShape(
        encoder=Stack(encoding, _attention_size(config, "encoder")),
        decoder=Stack(decoding, decoder_size),
        cross=Stack(crossing, decoder_size),
        head_parameters=head_parameters,
        **whole,
    )


def _encoder_name(model: PreTrainedModel) -> str:
    encoder = model.get_encoder()
    name = next(name for name, module in model.named_modules() if module is encoder)
    return f"{name}."


def _matrices(model: nn.Module, *, but: nn.Module | None = None) -> dict[str, int]:
    """Return the sizes of what tokens are multiplied with: matrices that are not look-up tables."""
    return {
        f"{name}.{own}": _size(module, weight)
        for name, module in model.named_modules()
        if not isinstance(module, nn.Embedding) and module is not but
        for own, weight in module.named_parameters(recurse=False)
        if weight.ndim == 2
    }


def _size(module: nn.Module, weight: torch.Tensor) -> int:
    """Return the numbers in a module's matrix, which may be packed into few bits."""
    if isinstance(module, nn.Linear):
        return module.in_features * module.out_features
    return weight.numel()


def _attention_size(config: PreTrainedConfig, part: Literal["encoder", "decoder"]) -> int:
    """Return heads × size of a head, summed over the layers."""
    layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
    if config.is_encoder_decoder:
        # T5 and BART's kin each have their own names for what may differ between the parts.
        names = (
            ("num_decoder_layers", "decoder_layers") if part == "decoder" else ("encoder_layers",)
        )
        layers = next((int(n) for name in names if (n := getattr(config, name, None))), layers)
    size = getattr(config, "d_kv", None) or getattr(config, "head_dim", None)
    return layers * heads * int(size or config.hidden_size // heads)


def _count(model: nn.Module) -> int:
    """Return the numbers in a model's parameters, each once."""
    found = {
        id(weight): _size(module, weight) if weight.ndim == 2 else weight.numel()
        for module in model.modules()
        for weight in module.parameters(recurse=False)
    }
    return sum(found.values())
