"""The sizes of models, and the shapes of language models: in memory, or published and not here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedConfig, PreTrainedModel, T5Config

from art.teacher.costs import LanguageModelShape, Stack

# What the decoder multiplies the context's tokens with, as T5 and as BART's kin name it.
_CROSS = re.compile(r"(EncDecAttention\.[kv]|encoder_attn\.[kv]_proj)\.weight$")

_T5 = {"vocab_size": 32128, "d_kv": 64, "feed_forward_proj": "gated-gelu"}
_T5_LARGE = _T5 | {"d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16}
_T5_XL = _T5 | {"d_model": 2048, "d_ff": 5120, "num_layers": 24, "num_heads": 32}
_T5_XXL = _T5 | {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
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


def language_model_shape(model: PreTrainedModel, *, shares_contexts: bool) -> LanguageModelShape:
    """Return the shape of a language model.

    Args:
        model: decoder-only, or an encoder–decoder.
        shares_contexts: whether a passage's context is the same for all questions.
    """
    head = model.get_output_embeddings()
    # The head may share its numbers with the table of embeddings: told apart by module, not name.
    sizes = matrices(model, but=head)
    config = model.config.get_text_config()
    decoder_size = attention_size(config, "decoder")
    encoder, cross, decoding = None, Stack(), sum(sizes.values())
    if config.is_encoder_decoder:
        name = _encoder_name(model)
        encoding = sum(size for one, size in sizes.items() if one.startswith(name))
        crossing = sum(size for one, size in sizes.items() if _CROSS.search(one))
        decoding -= encoding + crossing
        encoder = Stack(encoding, attention_size(config, "encoder"))
        cross = Stack(crossing, decoder_size)
    return LanguageModelShape(
        encoder=encoder,
        decoder=Stack(decoding, decoder_size),
        cross=cross,
        head_parameters=_size(head, head.weight) if head is not None else 0,
        vocab_size=int(config.vocab_size),
        num_parameters=num_parameters(model),
        shares_contexts=shares_contexts,
    )


def published_language_model(name: str, *, shares_contexts: bool) -> LanguageModelShape | None:
    """Return the shape of a published language model by its hub name, None where it is unknown.

    Args:
        name: of the model.
        shares_contexts: whether a passage's context is the same for all questions.
    """
    if name not in _PUBLISHED_T5:
        return None
    config = T5Config(**_PUBLISHED_T5[name])
    with torch.device("meta"):
        model = AutoModelForSeq2SeqLM.from_config(config)
    shape = language_model_shape(model, shares_contexts=shares_contexts)
    # These models have a head of their own, which a new model of this config may share with the
    # table of embeddings.
    shared = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return replace(shape, num_parameters=shape.num_parameters + shared * shape.head_parameters)


def _encoder_name(model: PreTrainedModel) -> str:
    encoder = model.get_encoder()
    name = next(name for name, module in model.named_modules() if module is encoder)
    return f"{name}."


def matrices(model: nn.Module, *, but: nn.Module | None = None) -> dict[str, int]:
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


def attention_size(config: PreTrainedConfig, part: Literal["encoder", "decoder"]) -> int:
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


def num_parameters(model: nn.Module) -> int:
    """Return the numbers in a model's parameters, each once."""
    found = {
        id(weight): _size(module, weight) if weight.ndim == 2 else weight.numel()
        for module in model.modules()
        for weight in module.parameters(recurse=False)
    }
    return sum(found.values())
