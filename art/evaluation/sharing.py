"""Questions dealt out to the processes of one job, and what each computed put together again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from art import distributed

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray


def my_share(count: int) -> slice:
    """Return which of `count` questions are this process's: a run of them, of nearly equal size."""
    rank, world = distributed.rank(), distributed.world_size()
    return slice(count * rank // world, count * (rank + 1) // world)


def gather_shares(part: NDArray[Any]) -> NDArray[Any]:
    """Return the processes' parts, one below the other; every process gets all of it."""
    return np.concatenate(distributed.gather_objects(part))
