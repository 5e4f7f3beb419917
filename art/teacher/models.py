"""Teachers' models from their names: their family, their weights, a precision that is fast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from art import files
from art.data.prompts import Family
from art.errors import ArtError, ConfigError, first_line
from art.teacher.quantization import FAULTS, quantization_config, quantizing
from art.weights import check_size, fingerprint_folder, load_tokenizer, loading_model, resolve_model

# RoBERTa and its kin count positions from behind the padding token's id.
_POSITIONS_BEHIND_PADDING = {
    *("camembert", "data2vec-text", "longformer", "mpnet", "roberta", "roberta-prelayernorm"),
    *("xlm-roberta", "xlm-roberta-xl", "xmod"),
}


@dataclass(frozen=True)
class FoundModel:
    """A model whose weights are not loaded yet.

    Attributes:
        name: what the user called it.
        folder: where it is, or its hub name.
        config: the model's.
        tokenizer: the model's.
    """

    name: str
    folder: str
    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase

    def fingerprint(self, layout: str, *own: str, quantization: Mapping[str, Any] | None) -> str:
        """Return what stands for a teacher made of this model.

        Args:
            layout: a word that stands for how its kind makes scores.
            own: what else its scores depend on.
            quantization: transformers' quantisation config as a mapping; None for none.
        """
        few_bits = [repr(quantization)] if quantization else []
        return files.fingerprint(layout, fingerprint_folder(self.folder), *own, *few_bits)


class LoadedWeights(NamedTuple):
    """A model with its head, and the float type that it computes in, by its name in torch."""

    model: PreTrainedModel
    precision: str


def find_model(model: str, *, cache: Path | None) -> FoundModel:
    """Return what a model's name stands for.

    Args:
        model: hub name, folder or file; see `resolve_model`.
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: it is not there, or cannot be read.
    """
    folder = resolve_model(model, cache=cache)
    with loading_model(model):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_size(config, model)
    return FoundModel(model, folder, config, load_tokenizer(folder, model))


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
            where="teacher.model",
            hint="choose an encoder-decoder (T5, T0, FLAN-T5) or decoder-only language model",
        )
    return "causal"


def check_length(config: PreTrainedConfig, model: str, needed: int) -> None:
    """Raise an ArtError if inputs may be longer than the model's positions.

    Args:
        config: the model's.
        model: what the user called it.
        needed: tokens that it must read at once.
    """
    text_config = config.get_text_config()
    limit = getattr(text_config, "max_position_embeddings", None)
    if limit and text_config.model_type in _POSITIONS_BEHIND_PADDING:
        limit -= text_config.pad_token_id + 1
    if limit and 0 < limit < needed:
        raise ArtError(
            f"{model!r} reads {limit} tokens at most, but its inputs may take {needed}",
            where="teacher.max_length",
            hint="lower teacher.max_length or teacher.question_length",
        )


def load_weights(
    found: FoundModel,
    *,
    head: Any,
    dtype: str,
    device: torch.device | str | None,
    attention: str | None,
    quantization: Mapping[str, Any] | None,
) -> LoadedWeights:
    """Load a model with its head.

    Args:
        found: the model.
        head: transformers' class that loads models with such a head, `AutoModelFor…`.
        dtype: a float type's name in torch, or `auto`.
        device: where to put it; None for the current GPU, else the CPU.
        attention: transformers' name of an attention implementation; None for its own choice.
        quantization: transformers' quantisation config as a mapping; None for the checkpoint's own
            or none.

    Raises:
        ArtError: it cannot be loaded or quantised, or weights are missing.
        ConfigError: the device cannot compute with them.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = automatic_dtype(place) if dtype == "auto" else dtype
    chosen: dict[str, Any] = {} if attention is None else {"attn_implementation": attention}
    if quantization is not None:
        chosen["quantization_config"] = quantization_config(quantization)
    quantized = quantization is not None or hasattr(found.config, "quantization_config")
    with loading_model(found.name), quantizing(quantization), _enough_memory(found, place):
        weights, report = head.from_pretrained(
            found.folder,
            config=found.config,
            dtype=getattr(torch, precision),
            # Straight to their place: every process loads the whole model, and the machine's memory
            # does not hold it as often. Some weights in few bits could not be moved afterwards.
            device_map={"": place},
            output_loading_info=True,
            trust_remote_code=False,
            **chosen,
        )
    # transformers would go on with random numbers in their place.
    if missing := sorted(report["missing_keys"]):
        raise ArtError(
            f"{found.name!r} lacks {len(missing)} weights of such a teacher, such as {missing[0]}",
            where="teacher.model",
            hint="choose a checkpoint that was saved with the head that teacher.kind needs",
        )
    _try_out(weights, found.name, quantized=quantized)
    return LoadedWeights(weights, precision)


@contextmanager
def _enough_memory(found: FoundModel, place: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ArtError(
            f"{found.name!r} does not fit into the memory of {place}",
            where="teacher.model",
            hint="load it in few bits with teacher.quantization, or in fewer; every process needs "
            "room for the whole model on its own GPU",
        ) from error


def _try_out(weights: PreTrainedModel, model: str, *, quantized: bool) -> None:
    """Let a model read two tokens: some kernels are missing only when they are called.

    Nothing of ours runs meanwhile, so that no fault of ours is blamed on the device.

    Raises:
        ConfigError: it cannot, on this device.
    """
    ids = torch.ones((1, 2), dtype=torch.int64, device=weights.device)
    inputs = {"input_ids": ids}
    if weights.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    faults = (ImportError, *FAULTS) if quantized else (RuntimeError,)
    try:
        with torch.no_grad():
            weights(**inputs)[0].cpu()  # waits for a GPU
    except torch.OutOfMemoryError:
        pass  # told with what to lower, where batches are scored
    except faults as error:
        other = "teacher.quantization" if quantized else "teacher.dtype"
        raise ConfigError(
            f"{model!r} cannot compute here, on {weights.device}: {first_line(error)}",
            where="teacher.model",
            hint=f"choose another {other}, or another device",
        ) from error


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
