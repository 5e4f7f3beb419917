"""Questions dealt out to the processes of one job, and what each computed put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art import distributed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from art.retriever.encoders import Retriever

_EMBED_BLOCK = 256  # fixed, so that a question's vector does not depend on the number of processes


def my_share(count: int) -> slice:
    """Return which of `count` questions are this process's: a run of them, of nearly equal size."""
    rank, world = distributed.rank(), distributed.world_size()
    return slice(count * rank // world, count * (rank + 1) // world)


def gather_shares(part: NDArray[Any]) -> NDArray[Any]:
    """Return the processes' parts, one below the other; every process gets all of it."""
    return np.concatenate(distributed.gather_objects(part))


def my_vectors(
    asking: Retriever | NDArray[np.float32], texts: Sequence[str]
) -> NDArray[np.float32] | None:
    """Return the vectors of the questions that this process asks, [q, D]; None without any.

    Args:
        asking: embeds questions, or their vectors, [Q, D].
        texts: Q questions, those of all processes.
    """
    if isinstance(asking, np.ndarray):
        return asking[my_share(len(texts))]
    starts = range(0, len(texts), _EMBED_BLOCK)
    mine = [
        asking.embed_questions(list(texts[start : start + _EMBED_BLOCK]))
        for start in starts[my_share(len(starts))]
    ]
    return np.concatenate(mine) if mine else None
