"""What the tests of `IndexSearcher` run in several processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art import distributed
from art.errors import ArtError
from art.retriever.index import Index
from art.retriever.searcher import IndexSearcher


@dataclass(frozen=True)
class Job:
    """A search of one index.

    Attributes:
        folder: of the index.
        questions: that all processes ask between them, [Q, D].
        top_k: K.
        failing: rank of the process that cannot embed its questions; None where all can.
    """

    folder: Path
    questions: np.ndarray
    top_k: int
    failing: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What a process got.

    Attributes:
        asked: which of the questions were its own.
        own: scores and rows of these.
        every: scores and rows of all questions.
        scored: scores of the rows of `own`, from last to first.
        shards: that it has mapped.
        error: what was raised instead.
    """

    asked: slice | None = None
    own: tuple[np.ndarray, np.ndarray] | None = None
    every: tuple[np.ndarray, np.ndarray] | None = None
    scored: np.ndarray | None = None
    shards: frozenset[int] = frozenset()
    error: str | None = None


def search_all(jobs: Sequence[Job]) -> list[Outcome]:
    """Search every index as one of the processes; rank 1 has no question of its own."""
    return [_search(job) for job in jobs]


def _search(job: Job) -> Outcome:
    rank, index = distributed.rank(), Index.open(job.folder)
    searcher = IndexSearcher(index, torch.device("cpu"))
    first = len(job.questions) // 3 if distributed.world_size() > 2 else len(job.questions)
    asked = {0: slice(first), 1: slice(first, first)}.get(rank, slice(first, None))

    def ask() -> np.ndarray | None:
        if rank == job.failing:
            raise ArtError(f"process {rank} has no luck")
        return job.questions[asked] if rank != 1 else None

    try:
        own = searcher.search(ask, job.top_k)
        every = searcher.search_for_all(ask, job.top_k)
        scored = searcher.score(ask, own[1][:, ::-1])
    except ArtError as error:
        return Outcome(error=str(error))
    return Outcome(asked, own, every, scored, frozenset(index._shards._mapped))
