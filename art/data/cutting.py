"""How many questions and passages are longer than what is read of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.tokens import TokenStore

# Texts looked at: a second's work. Beyond, the share is taken from texts that lie evenly apart.
_MOST_QUESTIONS, _MOST_PASSAGES = 20_000, 2_000


def cut_questions(template: RetrieverTemplate, texts: Sequence[str]) -> Iterator[str]:
    """Yield a sentence where questions are cut, with how many of how many.

    Args:
        template: of the question tower.
        texts: the questions.
    """
    looked_at = [texts[i] for i in _spread(len(texts), _MOST_QUESTIONS)]
    num_cut = template.num_cut([""] * len(looked_at), looked_at)
    yield from _sentence("question", num_cut, len(looked_at), len(texts), len(texts), template)


def cut_passages(
    template: RetrieverTemplate, tokens: TokenStore, store: PassageStore
) -> Iterator[str]:
    """Yield a sentence where passages are cut, with how many of how many.

    Args:
        template: of the passage tower.
        tokens: the store's token ids under it.
        store: the passages.
    """
    full = np.flatnonzero(tokens.lengths() == template.max_length)  # what is cut is full
    looked_at = [store[int(full[i])] for i in _spread(len(full), _MOST_PASSAGES)]
    num_cut = template.num_cut([one.title for one in looked_at], [one.text for one in looked_at])
    yield from _sentence("passage", num_cut, len(looked_at), len(full), len(store), template)


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many of 0 … count-1, evenly apart."""
    num_looked_at = min(count, most)
    return [i * count // num_looked_at for i in range(num_looked_at)]


def _sentence(
    kind: str,
    num_cut: int,
    num_looked_at: int,
    num_possible: int,
    num_texts: int,
    template: RetrieverTemplate,
) -> Iterator[str]:
    if not num_cut:
        return
    about = "" if num_looked_at == num_possible else "about "
    number = round(num_cut * num_possible / num_looked_at)
    yield (
        f"{about}{number:,} of {num_texts:,} {kind}s have more than {template.max_length:,} tokens"
        f" and are cut there (--{kind}-length, in training retriever.{kind}_length)"
    )
