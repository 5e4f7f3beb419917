"""What a contrastive step reads: labelled questions, or pairs cut from passages; who chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art.data.cloze import Cut, cloze_items
from art.data.contrastive import ContrastiveItem
from art.data.passages import PassageStore
from art.data.supervised_store import SupervisedStore
from art.data.tokens import TokenStore
from art.errors import DataError
from art.evaluation.pooled import Pool
from art.retriever.encoders import Retriever
from art.training.plan import NO_EPOCH, hold_out

EpochItems = Callable[[Sequence[int], int], list[ContrastiveItem]]
"""Positions in a training set, and the pass over it, from 0 → their items."""


@dataclass(frozen=True, eq=False)
class Split:
    """Who trains and who chooses among n questions or passages.

    Attributes:
        size: n.
        held_out: positions that choose, in order; none where others do.
        left_out: positions that do not train, in order: those, and the same questions elsewhere.
    """

    size: int
    held_out: NDArray[np.int64]
    left_out: NDArray[np.int64]

    @property
    def num_training(self) -> int:
        """How many train."""
        return self.size - len(self.left_out)

    def training(self, places: Sequence[int]) -> list[int]:
        """Return the positions of those that train, from their places among themselves."""
        # A place moves up by each that is left out at or before it; no list of all is needed.
        before = self.left_out - np.arange(len(self.left_out))
        chosen = np.asarray(places, dtype=np.int64)
        moved: list[int] = (chosen + np.searchsorted(before, chosen, side="right")).tolist()
        return moved


def split_labelled(
    store: SupervisedStore, *, seed: int, hold_some_out: bool, choosing: Sequence[str] = ()
) -> Split:
    """Divide labelled questions into those that train and those that choose.

    Args:
        store: the questions.
        seed: of the run.
        hold_some_out: whether some of them choose.
        choosing: texts of other questions that choose; they do not train here.

    Raises:
        DataError: there is one question alone, which cannot both train and choose.
    """
    nobody = np.zeros(0, dtype=np.int64)
    held_out = hold_out(len(store), seed=seed) if hold_some_out else nobody
    if hold_some_out and not len(held_out):
        raise DataError(
            "one labelled question cannot both train and choose",
            hint="give more in data.supervised, or evaluation.supervised",
        )
    texts = {*choosing, *(store.questions[i] for i in held_out.tolist())}
    if not texts:
        return Split(len(store), held_out, nobody)
    left_out = [i for i, text in enumerate(store.questions) if text in texts]
    return Split(len(store), held_out, np.array(left_out, dtype=np.int64))


def split_passages(store: PassageStore, *, seed: int, hold_some_out: bool) -> Split:
    """Divide passages into those whose pairs train and those whose pairs choose."""
    held_out = hold_out(len(store), seed=seed) if hold_some_out else np.zeros(0, dtype=np.int64)
    return Split(len(store), held_out, held_out)


def labelled_items(
    store: SupervisedStore,
    tokens: TokenStore,
    split: Split,
    retriever: Retriever,
    *,
    num_hard_negatives: int,
    positive: Literal["first", "random"],
    seed: int,
) -> EpochItems:
    """Return what reads labelled questions, each with a positive and hard negatives.

    Args:
        store: the questions.
        tokens: of its contexts under the retriever's passage template.
        split: which of them train.
        retriever: whose question tower will read them.
        num_hard_negatives: of each question, where it has so many.
        positive: see `SupervisedStore.select`.
        seed: of the run.
    """

    def read(places: Sequence[int], epoch: int) -> list[ContrastiveItem]:
        positions = split.training(places)
        texts = [store.questions[position] for position in positions]
        asked = zip(positions, retriever.question_template.questions(texts), strict=True)
        return [item(position, ids, epoch) for position, ids in asked]

    def item(position: int, ids: ArrayLike, epoch: int) -> ContrastiveItem:
        chosen, negatives = store.select(
            position,
            seed=seed,
            epoch=epoch,
            num_hard_negatives=num_hard_negatives,
            positive=positive,
        )
        rows = [chosen, *negatives.tolist()]
        return ContrastiveItem(
            ids,
            [tokens[row] for row in rows],
            store.keys[rows],
            store.keys[store.positives(position)],
        )

    return read


def cut_pairs(
    store: PassageStore, retriever: Retriever, *, cut: Cut, keep: float, seed: int
) -> EpochItems:
    """Return what cuts a pair from each of some passages, other pairs in every epoch.

    Args:
        store: the passages; the positions are their rows.
        retriever: whose towers will read the pairs.
        cut: how.
        keep: see `cloze.inverse_cloze`.
        seed: of the run.
    """

    def pairs(rows: Sequence[int], epoch: int) -> list[ContrastiveItem]:
        return cloze_items(
            rows,
            store,
            cut=cut,
            question_template=retriever.question_template,
            passage_template=retriever.passage_template,
            seed=seed,
            epoch=epoch,
            keep=keep,
        )

    return pairs


def labelled_pool(
    store: SupervisedStore,
    tokens: TokenStore,
    retriever: Retriever,
    positions: Sequence[int] | None = None,
) -> Pool:
    """Return labelled questions to choose on, each to be told from the passages of all of them.

    Args:
        store: the questions.
        tokens: of its contexts under the retriever's passage template.
        retriever: whose question tower will read them.
        positions: of the questions; None for all.
    """
    chosen = range(len(store)) if positions is None else positions
    texts = [store.questions[i] for i in chosen]
    kinds = (store.positives, store.hard_negatives, store.negatives)
    rows = np.unique(np.concatenate([of(i) for i in chosen for of in kinds]))
    return Pool.of(
        retriever.question_template.questions(texts),
        lambda columns: [tokens[int(rows[column])] for column in columns],
        keys=store.keys[rows],
        positives=[store.keys[store.positives(i)] for i in chosen],
    )


def cut_pool(pairs: EpochItems, rows: Sequence[int]) -> Pool:
    """Return pairs cut from these passages to choose on, the same at every evaluation.

    Args:
        pairs: see `cut_pairs`.
        rows: of the passages.
    """
    items = pairs(rows, NO_EPOCH)
    return Pool.of(
        [item.question for item in items],
        lambda columns: [items[column].passages[0] for column in columns],
        keys=np.concatenate([item.keys for item in items]),
        positives=[item.positive_keys for item in items],
    )
