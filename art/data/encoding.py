"""Token ids of text that users wrote: special tokens come from templates, never from the text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from art.errors import ArtError
from art.files import fingerprint

# What stands before a text that continues a prompt: its own tokens are cut off again, so that
# " word" comes out as it does inside a sentence (a leading "▁" or "Ġ" differs between families).
_ANCHOR = ":"
# Around the name of a special token, where texts cannot say it: no character by Unicode.
_HIDING = "\U0010ffff"


class TextEncoder:
    """A private copy of a fast tokenizer that adds no special token and recognises none in text.

    The library's `split_special_tokens` is not enough: a sentencepiece vocabulary still holds
    `</s>` as an ordinary piece. Here every special token is renamed to what no text contains, its
    id kept.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend; it is not changed.
        prefix: what `prefixed` puts before texts; in it special tokens are meant as such.

    Attributes:
        fingerprint: stands for the tokenizer, and says whether the prefix has special tokens.
        vocab_size: no token id is as high.
        prefix_length: tokens of the prefix, without the space at its end.

    Raises:
        ArtError: the tokenizer has no Rust backend.
    """

    fingerprint: str
    vocab_size: int
    prefix_length: int

    def __init__(self, tokenizer: Any, *, prefix: str = "") -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ArtError(
                f"{type(tokenizer).__name__} is not a fast tokenizer",
                hint="save the model with a tokenizer.json beside it",
            )
        document = json.loads(backend.to_str())
        # Truncation and padding are traces of earlier calls, not part of what the tokenizer is.
        document["truncation"] = document["padding"] = None
        special = {token["content"] for token in document["added_tokens"] if token["special"]}
        self._prefix = _with_hidden(prefix, special)
        self._reads_hidden = self._prefix != prefix
        self._backend = Tokenizer.from_str(json.dumps(_without_markup(document, special)))
        self._backend.encode_special_tokens = not self._reads_hidden
        self.prefix_length = len(self._batch([""], self._prefix.rstrip())[0])
        self._anchor = self._backend.encode(_ANCHOR, add_special_tokens=False).ids
        self.fingerprint = fingerprint(
            json.dumps(document, sort_keys=True),
            *(["special tokens of the prefix"] if self._reads_hidden else []),
        )
        self.vocab_size = _vocab_size(document)

    def __call__(self, texts: Sequence[str], *, after_space: bool = False) -> list[list[int]]:
        """Return the token ids of each text, uncut and without special tokens.

        Args:
            texts: n texts.
            after_space: encode each as what follows a word and a space, the space included.

        Returns:
            n lists of token ids; each text is tokenised as a whole.

        Raises:
            ArtError: `after_space`, and the tokenizer merges a token across that space.
        """
        if not after_space:
            return [one.ids for one in self._batch(list(texts))]
        cut = len(self._anchor)
        rows = [one.ids for one in self._batch([f"{_ANCHOR} {text}" for text in texts])]
        if any(row[:cut] != self._anchor for row in rows):
            raise ArtError(
                "this tokenizer joins words across spaces",
                hint="end the passage prompt's first part with a line break instead of a space",
            )
        return [row[cut:] for row in rows]

    def prefixed(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text behind the prefix, tokenised as a whole with it."""
        return [one.ids for one in self._batch(list(texts), self._prefix)]

    def word_borders(self, text: str) -> list[tuple[int, int]]:
        """Return where the word of each token of a text begins and ends, in characters.

        A word is what the tokenizer cuts no further before it looks for pieces; one of several
        tokens stands here as often.
        """
        encoded = self._backend.encode(text, add_special_tokens=False)
        words = (encoded.token_to_word(token) for token in range(len(encoded)))
        return [
            (None if word is None else encoded.word_to_chars(word)) or own
            for word, own in zip(words, encoded.offsets, strict=True)
        ]

    def _batch(self, texts: list[str], prefix: str = "") -> Any:
        if self._reads_hidden:
            # A text with such a character would otherwise write a hidden name.
            texts = [text.replace(_HIDING, "\ufffd") for text in texts]
        return self._backend.encode_batch_fast(
            [prefix + text for text in texts], add_special_tokens=False
        )


def special_ends(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special token ids that the tokenizer puts before and after a single text."""
    bare = tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"]
    whole = tokenizer(_ANCHOR)["input_ids"]
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return list(whole[:start]), list(whole[start + len(bare) :])
    raise ArtError(f"{type(tokenizer).__name__} changes a text when it adds special tokens")


def prompt_ids(tokenizer: Any, text: str, *, after_space: bool = False) -> list[int]:
    """Return the ids of a piece of a prompt, in which special tokens are meant as such.

    Args:
        tokenizer: a Hugging Face tokenizer.
        text: the piece, without the space before it.
        after_space: encode it as what follows a word and a space, the space included.
    """
    if not after_space:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    anchor = tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"]
    whole = tokenizer(f"{_ANCHOR} {text}", add_special_tokens=False)["input_ids"]
    return list(whole[len(anchor) :])


def _hidden(piece: str) -> str:
    return f"{_HIDING}{piece}{_HIDING}"


def _with_hidden(prefix: str, special: set[str]) -> str:
    """Return a prefix with the hidden name of each special token in it, the longest first."""
    names = sorted(map(re.escape, special), key=len, reverse=True)
    return re.sub("|".join(names), lambda found: _hidden(found[0]), prefix) if names else prefix


def _without_markup(document: dict[str, Any], special: set[str]) -> dict[str, Any]:
    """Return a tokenizer's JSON in which no special token can come out of a text; ids stay."""

    def rename(piece: str) -> str:
        return _hidden(piece) if piece in special else piece

    model = dict(document["model"])
    if isinstance(model["vocab"], dict):
        model["vocab"] = {rename(piece): index for piece, index in model["vocab"].items()}
    else:
        model["vocab"] = [[rename(piece), score] for piece, score in model["vocab"]]
    if model.get("unk_token"):
        model["unk_token"] = rename(model["unk_token"])
    if "merges" in model:
        model["merges"] = [
            [left, right]
            for left, right in model["merges"]
            if special.isdisjoint((left, right, left + right))
        ]
    # A hidden name is looked for in the text as it stands: some normalizers would take it apart.
    hidden = {"normalized": False}
    added = [
        token | {"content": rename(token["content"])} | (hidden if token["special"] else {})
        for token in document["added_tokens"]
    ]
    return document | {"model": model, "added_tokens": added, "post_processor": None}


def _vocab_size(document: dict[str, Any]) -> int:
    """Return the highest token id plus one; ids may have gaps, so it is not a count."""
    vocab = document["model"]["vocab"]
    ids = vocab.values() if isinstance(vocab, dict) else range(len(vocab))
    added = [token["id"] for token in document["added_tokens"]]
    return max((*ids, *added), default=-1) + 1
