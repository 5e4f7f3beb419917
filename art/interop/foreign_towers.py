"""Weights of another program, made the two model folders that `create_retriever` starts from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from art.errors import ArtError, ConfigError, notify, shown
from art.interop.tensor_pickle import StoredTensor
from art.interop.torch_checkpoint import Checkpoint
from art.weights import load_tokenizer, saving_weights

# BERT's two published sizes; any other number of attention heads must be stated.
_KNOWN_NUM_HEADS = {768: 12, 1024: 16}
_TOKENIZERS = {768: "bert-base-uncased", 1024: "bert-large-uncased"}


@dataclass(frozen=True)
class ImportOptions:
    """What a user may have to say that a checkpoint does not.

    Args:
        tokenizer: a hub name or folder; None for the one the checkpoint means.
        num_heads: of attention; None to read or conclude it.
    """

    tokenizer: str | None = None
    num_heads: int | None = None


def shape_of(tensors: Mapping[str, StoredTensor], name: str, path: Path) -> tuple[int, int]:
    """Return the rows and columns of a matrix in a checkpoint.

    Raises:
        ArtError: it is not there, or no matrix.
    """
    found = tensors.get(name)
    shape = found.shape if isinstance(found, StoredTensor) else ()
    if len(shape) != 2 or not all(type(one) is int and one > 0 for one in shape):
        raise ArtError(f"{name} is missing, or no matrix", where=path)
    return shape[0], shape[1]


def count_layers(names: Mapping[str, Any], pattern: str, path: Path) -> int:
    """Return how many layers the names count, from 0 on without a gap.

    Args:
        names: of weights, as keys.
        pattern: of the beginning of a layer's names, its number as the group.
        path: of the checkpoint, for messages.

    Raises:
        ArtError: there is none, or a gap.
    """
    found = {int(match[1]) for name in names if (match := re.match(pattern, name))}
    if not found or found != set(range(len(found))):
        raise ArtError("its layers are not numbered from 0 on without a gap", where=path)
    return len(found)


def choose_num_heads(stated: Any, options: ImportOptions, hidden_size: int, path: Path) -> int:
    """Return the number of attention heads; a conclusion from BERT's sizes is told.

    Args:
        stated: by the checkpoint; None where it says nothing.
        options: where the user may have said it.
        hidden_size: of the model.
        path: of the checkpoint, for messages.

    Raises:
        ConfigError: nobody says it, two say different things, or the size cannot be divided so.
    """
    if stated is not None and options.num_heads not in (None, stated):
        raise ConfigError(
            f"--num-heads is {options.num_heads}, but the checkpoint has {shown(stated)} heads",
            where=path,
        )
    found = options.num_heads if stated is None else stated
    if found is None and hidden_size in _KNOWN_NUM_HEADS:
        found = _KNOWN_NUM_HEADS[hidden_size]
        notify(f"{path}: {found} attention heads, as BERT of size {hidden_size} has")
    if found is None:
        raise ConfigError(
            f"the checkpoint does not say how many attention heads its size {hidden_size} has",
            where=path,
            hint="say it with --num-heads",
        )
    if type(found) is not int or found < 1 or hidden_size % found:
        raise ConfigError(
            f"{shown(found)} attention heads do not divide the size {hidden_size}", where=path
        )
    return found


def open_tokenizer(
    options: ImportOptions, meant: str | None, hidden_size: int, path: Path
) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint, which carries none itself.

    Args:
        options: where the user may have named it.
        meant: the name of one in the checkpoint; None where it names none.
        hidden_size: of the model, which tells BERT's base from its large form.
        path: of the checkpoint, for messages.

    Raises:
        ArtError: it is not here, or nobody knows which one it is.
    """
    name = options.tokenizer or meant or _TOKENIZERS.get(hidden_size)
    if name is None:
        raise ArtError(
            "a checkpoint without a tokenizer",
            where=path,
            hint="name it, or its folder, with --tokenizer",
        )
    try:
        tokenizer: PreTrainedTokenizerBase = load_tokenizer(name)
    except ArtError as error:
        if options.tokenizer:
            raise
        raise ArtError(
            f"its tokenizer, {name}, cannot be loaded: {error.what}",
            where=path,
            hint="name one in a folder with --tokenizer",
        ) from error
    if not options.tokenizer:
        notify(f"{path}: the tokenizer is {name}")
    return tokenizer


def num_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return how many embeddings a tokenizer's ids need."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def read_all(
    checkpoint: Checkpoint, tensors: Mapping[str, StoredTensor], prefix: str
) -> dict[str, Tensor]:
    """Read tensors as float32 and put a prefix before their names."""
    return {prefix + name: checkpoint.read(one, name) for name, one in tensors.items()}


def save_tower(
    model_class: type[PreTrainedModel],
    config: PreTrainedConfig,
    weights: dict[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    path: Path,
) -> None:
    """Write one tower as a Hugging Face folder.

    Args:
        model_class: what reads it.
        config: of it.
        weights: under the names of `model_class`.
        tokenizer: of both towers.
        folder: is made.
        path: of the checkpoint, for messages.

    Raises:
        ArtError: the weights are not exactly those of the model, or cannot be written.
    """
    options = {} if config.model_type == "dpr" else {"add_pooling_layer": False}
    try:
        with torch.device("meta"):  # only names and shapes are wanted of it
            model: Any = model_class(config, **options)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ArtError(f"no model has its sizes: {error}", where=path) from error
    expected = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    found = {name: tuple(one.shape) for name, one in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ArtError(
                f"{name} has the shape {found.get(name, 'none')},"
                f" expected {expected.get(name, 'none')}",
                where=path,
                hint="is it the checkpoint of another kind of model?",
            )
    config.architectures = [model_class.__name__]
    with saving_weights(folder):
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
