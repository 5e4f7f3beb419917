"""The pairs that the coming steps will score, as far as they can be predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art import distributed

if TYPE_CHECKING:
    from art.training.candidates import Candidates
    from art.training.schedule import Schedule


def prefetch(
    schedule: Schedule, questions: list[str], candidates: Candidates, step: int
) -> tuple[list[str], np.ndarray]:
    """Find candidates for the questions of several steps with the towers as they are now.

    BM25 will find the same when the time comes. The retriever will find nearly the same until its
    index changes: by then its question tower has moved by a few updates.

    Every process of the job must call it; all of them get the same.

    Args:
        schedule: of the run.
        questions: the training set.
        candidates: who finds passages now.
        step: updates done so far; see `Schedule.prefetched`.

    Returns:
        The questions of all processes, Q of them, and the candidates of each, rows [Q, K].
    """
    rank, world_size = distributed.rank(), distributed.world_size()
    batch = [
        [questions[i] for i in micro.questions]
        for coming in schedule.prefetched(step)
        if not schedule.is_labelled(coming)
        for micro in schedule.micro_batches(coming, rank=rank, world_size=world_size)
    ]
    # Where one process has none, no process has any.
    rows = candidates(batch) if batch else np.zeros((0, 0), dtype=np.int64)
    by_rank = distributed.gather_objects((batch, rows))
    texts = [text for its_batch, _ in by_rank for micro in its_batch for text in micro]
    return texts, np.concatenate([its_rows for _, its_rows in by_rank])
