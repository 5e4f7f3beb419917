"""Original DPR checkpoints (`.cp`): two BERTs under `question_model.` and `ctx_model.`.

A vector is the first position of the last layer, behind the layer `encode_proj` where there is one;
scores are plain inner products. Question and passage are cut to the same length.

Source: dpr/models/hf_models.py and dpr/utils/model_utils.py of facebookresearch/DPR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import DPRConfig, DPRContextEncoder, DPRQuestionEncoder

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

_LAYER = r"encoder\.layer\.(\d{1,4})\."
# Never part of a vector: DPR takes the first position itself, and position numbers are no weights.
_UNUSED = re.compile(r"pooler\.|embeddings\.(position|token_type)_ids$")
_BERT_NAME = re.compile(r"bert-(base|large)-(un)?cased")
_TOWERS = (
    ("question_model.", "question_encoder.", DPRQuestionEncoder),
    ("ctx_model.", "ctx_encoder.", DPRContextEncoder),
)
_SEQUENCE_LENGTH = 256  # DPR's own, where a checkpoint does not say


def read_dpr(
    checkpoint: Checkpoint, options: ImportOptions, folders: tuple[Path, Path]
) -> dict[str, Any]:
    """Write a DPR checkpoint's encoders as a Hugging Face DPR pair.

    Args:
        checkpoint: the open file.
        options: what the user says.
        folders: of the question encoder and the context encoder; they are made.

    Returns:
        What `create_retriever` must be told besides the folders.

    Raises:
        ArtError: it is not such a checkpoint, or of encoders that are not BERT.
    """
    halves = [dict(_tensors(checkpoint, prefix)) for prefix, _, _ in _TOWERS]
    stated = _stated(checkpoint)
    kind = stated.get("encoder_model_type")
    if isinstance(kind, str) and kind != "hf_bert":
        raise ArtError(
            f"its encoders are {shown(kind)}; only DPR's hf_bert can be imported",
            where=checkpoint.path,
        )
    config = _config(halves[0], options, checkpoint.path)
    meant = stated.get("pretrained_model_cfg")
    known = isinstance(meant, str) and _BERT_NAME.fullmatch(meant)
    tokenizer = open_tokenizer(
        options, meant if known else None, config.hidden_size, checkpoint.path
    )
    if num_tokens(tokenizer) != config.vocab_size:
        raise ArtError(
            f"it has {config.vocab_size} embeddings, but the tokenizer"
            f" {num_tokens(tokenizer)} tokens",
            where=checkpoint.path,
            hint="name the tokenizer it was trained with, with --tokenizer",
        )
    for half, folder, (_, prefix, model_class) in zip(halves, folders, _TOWERS, strict=True):
        projection = {name: one for name, one in half.items() if name.startswith("encode_proj.")}
        bert = {name: one for name, one in half.items() if name not in projection}
        weights = read_all(checkpoint, bert, f"{prefix}bert_model.")
        weights |= read_all(checkpoint, projection, prefix)
        save_tower(model_class, config, weights, tokenizer, folder, path=checkpoint.path)
    length = stated.get("sequence_length")
    if type(length) is not int or not 2 <= length <= config.max_position_embeddings:
        length = min(_SEQUENCE_LENGTH, config.max_position_embeddings)
        notify(f"{checkpoint.path}: texts are cut to {length} tokens, as by DPR's own settings")
    return {"question_length": length, "passage_length": length, "temperature": 1.0}


def _tensors(checkpoint: Checkpoint, prefix: str) -> Iterator[tuple[str, StoredTensor]]:
    """Yield a half's weights under their names in BERT."""
    model = checkpoint.root.get("model_dict") if isinstance(checkpoint.root, dict) else None
    named = model if isinstance(model, dict) else {}
    mine = {name: one for name, one in named.items() if str(name).startswith(prefix)}
    if not mine:
        raise ArtError(
            f"no DPR checkpoint: there is nothing under model_dict.{prefix}*",
            where=checkpoint.path,
        )
    for name, one in mine.items():
        short = name.removeprefix(prefix)
        if not _UNUSED.match(short):
            if not isinstance(one, StoredTensor):
                raise ArtError(f"{shown(name)} is not a plain tensor", where=checkpoint.path)
            yield short, one


def _stated(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the settings of the encoder; newer checkpoints keep them one level deeper."""
    outer = fields_of(checkpoint.root.get("encoder_params"))
    return {**outer, **fields_of(outer.get("encoder"))}


def _config(half: dict[str, StoredTensor], options: ImportOptions, path: Path) -> DPRConfig:
    def shape(name: str) -> tuple[int, int]:
        return shape_of(half, f"{name}.weight", path)

    vocab_size, hidden_size = shape("embeddings.word_embeddings")
    return DPRConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_hidden_layers=count_layers(half, _LAYER, path),
        num_attention_heads=choose_num_heads(None, options, hidden_size, path),
        intermediate_size=shape("encoder.layer.0.intermediate.dense")[0],
        max_position_embeddings=shape("embeddings.position_embeddings")[0],
        type_vocab_size=shape("embeddings.token_type_embeddings")[0],
        projection_dim=shape("encode_proj")[0] if "encode_proj.weight" in half else 0,
    )
