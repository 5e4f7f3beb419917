"""What a reader reads of a question and a passage: `[CLS] question [SEP] title [SEP] text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art.data.encoding import TextEncoder
from art.data.pairs import Ids, joined
from art.errors import ArtError


class PassageIds(NamedTuple):
    """Token ids of a passage, its title and its text apart and uncut."""

    title: Ids
    text: Ids


class Reading(NamedTuple):
    """All that a reader reads of a question and one passage.

    Attributes:
        ids: token ids, [L] int32.
        text_start: the place of the text's first token among them; L where no text is left.
        is_cut: whether some of the text was too much.
    """

    ids: NDArray[np.int32]
    text_start: int
    is_cut: bool


class ReaderTemplate:
    """Token ids of questions and passages as DPR's reader reads them.

    Token types are always 0, and nothing stands behind the text, which is what is cut where all is
    too long. Special tokens in questions and passages are plain text.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        max_length: tokens at most.

    Attributes:
        pad_id: what fills up shorter inputs.

    Raises:
        ArtError: the tokenizer lacks the special tokens.

    Source: `DPRReaderTokenizer` of transformers.
    """

    def __init__(self, tokenizer: Any, *, max_length: int) -> None:
        special = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
        if None in special:
            raise ArtError(
                "the reader's tokenizer lacks a classifier, separator or padding token",
                hint="choose a reader of the BERT family",
            )
        first, separator, self.pad_id = map(int, special)
        self.max_length = max_length
        self._first, self._separator = [first], [separator]
        self._encoder = TextEncoder(tokenizer)

    def questions(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each question, uncut."""
        return self._encoder(texts)

    def passages(self, titles: Sequence[str], texts: Sequence[str]) -> list[PassageIds]:
        """Return the token ids of each passage, uncut."""
        return [*map(PassageIds, self._encoder(titles), self._encoder(texts))]

    def reading(self, question: Ids, passage: PassageIds) -> Reading:
        """Put a question and a passage together and cut them to `max_length`."""
        before = joined(self._first, question, self._separator, passage.title, self._separator)
        whole = joined(before, passage.text)
        ids = whole[: self.max_length]
        return Reading(ids, min(len(before), len(ids)), len(whole) > len(ids))

    def excerpt(self, text: str, first: int, last: int) -> str:
        """Return the part of a text from one token to another, whole words of it.

        The characters are the text's own: a decoder of token ids would write `3 . 5` for `3.5`.

        Args:
            text: of a passage.
            first: a token's place among the text's.
            last: likewise, of a token that still belongs to the part.
        """
        borders = self._encoder.word_borders(text)
        return text[borders[first][0] : borders[last][1]]
