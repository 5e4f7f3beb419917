"""The pairs that the next steps will ask the teacher for, as far as they can be predicted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art import distributed
from art.training.candidates import Candidates
from art.training.schedule import Schedule


class Prefetched(NamedTuple):
    """The pairs of some steps, of all processes.

    Attributes:
        questions: texts, Q of them.
        rows: the passages proposed for each, [Q, K].
    """

    questions: list[str]
    rows: np.ndarray


def prefetch(
    schedule: Schedule, questions: list[str], propose: Candidates, step: int
) -> Prefetched:
    """Candidates passages for the questions of several steps with the towers as they are now.

    BM25 will propose the same when the time comes. The retriever will propose nearly the same until
    its index changes: by then its question tower has moved by a few updates.

    Every process of the job must call it; all of them get the same.

    Args:
        schedule: of the run.
        questions: the training set.
        propose: who proposes passages now.
        step: updates done so far; see `Schedule.prefetched`.
    """
    rank, world_size = distributed.rank(), distributed.world_size()
    with distributed.fail_together():
        batch = [
            [questions[i] for i in micro.questions]
            for ahead in schedule.prefetched(step)
            if not schedule.is_labelled(ahead)
            for micro in schedule.micro_batches(ahead, rank=rank, world_size=world_size)
        ]
        rows = propose(batch) if batch else np.zeros((0, 0), dtype=np.int64)
    by_rank = distributed.gather_objects((batch, rows))
    texts = [text for its_batch, _ in by_rank for micro in its_batch for text in micro]
    return Prefetched(texts, np.concatenate([its_rows for _, its_rows in by_rank]))
