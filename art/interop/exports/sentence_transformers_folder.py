"""`--to sentence-transformers`: the layout that every reader of such folders knows.

The library's own newer layout is one that other readers (text-embeddings-inference, vLLM) do not
know; it reads this one too. Two towers are a complete folder each, and at the root a Router over
the same files, which refuses to encode without being told whether a text is a query or a document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors.torch import save_file
from torch import nn
from transformers import MODEL_MAPPING

from art.errors import ArtError
from art.files import write_json
from art.interop.exports.base import EXPORTS, Export, Exported
from art.interop.tokenizers import title_joint, write_tokenizer, write_tokenizer_config
from art.interop.towers import TowerParts, encoding_notes

_PACKAGE = "sentence_transformers.models"
_ROUTES = {"question": "query", "passage": "document"}
_POOLING = {"cls": "cls_token", "mean": "mean_tokens", "last": "lasttoken"}
_MODES = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)
# Encoder-decoders whose encoder the library takes alone, in every version since 5.3.
_ENCODERS_ALONE = ("t5", "mt5")


@dataclass(frozen=True)
class _Entry:
    """An entry of `modules.json`: where a module lies in its folder, and its class."""

    path: str
    kind: str

    def row(self, position: int) -> dict[str, str | int]:
        """Return the entry as it is written."""
        kind = f"{_PACKAGE}.{self.kind}"
        return {"idx": position, "name": str(position), "path": self.path, "type": kind}


class SentenceTransformersFolder(Export):
    """A folder for sentence-transformers and all that read its folders."""

    name: ClassVar[str] = "sentence-transformers"
    description: ClassVar[str] = "a sentence-transformers folder; one per tower under a Router"
    library: ClassVar[str] = "sentence-transformers"

    def check(self, source: Exported) -> None:
        """Refuse encoders that the library does not load alone, and tables pooled by position."""
        for parts in (source.question, source.passage):
            if parts.is_static and parts.pooling != "mean":
                raise ArtError(
                    f"a table of word vectors with pooling {parts.pooling} has no equal in"
                    " sentence-transformers, whose tables take the mean"
                )
            config = parts.backbone.config
            # What `AutoModel` makes of the config, which is what the library asks.
            whole = MODEL_MAPPING.get(type(config), ())
            whole = whole if isinstance(whole, tuple) else (whole,)
            is_whole = parts.is_static or type(parts.backbone) in whole
            if not is_whole and config.model_type not in _ENCODERS_ALONE:
                raise ArtError(
                    f"sentence-transformers does not load the encoder of {config.model_type} alone",
                    hint=f"it does of {' and '.join(_ENCODERS_ALONE)}; or export to onnx",
                )

    def write(self, source: Exported, folder: Path) -> None:
        """Write one folder, or a Router over `query/` and `document/`."""
        prompts = {"query": source.question.prefix, "document": source.passage.prefix}
        if source.tied:
            _write_tower(source.passage, folder, prompts, None)
            return
        types: dict[str, str] = {}
        structure: dict[str, list[str]] = {}
        for parts in (source.question, source.passage):
            route = _ROUTES[parts.side]
            # Its only texts are of one kind, so that it alone knows which prompt they take.
            default = route if parts.prefix else None
            modules = _write_tower(parts, folder / route, prompts, default)
            paths = [f"{route}/{one.path}".rstrip("/") for one in modules]
            types |= {
                path: f"{_PACKAGE}.{one.kind}" for path, one in zip(paths, modules, strict=True)
            }
            structure[route] = paths
        write_json(folder / "modules.json", [_Entry("", "Router").row(0)])
        parameters = {"default_route": None, "allow_empty_key": False}
        router = {"types": types, "structure": structure, "parameters": parameters}
        write_json(folder / "router_config.json", router)
        _write_model_config(folder, source.passage, prompts, None)

    def notes(self, source: Exported) -> Iterator[str]:
        """Yield what is otherwise there: one length for both sides, precision, titles."""
        question, passage = source.question, source.passage
        if source.tied and question.max_length != passage.max_length:
            yield (
                f"one folder has one length: there a question too is cut at {passage.max_length}"
                f" tokens, here at {question.max_length}"
            )
        if title_joint(passage) is None:
            yield "no string of title and text gives the tokens that art makes of a titled passage"
        yield from encoding_notes(passage)

    def usage(self, source: Exported) -> str:
        """Return the lines that encode a question and a passage."""
        lines = [
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("PATH OR NAME")',
            'questions = model.encode_query(["who built the bridge?"])',
            'passages = model.encode_document(["The bridge was built by …"])',
            "scores = model.similarity(questions, passages)",
            "```",
            "",
        ]
        if source.tied:
            lines += ["`encode` puts no prompt before a text; `encode_query` and"]
            lines += ["`encode_document` put the right one.", ""]
        else:
            lines += [
                "The towers differ: `encode` wants `task=` and refuses to guess. `query/` and"
            ]
            lines += ["`document/` are complete folders for tools that load one model.", ""]
        joint = title_joint(source.passage)
        if joint is not None:
            shown = json.dumps(joint, ensure_ascii=False)
            lines += [f"A passage with a title is one string: title, {shown}, text."]
        return "\n".join(lines)


def _write_tower(
    parts: TowerParts, folder: Path, prompts: dict[str, str], default_prompt: str | None
) -> list[_Entry]:
    """Write a complete folder of one tower; return its modules."""
    folder.mkdir(exist_ok=True)
    modules = [_write_encoder(parts, folder)]
    if not parts.is_static:
        modules.append(_Entry("1_Pooling", "Pooling"))
        _write_pooling(parts, folder / modules[-1].path)
    for layer, activation in parts.projection:
        modules.append(_Entry(f"{len(modules)}_Dense", "Dense"))
        _write_dense(layer, activation, folder / modules[-1].path)
    if parts.normalize:
        modules.append(_Entry(f"{len(modules)}_Normalize", "Normalize"))
    rows = [one.row(position) for position, one in enumerate(modules)]
    write_json(folder / "modules.json", rows)
    _write_model_config(folder, parts, prompts, default_prompt)
    return modules


def _write_encoder(parts: TowerParts, folder: Path) -> _Entry:
    # The library's tables have no length of their own and add no special token.
    write_tokenizer(parts, folder, truncate=parts.is_static, special_tokens=not parts.is_static)
    if parts.is_static:
        table = parts.backbone.get_input_embeddings().weight.detach().contiguous()  # [V, D]
        save_file({"embedding.weight": table}, folder / "model.safetensors")
        return _Entry("", "StaticEmbedding")
    write_tokenizer_config(parts, folder)
    parts.backbone.save_pretrained(folder)
    # `do_lower_case: false` leaves the tokenizer as it is; it would only add to it.
    lengths = {"max_seq_length": parts.max_length, "do_lower_case": False}
    write_json(folder / "sentence_bert_config.json", lengths)
    return _Entry("", "Transformer")


def _write_pooling(parts: TowerParts, folder: Path) -> None:
    folder.mkdir()
    config: dict[str, int | bool] = {"word_embedding_dimension": parts.backbone.config.hidden_size}
    chosen = _POOLING[parts.pooling]
    config |= {f"pooling_mode_{mode}": mode == chosen for mode in _MODES}
    write_json(folder / "config.json", config | {"include_prompt": True})


def _write_dense(layer: nn.Linear, activation: nn.Module, folder: Path) -> None:
    folder.mkdir()
    config = {
        "in_features": layer.in_features,
        "out_features": layer.out_features,
        "bias": layer.bias is not None,
        "activation_function": f"{type(activation).__module__}.{type(activation).__qualname__}",
    }
    write_json(folder / "config.json", config)
    tensors = {
        f"linear.{name}": one.detach().contiguous() for name, one in layer.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors")


def _write_model_config(
    folder: Path, parts: TowerParts, prompts: dict[str, str], default_prompt: str | None
) -> None:
    config = {
        "prompts": prompts,
        "default_prompt_name": default_prompt,
        # Cosine is what readers take where nothing is said, and wrong for other lengths than 1.
        "similarity_fn_name": "cosine" if parts.normalize else "dot",
    }
    write_json(folder / "config_sentence_transformers.json", config)


EXPORTS.add(SentenceTransformersFolder())
