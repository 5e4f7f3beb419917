"""Large batches in little memory: the loss of all vectors at once, the towers a chunk at a time.

A contrastive loss needs every vector of the batch, but its gradient with respect to the towers
falls apart into those of the vectors. So every chunk is first encoded without gradient, then the
loss gives the gradient of each vector, and at last each chunk is encoded again, with the same
dropout, and passes its vectors' gradient on (Gao et al. 2021, arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from art import distributed
from art.data.batching import token_batches
from art.data.tokens import pad
from art.training.schedule import seed_micro_batch

if TYPE_CHECKING:
    from art.retriever.encoders import Retriever


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """What a micro-batch gives the towers to read.

    Attributes:
        number: of the micro-batch, over all processes; its dropout is seeded with it.
        questions: token ids of each question, at least one.
        passages: token ids of each passage, at least one.
    """

    number: int
    questions: Sequence[ArrayLike]
    passages: Sequence[ArrayLike]


@contextmanager
def grad_cached(
    model: nn.Module,
    retriever: Retriever,
    inputs: Sequence[TowerInputs],
    *,
    seed: int,
    step: int,
    average: bool,
    chunk_tokens: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give the vectors of questions and passages to a block that back-propagates a loss of them.

    The block calls `backward` once, on a loss of the vectors it is given. When it is left, the
    parameters have the gradient that encoding everything in one go would have given them. What is
    a single chunk on every process is encoded once, as it would be without chunks.

    Args:
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: both towers.
        inputs: micro-batches, equally many on every process.
        seed: of the run.
        step: optimiser steps done before this one.
        average: average the gradients over the processes, in the last backward pass.
        chunk_tokens: padded tokens of a chunk at most, for each tower; None for a chunk per
            micro-batch.

    Yields:
        Question vectors [n, D] and passage vectors [p, D], in the order of the micro-batches.
    """
    chunks = list(_chunks(inputs, chunk_tokens))
    read = partial(_read, model=model, retriever=retriever, seed=seed, step=step)
    whole = len(chunks) == 1
    if chunk_tokens is not None:
        # Lengths differ between processes, but where one must encode twice, all do: averaging and
        # gathering would otherwise come in another order on each.
        whole = all(distributed.gather_objects(whole))
    if whole:
        with distributed.gradient_average(model, enabled=average):
            questions, passages = read(chunks[0])
            assert questions is not None and passages is not None
            yield questions, passages
        return
    with torch.no_grad():
        parts = [read(chunk) for chunk in chunks]
    vectors = [
        _in_order([part[side] for part in parts], [chunk.places[side] for chunk in chunks])
        for side in (0, 1)
    ]
    learning = [tower.trainable for tower in (retriever.question_tower, retriever.passage_tower)]
    for some, trainable in zip(vectors, learning, strict=True):
        some.requires_grad_(trainable)
    yield vectors[0], vectors[1]
    gradients = [some.grad for some in vectors]
    for chunk in chunks:
        with distributed.gradient_average(model, enabled=average and chunk is chunks[-1]):
            _pass_on(read(chunk.only(learning)), gradients, chunk.places)


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """What goes through the towers at once; questions first, then passages.

    Attributes:
        number: of the micro-batch, and of the chunk in it.
        ids: token ids of each question and of each passage; a side may be empty.
        places: where they stand among all questions and all passages.
    """

    number: tuple[int, int]
    ids: tuple[list[ArrayLike], list[ArrayLike]]
    places: tuple[NDArray[np.int64], NDArray[np.int64]]

    def only(self, sides: Sequence[bool]) -> _Chunk:
        """Return the chunk without the other sides."""
        first, second = (ids if wanted else [] for ids, wanted in zip(self.ids, sides, strict=True))
        return replace(self, ids=(first, second))


def _chunks(inputs: Sequence[TowerInputs], chunk_tokens: int | None) -> Iterator[_Chunk]:
    """Cut every micro-batch into chunks, the longest sequences first."""
    before = [0, 0]  # questions and passages of earlier micro-batches
    for one in inputs:
        sides = (one.questions, one.passages)
        batches = [_batches(side, chunk_tokens) for side in sides]
        # Paired from the shortest on, so that the last chunk has both questions and passages:
        # averaging ends with it, and must find every parameter in it.
        pairs = list(zip_longest(*batches, fillvalue=np.zeros(0, dtype=np.int64)))[::-1]
        for number, rows in enumerate(pairs):
            first, second = (
                [side[i] for i in some] for side, some in zip(sides, rows, strict=True)
            )
            places = (rows[0] + before[0], rows[1] + before[1])
            yield _Chunk((one.number, number), (first, second), places)
        before = [start + len(side) for start, side in zip(before, sides, strict=True)]


def _batches(sequences: Sequence[ArrayLike], budget: int | None) -> list[NDArray[np.int64]]:
    if budget is None:
        return [np.arange(len(sequences))]
    lengths = [len(np.asarray(sequence)) for sequence in sequences]
    # In their order within a batch, so that one batch of all is what it is without a budget.
    return [np.sort(batch) for batch in token_batches(lengths, budget)]


def _read(
    chunk: _Chunk,
    *,
    model: nn.Module,
    retriever: Retriever,
    seed: int,
    step: int,
) -> tuple[Tensor | None, Tensor | None]:
    """Encode a chunk with the dropout that is its own, however often it is encoded."""
    seed_micro_batch(seed, step, *chunk.number)
    tensors: list[Tensor | None] = []
    for ids in chunk.ids:
        padded = pad(ids, pad_id=retriever.pad_id) if ids else (None, None)
        tensors += [None if one is None else one.to(retriever.device) for one in padded]
    vectors: tuple[Tensor | None, Tensor | None] = model(*tensors, limits=retriever.training_limits)
    return vectors


def _in_order(parts: Sequence[Tensor | None], places: Sequence[NDArray[np.int64]]) -> Tensor:
    found = torch.cat([part for part in parts if part is not None])
    return found[torch.from_numpy(np.argsort(np.concatenate(places)))]


def _pass_on(
    vectors: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    places: Sequence[NDArray[np.int64]],
) -> None:
    """Back-propagate the gradients of a chunk's vectors; None where a tower is frozen."""
    outputs, their_gradients = [], []
    for own, of_all, rows in zip(vectors, gradients, places, strict=True):
        if own is not None:
            assert of_all is not None  # the block has back-propagated
            outputs.append(own)
            their_gradients.append(of_all[torch.from_numpy(rows)])
    if outputs:
        torch.autograd.backward(outputs, their_gradients)
