"""Folders as sentence-transformers writes them, made of a tiny BERT, without that library."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

OLD = "sentence_transformers.models."
NEW = {
    "Transformer": "sentence_transformers.base.modules.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": "sentence_transformers.base.modules.dense.Dense",
    "Normalize": "sentence_transformers.base.modules.normalize.Normalize",
    "StaticEmbedding": (
        "sentence_transformers.sentence_transformer.modules.static_embedding.StaticEmbedding"
    ),
    "Router": "sentence_transformers.base.modules.router.Router",
}
SWITCHES = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")


def pooling(*modes: str, new: bool = False, switches: int = 4) -> dict[str, Any]:
    """Return the settings of a Pooling module, in the newer layout or with 4 or 6 booleans."""
    if new:
        modes_or_one: Any = modes[0] if len(modes) == 1 else list(modes)
        return {"embedding_dimension": 32, "pooling_mode": modes_or_one, "include_prompt": True}
    names = [*SWITCHES, *(["weightedmean_tokens", "lasttoken"] if switches == 6 else [])]
    return {
        "word_embedding_dimension": 32,
        **{f"pooling_mode_{name}": name in modes for name in names},
    }


def write(path: Path, document: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def write_modules(folder: Path, modules: Sequence[tuple[str, str]], *, new: bool = False) -> None:
    """Write `modules.json`: (class, path) of each module."""
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": NEW[kind] if new else OLD + kind}
        for i, (kind, path) in enumerate(modules)
    ]
    write(folder / "modules.json", listed)


def write_dense(folder: Path, weight: torch.Tensor, bias: torch.Tensor | None, **settings) -> None:
    tensors = {"linear.weight": weight, **({} if bias is None else {"linear.bias": bias})}
    sizes = {"in_features": weight.shape[1], "out_features": weight.shape[0]}
    write(folder / "config.json", {**sizes, "bias": bias is not None, **settings})
    save_file(tensors, folder / "model.safetensors")


def save_folder(
    folder: Path,
    bert: Path,
    pooled: Mapping[str, Any],
    *,
    normalize: bool = True,
    new: bool = False,
    transformer: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """Write a folder of Transformer, Pooling and maybe Normalize; return it."""
    shutil.copytree(bert, folder)
    write(folder / "1_Pooling" / "config.json", pooled)
    modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
    write_modules(folder, [*modules, *([("Normalize", "2_Normalize")] * normalize)], new=new)
    given = {"max_seq_length": 24, "do_lower_case": False} if transformer is None else transformer
    write(folder / "sentence_bert_config.json", given)
    if config is not None:
        write(folder / "config_sentence_transformers.json", config)
    return folder
