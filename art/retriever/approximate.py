"""Search that looks at a part of the passages only; what it finds is scored and ordered exactly.

FAISS's lists or graph name candidates, K and some more. Whatever it says of them decides nothing
but which they are: their final scores are those of `search`, from the stored vectors, and so is
their order. A passage that is no candidate is missed; `ApproximateRecord.recall` says how many are.

Lists do not depend on the number of processes: the centroids are the same everywhere, and the
nearest of them are found exactly. Each process has its own shards in the lists; of the candidates
of all processes the best are kept, those that one process would have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from art.config import IndexKind
from art.retriever.blocks import Blocks, RowBlock
from art.retriever.index_manifest import ApproximateRecord
from art.retriever.nearest import load_faiss
from art.retriever.parts import GRAPH, TRAINED, check_part, shard_part
from art.retriever.search import (
    EXTRA,
    Exchange,
    Floats,
    OwnBest,
    Rows,
    alone,
    best,
    merged,
    pair_scores,
    pieces,
    search,
)

Vectors = NDArray[np.float32]

_CODED = 8  # candidates for each passage asked for, where codes stand for vectors
_NUMBERS = 1 << 22  # float64 numbers multiplied at once


class NearbyRows(NamedTuple):
    """What FAISS found for Q questions.

    Attributes:
        scores: its own, [Q, C]; -inf where there is no row.
        rows: [Q, C]; -1 where there is none.
    """

    scores: NDArray[np.float32]
    rows: Rows


class ApproximateSearch:
    """Searches an index by candidates of an approximate kind; a `Finder`.

    Its files are read and checked when it is made. Lists are mapped; a graph is in memory.

    Args:
        folder: of the index.
        record: what is there.
        shards: of this process, ascending.
        shard_rows: rows of every shard but the last.
        vectors: returns stored vectors of rows, [n, D].
        open_blocks: returns the rows of this process's shards, for what has to be searched exactly.

    Raises:
        CorruptionError: a file is not what was written.
        ArtError: FAISS is missing.
    """

    def __init__(
        self,
        folder: Path,
        record: ApproximateRecord,
        shards: Sequence[int],
        *,
        shard_rows: int,
        vectors: Callable[[Rows], Vectors],
        open_blocks: Callable[[], Blocks],
    ) -> None:
        kind = IndexKind.named(record.kind)
        assert kind is not None  # an exact index has no such record
        self._times = _CODED if kind.code_bytes else 1
        self._source: _WholeGraph | _MappedLists | None = None
        self._has_all = bool(kind.num_links)
        if not kind.num_links:
            self._source = _MappedLists(folder, record, shards)
        elif 0 in shards:  # one process has the graph
            self._source = _WholeGraph(folder, record)
        self._shards, self._shard_rows = np.array(shards, dtype=np.int64), shard_rows
        self._vectors = vectors
        self._open_blocks = open_blocks

    def __call__(
        self, questions: Vectors, top_k: int, *, exchange: Exchange = alone
    ) -> tuple[Floats, Rows]:
        """Return the K candidates with the largest inner products, for every question.

        A question with fewer candidates than that is compared with every row.

        Args:
            questions: [Q, D], finite, the same on every process.
            top_k: K, not above N.
            exchange: with the other processes, each of which calls this.

        Returns:
            Scores and rows, [Q, K] each, ordered by (score descending, row ascending).
        """
        scores = np.empty((len(questions), top_k), dtype=np.float64)
        rows = np.empty((len(questions), top_k), dtype=np.int64)
        count = self._times * top_k + EXTRA
        for chosen in pieces(np.arange(len(questions)), count):
            asked = questions[chosen]
            of_all = exchange(partial(self._candidates, asked, count))
            kept = _best_candidates(of_all, count)
            found = exchange(partial(self._own_best, asked, kept, top_k))
            scores[chosen], rows[chosen] = merged(found, top_k)
        short = np.flatnonzero(rows[:, -1] < 0)
        if short.size:
            exchange(self._check_blocks)
            found_exactly = search(self._blocks, questions[short], top_k, exchange=exchange)
            scores[short], rows[short] = found_exactly
        return scores, rows

    def _candidates(self, questions: Vectors, count: int) -> NearbyRows:
        if self._source is None:
            nothing = np.empty((len(questions), 0))
            return NearbyRows(nothing.astype(np.float32), nothing.astype(np.int64))
        scores, rows = self._source.nearest(questions, count)
        return NearbyRows(np.where(rows < 0, -math.inf, scores).astype(np.float32), rows)

    def _own_best(self, questions: Vectors, rows: Rows, top_k: int) -> OwnBest:
        own = self._owns(rows) & (rows >= 0)
        final = pair_scores(
            lambda wanted: torch.from_numpy(self._vectors(wanted.numpy())),
            torch.from_numpy(questions),
            torch.from_numpy(rows),
            torch.from_numpy(own),
            _NUMBERS,
        )
        scores, rows_of = best(final, torch.from_numpy(np.where(own, rows, -1)), top_k)
        missing = (0, top_k - scores.shape[1])
        return OwnBest(
            torch.nn.functional.pad(scores, missing, value=-math.inf).numpy(),
            torch.nn.functional.pad(rows_of, missing, value=-1).numpy(),
            np.full(len(questions), -math.inf),
            np.ones(len(questions), dtype=np.bool_),
        )

    def _owns(self, rows: Rows) -> NDArray[np.bool_]:
        """Return which rows this process scores, so that each is scored once."""
        if self._has_all:
            return np.full(rows.shape, self._source is not None)
        return np.isin(rows // self._shard_rows, self._shards)

    def _check_blocks(self) -> None:
        _ = self._blocks  # read the first time: damage is raised by every process

    @cached_property
    def _blocks(self) -> Blocks:
        return self._open_blocks()


def _best_candidates(of_all: Sequence[NearbyRows], count: int) -> Rows:
    """Return the rows of the best candidates of all processes, [Q, ≤ count]; -1 for none."""
    scores, rows = best(
        torch.from_numpy(np.concatenate([one.scores for one in of_all], axis=1)),
        torch.from_numpy(np.concatenate([one.rows for one in of_all], axis=1)),
        count,
    )
    if scores.shape[1] == count:
        # Which of those with the last score FAISS names is chance, and depends on how the shards
        # are divided; all with more are there. Where many are alike, exact search is left.
        rows = rows.where(scores > scores[:, -1:], -1)
    kept: Rows = rows.numpy()
    return kept


class _MappedLists:
    """Some shards of an index in lists, of which those with the nearest centroids are searched."""

    def __init__(self, folder: Path, record: ApproximateRecord, shards: Sequence[int]) -> None:
        faiss = load_faiss()
        trained = check_part(folder, TRAINED, record.parts[TRAINED])
        self._index = faiss.read_index(str(trained))
        self._effort = record.effort
        self._parts = [_mapped_lists(folder, record, shard) for shard in shards]
        self._index.nprobe = record.effort
        if self._parts:
            pointers = faiss.InvertedListsPtrVector()
            for part in self._parts:
                pointers.push_back(part)
            self._stack = faiss.HStackInvertedLists(pointers.size(), pointers.data())
            self._index.replace_invlists(self._stack, False)
            self._index.ntotal = self._stack.compute_ntotal()
        self._centroids = _as_blocks(faiss.downcast_index(self._index.quantizer))

    def nearest(self, questions: Vectors, count: int) -> tuple[NDArray[np.float32], Rows]:
        """Return FAISS's scores and rows of the nearest, [Q, ≤ count] each."""
        # Exactly, or lists of nearly the same score would depend on the other questions.
        scores, lists = search(self._centroids, questions, self._effort)
        found: tuple[NDArray[np.float32], Rows] = self._index.search_preassigned(
            questions,
            max(1, min(count, self._index.ntotal)),
            Iq=lists,
            Dq=scores.astype(np.float32),
        )
        return found


def _mapped_lists(folder: Path, record: ApproximateRecord, shard: int) -> Any:
    name, faiss = shard_part(shard), load_faiss()
    path = check_part(folder, name, record.parts[name])
    flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
    lists = faiss.read_InvertedLists(faiss.FileIOReader(str(path)), flags)
    lists.prefetch_nthread = 0  # else every search starts 32 threads for every shard
    return lists


def _as_blocks(quantizer: Any) -> Blocks:
    centroids: Vectors = quantizer.reconstruct_n(0, quantizer.ntotal)  # [nlist, D]
    largest = float(np.linalg.norm(centroids.astype(np.float64), axis=1).max())
    block = RowBlock(0, torch.from_numpy(centroids))
    return Blocks([block], torch.device("cpu"), quantizer.d, largest)


class _WholeGraph:
    """A whole index as a graph of neighbours, in memory."""

    def __init__(self, folder: Path, record: ApproximateRecord) -> None:
        faiss = load_faiss()
        self._index = faiss.read_index(str(check_part(folder, GRAPH, record.parts[GRAPH])))
        self._parameters = faiss.SearchParametersHNSW(efSearch=record.effort)

    def nearest(self, questions: Vectors, count: int) -> tuple[NDArray[np.float32], Rows]:
        """Return FAISS's scores and rows of the nearest, [Q, ≤ count] each."""
        found: tuple[NDArray[np.float32], Rows] = self._index.search(
            questions, min(count, self._index.ntotal), params=self._parameters
        )
        return found
