"""Language models from their names: which kind they are, their weights, a fast precision."""

from __future__ import annotations

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from art.data.prompts import Family, ScorerTemplate
from art.errors import ArtError
from art.weights import loading_model


def family_of(config: PreTrainedConfig, model: str) -> Family:
    """Return how a model reads a question: in its decoder, or behind the passage.

    Args:
        config: the model's.
        model: what the user called it.

    Raises:
        ArtError: it does not generate text.
    """
    if config.is_encoder_decoder:
        return "encoder-decoder"
    kind = type(config)
    # transformers would load BERT as a decoder-only model that sees what comes next.
    fills_blanks = kind in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    if kind not in MODEL_FOR_CAUSAL_LM_MAPPING or fills_blanks:
        raise ArtError(
            f"{model!r} ({config.model_type}) cannot score questions: it generates no text",
            where="scorer.model",
            hint="choose an encoder-decoder (T5, T0, FLAN-T5) or decoder-only language model",
        )
    return "causal"


def check_length(config: PreTrainedConfig, model: str, template: ScorerTemplate) -> None:
    """Raise an ArtError if the template may make inputs longer than the model's positions."""
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    lengths = (template.max_length, template.question_length)
    needed = sum(lengths) if template.family == "causal" else max(lengths)
    if limit and 0 < limit < needed:
        raise ArtError(
            f"{model!r} reads {limit} tokens at most, but context and question may take {needed}",
            where="scorer.max_length",
            hint="lower scorer.max_length or scorer.question_length",
        )


def load_weights(
    folder: str,
    model: str,
    *,
    config: PreTrainedConfig,
    family: Family,
    dtype: str,
    device: torch.device,
    attention: str | None,
) -> PreTrainedModel:
    """Load a language model with its head.

    Args:
        folder: where it is, or its hub name.
        model: what the user called it.
        config: the model's.
        family: from `family_of`.
        dtype: a float type's name in torch.
        device: where to put it.
        attention: transformers' name of an attention implementation; None for its own choice.

    Raises:
        ArtError: it cannot be loaded, or weights are missing.
    """
    kind = AutoModelForCausalLM if family == "causal" else AutoModelForSeq2SeqLM
    chosen = {} if attention is None else {"attn_implementation": attention}
    with loading_model(model):
        weights, report = kind.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            output_loading_info=True,
            trust_remote_code=False,
            **chosen,
        )
        weights = weights.to(device)
    # transformers would go on with random numbers in their place.
    if missing := sorted(report["missing_keys"]):
        raise ArtError(
            f"{model!r} lacks {len(missing)} weights of a language model, such as {missing[0]}",
            where="scorer.model",
            hint="choose a checkpoint that was saved with its language-model head",
        )
    loaded: PreTrainedModel = weights
    return loaded


def automatic_dtype(device: torch.device) -> str:
    """Return the float type in which a device is fast: `bfloat16` where it can, else `float32`."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Without these instructions a CPU emulates bfloat16, several times slower than float32.
        instructions = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        flags = [getattr(torch.cpu, name, None) for name in instructions]
        fast = device.type == "cpu" and any(flag is not None and flag() for flag in flags)
    return "bfloat16" if fast else "float32"
