"""What a teacher reads of a question and a passage, as token ids; passages encoded for teachers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art.data.encoding import TextEncoder
from art.errors import DataError
from art.files import fingerprint

Ids = Sequence[int] | NDArray[np.integer[Any]]


class Asked(NamedTuple):
    """What a teacher's input takes from the question alone: made once for all its passages.

    Attributes:
        question: token ids that stand among those of the passage; empty where none do.
        target: token ids whose likelihood is the score; empty where there are none.
    """

    question: Ids
    target: Ids


class Pair(NamedTuple):
    """All that a teacher reads of a question and a passage, on either side of a border.

    Attributes:
        first: token ids before it: a language model's context, or a cross-encoder's question.
        second: token ids behind it: the target whose likelihood is the score, or the passage.
    """

    first: Ids
    second: Ids


class PassagePart:
    """Token ids of passages as teachers read them, uncut: a `PassageEncoder`.

    Its fingerprint stands for the tokenizer and this part, not for what surrounds it, so teachers
    of one tokenizer share the token ids of a store.

    Args:
        encoder: the tokenizer.
        after_space: whether a space stands before the passage.
    """

    fingerprint: str
    vocab_size: int

    def __init__(self, encoder: TextEncoder, *, after_space: bool) -> None:
        self._encoder = encoder
        self._passage_after_space = after_space
        self.vocab_size = encoder.vocab_size
        self.fingerprint = fingerprint("scorer passages 1", encoder.fingerprint, str(after_space))

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        """Return the token ids of each passage's part of the input, title and text, uncut.

        Args:
            titles: n titles; blank where a passage has none.
            texts: n texts.

        Returns:
            n lists of token ids of any length.
        """
        joined = [f"{a.strip()} {b.strip()}".strip() for a, b in zip(titles, texts, strict=True)]
        return self._encoder(joined, after_space=self._passage_after_space)

    passages = __call__


def joined(*parts: Ids) -> NDArray[np.int32]:
    """Return token ids, one part after the other, as an array with the same bytes everywhere."""
    arrays = [np.asarray(part, dtype="<i4") for part in parts]
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype="<i4")


def beside_passage(
    encoder: TextEncoder, question: str, room: int, *, after_space: bool = False
) -> list[int]:
    """Return the token ids of a question that shares its room with a passage, which alone is cut.

    Args:
        encoder: the tokenizer.
        question: its text.
        room: tokens that both have together.
        after_space: whether a space stands before the question.

    Raises:
        DataError: nothing of the question is left after tokenising, or no room for a passage.
    """
    (ids,) = encoder([question.strip()], after_space=after_space)
    if not ids:
        raise DataError(f"no tokens are left of {question!r}", hint="remove it")
    if len(ids) >= room:
        raise DataError(
            f"question {question!r:.80} has {len(ids)} tokens, which leaves no room for a passage",
            hint="raise teacher.max_length, or remove the question",
        )
    return ids
