"""The index embedded anew, and how far it had fallen behind the passage tower by then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from art import distributed
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.searcher import IndexSearcher
from art.training.candidates import embed_batch, from_retriever, in_fresh_order
from art.training.corpus import RunCorpus
from art.training.methods import Learner
from art.training.run_folder import RunFolder

FoundRows = tuple[tuple[int, ...], ...]
"""Rows that a search found for G questions, [G, K], as a checkpoint keeps them."""

NUM_LOOKED_AT = 2
"""Passages that `Refresher.least_share_changed` encodes for a question, times K."""


class Refresher:
    """Refreshes a run's index, and measures on the next step's questions what that changes.

    Every process of the job must call each method at the same point.

    Args:
        run: whose index it is.
        corpus: with the index.
        retriever: the student.
        learner: knows the questions.
    """

    def __init__(
        self, run: RunFolder, corpus: RunCorpus, retriever: Retriever, learner: Learner
    ) -> None:
        self._run = run
        self._corpus = corpus
        self._retriever = retriever
        self._learner = learner

    def find(self, step: int) -> FoundRows | None:
        """Return what the next step that searches would find; None without such a step.

        Args:
            step: updates done so far.
        """
        searched = self._learner.next_searched(step)
        if searched is None:
            return None
        batch, top_k = searched
        _, rows = self._corpus.searched().search_for_all(
            lambda: embed_batch(self._retriever, batch), top_k
        )
        return tuple(map(tuple, rows.tolist()))

    def least_share_changed(self, step: int) -> float:
        """Return which share of the top-K a refresh would exchange at least, 0 if nothing searches.

        The nearest 2 K passages by the index are put in order by vectors of the passage tower as it
        is now. What would come from further away is not seen, so the share is too low where much
        has changed; but it costs that many encoded passages instead of the corpus.

        Args:
            step: updates done so far.
        """
        searched = self._learner.next_searched(step)
        if searched is None:
            return 0.0
        batch, top_k = searched
        retriever, corpus = self._retriever, self._corpus
        stale = from_retriever(retriever, corpus.searched(), NUM_LOOKED_AT * top_k)(batch)
        fresh = in_fresh_order(lambda _: stale, retriever, corpus, top_k)(batch)
        # From all processes, so that they all decide alike.
        pairs = zip(*distributed.gather_objects((stale[:, :top_k], fresh)), strict=True)
        return share_changed(*(np.concatenate(rows).tolist() for rows in pairs))

    def embed(self, step: int, before: FoundRows | None) -> tuple[Index, float | None]:
        """Embed the corpus with the live weights of the passage tower, and search it from now on.

        Args:
            step: updates done so far.
            before: what `find` returned of the index before; None where it was not asked.

        Returns:
            The index, and which share of the passages found has changed; None where nobody knows.
        """
        folder = self._run.index_folder(f"step-{step:08d}")
        index = self._corpus.embed(self._retriever, folder, f"refresh at step {step}")
        self._corpus.searcher = IndexSearcher(index, self._retriever.device)
        after = None if before is None else self.find(step)
        return index, None if before is None or after is None else share_changed(before, after)


def share_changed(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> float:
    """Return which share of the passages found now were not found before.

    Args:
        before: rows of each question, [G, K].
        after: of the same questions.
    """
    pairs = zip(before, after, strict=True)
    kept = sum(len(set(old) & set(new)) for old, new in pairs)
    return 1.0 - kept / sum(map(len, after))
