"""What a reader reads of a question and a passage: `[CLS] question [SEP] title [SEP] text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art.data.encoding import TextEncoder
from art.data.pairs import Ids, joined
from art.errors import ArtError
from art.files import fingerprint


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
    too long. Special tokens in questions and passages are plain text. Called with titles and texts,
    it is a `PassageEncoder`: it returns `title [SEP] text` of each passage, uncut.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        max_length: tokens at most.

    Attributes:
        pad_id: what fills up shorter inputs.
        max_length: tokens of an input at most.
        fingerprint: stands for how passages are encoded.
        vocab_size: no token id is as high.
        continues: of each token id, whether the token goes on with a word, [vocab_size] bool.
        unknown_id: what stands for every word that the vocabulary lacks; None where nothing does.

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
        self.vocab_size = self._encoder.vocab_size
        self.fingerprint = fingerprint("title [SEP] text", self._encoder.fingerprint)
        self.continues = _continuing(tokenizer, self.vocab_size)
        self.unknown_id: int | None = tokenizer.unk_token_id

    def questions(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each question, or answer, uncut."""
        return self._encoder(texts)

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        """Return the token ids of each passage, uncut."""
        pairs = zip(self._encoder(titles), self._encoder(texts), strict=True)
        return [[*title, *self._separator, *text] for title, text in pairs]

    def reading(self, question: Ids, passage: Ids) -> Reading:
        """Put a question and a passage together and cut them to `max_length`.

        Args:
            question: from `questions`.
            passage: from a call, or from a token store that was made by calls.
        """
        own = joined(passage)
        whole = joined(self._first, question, self._separator, own)
        # No title holds a separator: in texts, special tokens are plain text.
        text = own[np.argmax(own == self._separator[0]) + 1 :]
        ids = whole[: self.max_length]
        return Reading(ids, min(len(whole) - len(text), len(ids)), len(whole) > len(ids))

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


def _continuing(tokenizer: Any, vocab_size: int) -> NDArray[np.bool_]:
    """Return which tokens go on with a word; none where the tokenizer does not mark them."""
    continues = np.zeros(vocab_size, dtype=np.bool_)
    mark = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
    if mark:
        vocabulary = tokenizer.get_vocab()
        continues[[index for piece, index in vocabulary.items() if piece.startswith(mark)]] = True
    return continues
