"""A table of word vectors as an ordinary Hugging Face model, so that it trains like any encoder.

Importing this module registers the model with `AutoConfig` and `AutoModel`.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.modeling_outputs import BaseModelOutput

from art import files
from art.errors import ArtError
from art.weights import PACKAGE_PREFIX, converted_once, loading_model, packaged_files, save_model

# Part of the cache key: raise it when the conversion writes something else.
_CONVERSION = "1"

# The first of these that the vocabulary has becomes the padding token: padding is always masked, so
# any token will do, and the table keeps its size.
_PAD_CANDIDATES = ("<pad>", "[PAD]", "</s>", "[SEP]", "<unk>", "[UNK]")


class StaticEmbeddingConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is untyped
    """The shape of a table of word vectors: `vocab_size` rows of `hidden_size` numbers."""

    model_type = "static_embedding"
    vocab_size: int = 32000
    hidden_size: int = 256


class StaticEmbeddingModel(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """One vector per token, whatever stands around it."""

    config_class = StaticEmbeddingConfig
    base_model_prefix = "static_embedding"
    _no_split_modules: ClassVar[list[str]] = []

    def __init__(self, config: StaticEmbeddingConfig) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the table."""
        return self.embedding

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Put another table in place."""
        self.embedding = value

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs: Any
    ) -> BaseModelOutput:
        """Look every token up.

        Args:
            input_ids: [n, L].
            attention_mask: ignored; pooling leaves padding out.
            **kwargs: ignored, as callers of Hugging Face models pass switches of other models.

        Returns:
            An output whose `last_hidden_state` is [n, L, D].
        """
        return BaseModelOutput(last_hidden_state=self.embedding(input_ids))


AutoConfig.register(StaticEmbeddingConfig.model_type, StaticEmbeddingConfig, exist_ok=True)
AutoModel.register(StaticEmbeddingConfig, StaticEmbeddingModel, exist_ok=True)


def convert_packaged_table(distribution: str, *, cache: Path | None = None) -> Path:
    """Convert the word-vector table of an installed distribution to a model folder, once.

    Args:
        distribution: one that carries a single `.safetensors` file with a single [V, D] table, and
            a JSON file of the `tokenizers` library (wordllama is the known one).
        cache: where converted models are kept; `files.cache_folder()` when None.

    Returns:
        The folder: float32 weights, and a tokenizer that adds no special tokens.

    Raises:
        ArtError: the distribution is not installed or carries something else.
    """
    table_file, tokenizer_file = _packaged_table(distribution)
    key = files.fingerprint(
        _CONVERSION,
        "table",
        files.fingerprint_file(table_file),
        files.fingerprint_file(tokenizer_file),
    )
    convert = partial(_convert, table_file, tokenizer_file)
    return converted_once(key, convert, cache=cache)


def _packaged_table(distribution: str) -> tuple[Path, Path]:
    found = packaged_files(distribution)
    tables = [path for path in found if path.suffix == ".safetensors"]
    tokenizers = [path for path in found if path.suffix == ".json" and "tokenizer" in path.name]
    if len(tables) != 1 or len(tokenizers) != 1:
        raise ArtError(
            f"the package {distribution!r} carries {len(tables)} safetensors tables and"
            f" {len(tokenizers)} tokenizer files, not one of each",
            hint=f"known to work: {PACKAGE_PREFIX}wordllama",
        )
    return tables[0], tokenizers[0]


def _convert(table_file: Path, tokenizer_file: Path, folder: Path) -> None:
    save_model(*load_table(table_file, tokenizer_file), folder)


def load_table(
    table_file: Path, tokenizer_file: Path
) -> tuple[StaticEmbeddingModel, PreTrainedTokenizerFast]:
    """Return a table of word vectors as a float32 model, and a tokenizer without special tokens.

    Args:
        table_file: a `.safetensors` file with a single [V, D] table.
        tokenizer_file: a JSON file of the `tokenizers` library.

    Raises:
        ArtError: either cannot be read, or they do not belong together.
    """
    with loading_model(str(table_file)):
        table = _read_table(table_file)  # [V, D]
        tokenizer = _read_tokenizer(tokenizer_file)
    if max(tokenizer.get_vocab().values()) >= len(table):
        raise ArtError(
            f"the tokenizer knows more tokens than the table's {len(table)}", where=tokenizer_file
        )
    model = StaticEmbeddingModel(
        StaticEmbeddingConfig(vocab_size=table.shape[0], hidden_size=table.shape[1])
    )
    with torch.no_grad():
        model.embedding.weight.copy_(table)
    return model, tokenizer


def _read_table(path: Path) -> Tensor:
    with safe_open(str(path), framework="pt") as file:
        names = list(file.keys())
        shape = file.get_slice(names[0]).get_shape() if len(names) == 1 else []
        if len(shape) != 2:
            raise ArtError("not one table of word vectors", where=path)
        table: Tensor = file.get_tensor(names[0])
    return table.float()


def _read_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    document = files.read_json(path)
    # A start-of-sentence vector in every mean would only pull all texts together.
    document["post_processor"] = None
    backend = Tokenizer.from_str(json.dumps(document))
    pad = next((token for token in _PAD_CANDIDATES if backend.token_to_id(token) is not None), None)
    if pad is None:
        raise ArtError("the tokenizer has no token that could pad", where=path)
    unknown = document["model"].get("unk_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token=pad, unk_token=unknown)
