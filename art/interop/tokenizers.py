"""A tower's tokenizer as other tools read it: `tokenizer.json`, and what transformers adds.

What our templates put around a text goes into the tokenizer itself, because other tools know no
template; that both then give the same token ids is checked on a few texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from art.errors import ArtError
from art.files import write_json

if TYPE_CHECKING:
    from art.interop.towers import TowerParts

_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "cls_token", "mask_token")
_SAMPLES = (
    "who built the old bridge?",
    "Two sentences. A second one, with 1,234 numbers; and Ümläute!",
    "a long text that must be cut " * 400,
)
_TITLE = "A title"


def write_tokenizer(
    parts: TowerParts, folder: Path, *, truncate: bool = False, special_tokens: bool = True
) -> None:
    """Write `tokenizer.json`.

    Args:
        parts: whose tokenizer.
        folder: to write into.
        truncate: keep the length in the file, for readers that have no setting for it.
        special_tokens: whether readers ask for special tokens.

    Raises:
        ArtError: readers would get other token ids than our commands.
    """
    document = json.loads(parts.tokenizer.backend_tokenizer.to_str())
    document["truncation"] = document["padding"] = None
    if parts.template.append_eos:
        document["post_processor"] = _post_processor(parts)
    backend = Tokenizer.from_str(json.dumps(document))
    if truncate:
        backend.enable_truncation(parts.max_length)
    write_json(folder / "tokenizer.json", json.loads(backend.to_str()))
    backend.enable_truncation(parts.max_length)
    _check(parts, backend, special_tokens)


def write_tokenizer_config(parts: TowerParts, folder: Path) -> None:
    """Write `tokenizer_config.json`, with which transformers takes `tokenizer.json` as it is."""
    tokenizer = parts.tokenizer
    named = {name: getattr(tokenizer, name, None) for name in _NAMED}
    config: dict[str, Any] = {
        # Of any version; the classes of single models would build a tokenizer of their own.
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Token types are zero, which is what models take where none are given.
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": parts.max_length,
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        "pad_token": tokenizer.convert_ids_to_tokens(parts.pad_id),
        **{name: str(token) for name, token in named.items() if token is not None},
    }
    write_json(folder / "tokenizer_config.json", config)


def title_joint(parts: TowerParts) -> str | None:
    """Return what to put between a title and a text so that one string gives our token ids.

    None where no such string is known: some tokenizers treat the beginning of a text as its own.
    """
    backend = Tokenizer.from_str(parts.tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    text = _SAMPLES[0]
    ours = parts.template([_TITLE], [text])[0]
    for joint in (parts.between, f"{parts.between} ", f" {parts.between} "):
        joined = f"{parts.prefix}{_TITLE}{joint}{text}"
        ids = backend.encode(joined, add_special_tokens=False).ids
        if ours == [*parts.first_ids, *ids, *parts.last_ids][: parts.max_length]:
            return joint
    return None


def _post_processor(parts: TowerParts) -> dict[str, Any]:
    """Return what puts the special tokens around a text, an end-of-sequence token included."""
    names = {
        i: parts.tokenizer.convert_ids_to_tokens(i) for i in [*parts.first_ids, *parts.last_ids]
    }

    def around(kind: str) -> list[dict[str, Any]]:
        def special(token_id: int) -> dict[str, Any]:
            return {"SpecialToken": {"id": names[token_id], "type_id": 0}}

        text = {"Sequence": {"id": kind, "type_id": 0}}
        return [*map(special, parts.first_ids), text, *map(special, parts.last_ids)]

    return {
        "type": "TemplateProcessing",
        "single": around("A"),
        "pair": [*around("A"), *around("B")],
        "special_tokens": {
            name: {"id": name, "ids": [token_id], "tokens": [name]}
            for token_id, name in names.items()
        },
    }


def _check(parts: TowerParts, backend: Tokenizer, special_tokens: bool) -> None:
    ours = parts.template([""] * len(_SAMPLES), list(_SAMPLES))
    texts = [parts.prefix + text for text in _SAMPLES]
    theirs = [backend.encode(text, add_special_tokens=special_tokens).ids for text in texts]
    if ours != theirs:
        raise ArtError(
            f"other tools would read the texts of the {parts.side} tower as other tokens than art",
            where=parts.backbone.name_or_path or None,
            hint="this tokenizer cannot be exported",
        )
