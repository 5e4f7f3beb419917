"""What a contrastive step reads, labelled questions or pairs cut from passages, and its pools."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from art.data.cloze import Cut, cloze_items
from art.data.contrastive import ContrastiveItem
from art.evaluation.pooled import Pool
from art.training.selection import NO_EPOCH, TrainingSplit

if TYPE_CHECKING:
    from art.data.passages import PassageStore
    from art.data.supervised_store import SupervisedStore
    from art.data.tokens import TokenStore
    from art.retriever.encoders import Retriever

EpochItems = Callable[[Sequence[int], int], list[ContrastiveItem]]
"""Positions in a training set, and the pass over it, from 0 → their items."""


def labelled_items(
    store: SupervisedStore,
    tokens: TokenStore,
    split: TrainingSplit,
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


def cut_pairs(store: PassageStore, retriever: Retriever, *, cut: Cut, seed: int) -> EpochItems:
    """Return what cuts a pair from each of some passages, other pairs in every epoch.

    Args:
        store: the passages; the positions are their rows.
        retriever: whose towers will read the pairs.
        cut: makes a pair of a text, such as `cloze.inverse_cloze`.
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
        targets=np.searchsorted(rows, [store.positives(i)[0] for i in chosen]),
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
        targets=np.arange(len(items)),
        positives=[item.positive_keys for item in items],
    )
