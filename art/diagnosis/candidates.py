"""What searches find for each question, and each pair of question and passage only once."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.data.formats import Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.labels import is_labelled
from art.evaluation.sharing import my_vectors
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.searcher import IndexSearcher

BM25_NAME, RETRIEVER_NAME = "BM25", "retriever"


class Candidates(NamedTuple):
    """What a search found for each question: rows and scores, best first, [Q, W] each."""

    rows: NDArray[np.int64]
    scores: NDArray[Any]


def retrieve(
    retriever: Retriever,
    passages: TokenStore | Index,
    store: PassageStore,
    texts: list[str],
    width: int,
    *,
    progress: bool,
) -> Candidates:
    """Return a retriever's first W passages of Q questions.

    Every process of the job must call it, with the same arguments.

    Args:
        retriever: embeds the questions.
        passages: an index that it made of the store, or the store's token ids to be embedded.
        store: the passages.
        texts: the questions.
        width: W.
        progress: show a bar on the main process.
    """
    with tempfile.TemporaryDirectory() as own:
        if isinstance(passages, Index):
            index = passages
        else:
            folder = Path(distributed.broadcast_object(own))
            index = embed_passages(retriever, passages, folder, store=store, progress=progress)
        searcher = IndexSearcher(index, retriever.device)
        # The folder stays until all have searched it: they exchange what they find.
        scores, rows = searcher.search_for_all(lambda: my_vectors(retriever, texts), width)
    return Candidates(rows, scores)


@dataclass(frozen=True)
class Union:
    """The passages that several searches found for Q questions, each of a question's once.

    Attributes:
        rows: [Q, U], -1 where the passage stands earlier in the same line.
        num_twice: how many places of all lists are such.
    """

    rows: NDArray[np.int64]
    num_twice: int
    _places: NDArray[np.int64]
    _bounds: dict[str, slice]

    @classmethod
    def of(cls, lists: Mapping[str, NDArray[np.int64]]) -> Union:
        """Unite the rows of several searches, [Q, K] each."""
        stops = np.cumsum([rows.shape[1] for rows in lists.values()]).tolist()
        bounds = map(slice, [0, *stops[:-1]], stops)
        together = np.concatenate(list(lists.values()), axis=1)  # [Q, U]
        order = np.argsort(together, axis=1, kind="stable")
        ordered = np.take_along_axis(together, order, axis=1)
        is_new = np.diff(ordered, axis=1, prepend=-1) != 0
        columns = np.arange(together.shape[1])
        first = np.maximum.accumulate(np.where(is_new, columns, 0), axis=1)
        places = np.empty_like(order)
        np.put_along_axis(places, order, np.take_along_axis(order, first, axis=1), axis=1)
        is_first = places == columns
        return cls(
            np.where(is_first, together, -1),
            int((~is_first).sum()),
            places,
            dict(zip(lists, bounds, strict=True)),
        )

    def divided(self, scores: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return each search's part, [Q, K], of scores in the shape of `rows`."""
        every = np.take_along_axis(scores, self._places, axis=1)
        return {name: every[:, bound] for name, bound in self._bounds.items()}


def choose_questions(questions: Sequence[Question], count: int, *, seed: int) -> list[Question]:
    """Draw so many questions, in their order; only labelled ones where there are any."""
    usable = [question for question in questions if is_labelled(question)] or list(questions)
    if len(usable) <= count:
        return usable
    drawn = np.random.default_rng(seed).choice(len(usable), size=count, replace=False)
    return [usable[position] for position in sorted(drawn.tolist())]
