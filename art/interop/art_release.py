"""Checkpoints of the ART release: two Megatron BERTs, whose layers normalise what they read.

A vector is the first position behind the last normalisation. Query, key and value of a layer are
one matrix; in which order its rows lie depends on `checkpoint_version`. The vocabulary is padded.

Source: megatron/model/dualencoder_model.py and tools/save_art_retriever.py of DevSinghSachan/art;
the orders of rows: Megatron-LM, megatron/checkpointing.py, and transformers'
convert_megatron_bert_checkpoint.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import MegatronBertConfig, MegatronBertModel

from art.errors import ArtError, notify, shown
from art.interop.foreign_towers import (
    ImportOptions,
    choose_num_heads,
    count_layers,
    num_tokens,
    open_tokenizer,
    read_all,
    save_tower,
    shape_of,
)
from art.interop.tensor_pickle import StoredTensor, fields_of
from art.interop.torch_checkpoint import Checkpoint

_RETRIEVER = "retriever/biencoder_model"
_TOWERS = ("query_model", "context_model")
_LAYER = r"transformer\.layers\.(\d{1,4})\."
_POOLER = "pooler."  # the release takes the first position itself
_LAYERNORM_EPSILON = 1e-5  # Megatron's; that of transformers is 1e-12
_SEQUENCE_LENGTH = 256  # of questions, and of passages in the index
_NAMES = {
    "embedding.word_embeddings": "embeddings.word_embeddings",
    "embedding.position_embeddings": "embeddings.position_embeddings",
    "embedding.tokentype_embeddings": "embeddings.token_type_embeddings",
    "transformer.final_layernorm": "encoder.ln",
}
_LAYER_NAMES = {
    "input_layernorm": "attention.ln",
    "attention.dense": "attention.output.dense",
    "self_attention.dense": "attention.output.dense",
    "post_attention_layernorm": "ln",
    "mlp.dense_h_to_4h": "intermediate.dense",
    "mlp.dense_4h_to_h": "output.dense",
}
_QUERY_KEY_VALUE = ("attention.query_key_value", "self_attention.query_key_value")


def read_art_release(
    checkpoint: Checkpoint, options: ImportOptions, folders: tuple[Path, Path]
) -> dict[str, Any]:
    """Write the two encoders of a checkpoint of the release as Hugging Face folders.

    Args:
        checkpoint: the open file.
        options: what the user says.
        folders: of the question encoder and the passage encoder; they are made.

    Returns:
        What `create_retriever` must be told besides the folders.

    Raises:
        ArtError: it is not such a checkpoint, or of a model that transformers does not have.
    """
    path = checkpoint.path
    halves = [dict(_tensors(checkpoint, name)) for name in _TOWERS]
    stated = fields_of(checkpoint.root.get("args"))
    config = _config(halves[0], stated, options, path)
    tokenizer = open_tokenizer(options, None, config.hidden_size, path)
    padded, config.vocab_size = config.vocab_size, num_tokens(tokenizer)
    _check_padding(padded, config.vocab_size, stated, path)
    version = _version(checkpoint)
    for half, folder in zip(halves, folders, strict=True):
        weights: dict[str, Tensor] = {}
        for name, one in read_all(checkpoint, half, "").items():
            weights |= _renamed(name, one, version, config.num_attention_heads, path)
        table = "embeddings.word_embeddings.weight"
        weights[table] = weights[table][: config.vocab_size].clone()
        save_tower(MegatronBertModel, config, weights, tokenizer, folder, path=path)
    length = min(_SEQUENCE_LENGTH, config.max_position_embeddings)
    return {"question_length": length, "passage_length": length}


def _tensors(checkpoint: Checkpoint, tower: str) -> Iterator[tuple[str, StoredTensor]]:
    """Yield a tower's weights, their nested names joined by dots."""
    root = checkpoint.root
    model = root.get("model") if isinstance(root, dict) else None
    # The release's own tool leaves the outer level out when it saves the retriever alone.
    outer = model.get(_RETRIEVER, model) if isinstance(model, dict) else None
    inner = outer.get(tower) if isinstance(outer, dict) else None
    language_model = inner.get("language_model") if isinstance(inner, dict) else None
    if not isinstance(language_model, dict) or len(inner or ()) != 1:
        raise ArtError(
            f"no checkpoint of the ART release: there is no {tower} with a language_model alone",
            where=checkpoint.path,
        )
    for name, one in _flat(language_model, ""):
        if not isinstance(one, StoredTensor):
            raise ArtError(f"{shown(name)} is not a plain tensor", where=checkpoint.path)
        if not name.startswith(_POOLER):
            yield re.sub(r"^encoder\.", "transformer.", name), one


def _flat(tree: dict[Any, Any], prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, one in tree.items():
        if isinstance(one, dict) and depth < 8:  # a dict that holds itself has no end
            yield from _flat(one, f"{prefix}{name}.", depth + 1)
        else:
            yield f"{prefix}{name}", one


def _config(
    half: dict[str, StoredTensor], stated: dict[str, Any], options: ImportOptions, path: Path
) -> MegatronBertConfig:
    def shape(name: str) -> tuple[int, int]:
        return shape_of(half, f"{name}.weight", path)

    vocab_size, hidden_size = shape("embedding.word_embeddings")
    num_layers = count_layers(half, _LAYER, path)
    _refuse_other_models(stated, hidden_size, num_layers, path)
    tanh = stated.get("openai_gelu") is True or stated.get("bias_gelu_fusion") is True
    return MegatronBertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=choose_num_heads(
            stated.get("num_attention_heads"), options, hidden_size, path
        ),
        intermediate_size=shape("transformer.layers.0.mlp.dense_h_to_4h")[0],
        max_position_embeddings=shape("embedding.position_embeddings")[0],
        type_vocab_size=shape("embedding.tokentype_embeddings")[0],
        layer_norm_eps=_epsilon(stated, path),
        hidden_act="gelu_new" if tanh else "gelu",
    )


def _epsilon(stated: dict[str, Any], path: Path) -> float:
    found = stated.get("layernorm_epsilon", _LAYERNORM_EPSILON)
    if not isinstance(found, float) or not 0 < found < 1:
        raise ArtError(f"its layernorm_epsilon is {shown(found)}", where=path)
    return found


def _refuse_other_models(
    stated: dict[str, Any], hidden_size: int, num_layers: int, path: Path
) -> None:
    """Refuse what the arguments of the checkpoint say of a model that is not the one read."""
    expected = {
        "hidden_size": hidden_size,
        "num_layers": num_layers,  # fewer are stored where layers share their weights
        "model_parallel_size": 1,
        "apply_residual_connection_post_layernorm": False,
    }
    for name, value in expected.items():
        if stated.get(name, value) != value:
            raise ArtError(
                f"its {name} is {shown(stated[name])}, but only {value} can be imported here",
                where=path,
            )
    channels, num_heads = stated.get("kv_channels"), stated.get("num_attention_heads")
    if type(channels) is int and type(num_heads) is int and channels * num_heads != hidden_size:
        raise ArtError(
            f"its {num_heads} attention heads of {channels} numbers do not make up its size"
            f" {hidden_size}",
            where=path,
        )


def _check_padding(padded: int, vocab_size: int, stated: dict[str, Any], path: Path) -> None:
    multiple = stated.get("make_vocab_size_divisible_by", 128)
    if type(multiple) is not int or multiple < 1 or padded != -(-vocab_size // multiple) * multiple:
        raise ArtError(
            f"it has {padded} embeddings, which are not the tokenizer's {vocab_size} tokens"
            f" padded to a multiple of {shown(multiple)}",
            where=path,
            hint="name the tokenizer it was trained with, with --tokenizer",
        )


def _version(checkpoint: Checkpoint) -> float:
    found = checkpoint.root.get("checkpoint_version")
    if found is None:
        notify(
            f"{checkpoint.path}: no checkpoint_version, hence 0, as Megatron takes it: query, key"
            " and value one after another"
        )
        return 0.0
    if type(found) not in (int, float) or not (found in (0, 1) or 2 <= found < 4):
        raise ArtError(
            f"checkpoint_version {shown(found)} is not known here", where=checkpoint.path
        )
    return float(found)


def _renamed(
    name: str, tensor: Tensor, version: float, num_heads: int, path: Path
) -> dict[str, Tensor]:
    """Return a weight of Megatron under its name or names in transformers."""
    module, _, kind = name.rpartition(".")
    if module in _NAMES:
        return {f"{_NAMES[module]}.{kind}": tensor}
    match = re.match(_LAYER, module)
    inside = module[match.end() :] if match else module
    layer = f"encoder.layer.{match[1]}" if match else ""
    if match and inside in _LAYER_NAMES:
        return {f"{layer}.{_LAYER_NAMES[inside]}.{kind}": tensor}
    if match and inside in _QUERY_KEY_VALUE and tensor.shape[0] % (3 * num_heads) == 0:
        parts = split_query_key_value(tensor, version, num_heads)
        names = ("query", "key", "value")
        return {
            f"{layer}.attention.self.{part}.{kind}": one
            for part, one in zip(names, parts, strict=True)
        }
    raise ArtError(f"transformers' Megatron BERT has no place for {shown(name)}", where=path)


def split_query_key_value(
    tensor: Tensor, version: float, num_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a layer's query, key and value from the matrix, or bias, that holds all three.

    Args:
        tensor: [3 · hidden, hidden] or [3 · hidden].
        version: of the checkpoint: rows are [3, heads, head size] at 0, [heads, head size, 3] at 1
            and [heads, 3, head size] from 2 on.
        num_heads: of attention.

    Returns:
        Three of [hidden, hidden] or [hidden], rows [heads, head size].
    """
    rest = tensor.shape[1:]
    if version == 0:
        rows = tensor.view(3, num_heads, -1, *rest)
    elif version == 1:
        rows = tensor.view(num_heads, -1, 3, *rest).movedim(2, 0)
    else:
        rows = tensor.view(num_heads, 3, -1, *rest).movedim(1, 0)
    query, key, value = (one.reshape(-1, *rest).clone() for one in rows)
    return query, key, value
