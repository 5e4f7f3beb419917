"""Questions that people asked and questions that a model wrote, mixed in a stated share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from art.data.batching import epoch_order

# Passes over generated questions are shuffled by streams of their own, apart from the epochs'.
_GENERATED = 1


@dataclass(frozen=True)
class Mixture:
    """Real and generated questions of one training set, the generated ones last.

    An epoch is a pass over the real ones, in the order that they would have alone. The generated
    ones that stand between them go on where the epoch before ended: none has a second turn before
    all had one. Turns in the last, partial step of an epoch are lost, as those of real ones are.

    Attributes:
        num_real: how many are real.
        num_generated: how many are generated.
        share: of the questions of an epoch, and of each of its steps, that is generated; at 1 an
            epoch is a pass over the generated ones.
    """

    num_real: int
    num_generated: int
    share: float

    @property
    def of_epoch(self) -> tuple[int, int]:
        """How many real and how many generated questions an epoch asks."""
        if self.share == 1:
            return 0, self.num_generated
        return self.num_real, num_beside(self.num_real, self.share)

    def order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the positions in the training set that an epoch visits, in its order.

        Args:
            seed: of the run.
            epoch: from 0.

        Returns:
            Positions, [n]. Among any so many in a row the generated ones are as many as the share
            says, to less than one.
        """
        num_real, num_generated = self.of_epoch
        size = num_real + num_generated
        before = np.arange(size + 1) * num_generated // max(size, 1)  # generated ones so far
        is_generated = np.diff(before) > 0
        order = np.empty(size, dtype=np.int64)
        order[is_generated] = self.num_real + self._generated(
            epoch * num_generated, num_generated, seed
        )
        order[~is_generated] = epoch_order(num_real, seed=seed, epoch=epoch)
        return order

    def _generated(self, start: int, count: int, seed: int) -> NDArray[np.int64]:
        """Return which generated ones stand at so many places from a start, pass after pass."""
        places = np.arange(start, start + count)
        order = np.empty(count, dtype=np.int64)
        passes = places // self.num_generated
        for one in np.unique(passes).tolist():
            rng = np.random.default_rng([seed, one, _GENERATED])
            is_in = passes == one
            order[is_in] = rng.permutation(self.num_generated)[places[is_in] % self.num_generated]
        return order


def num_beside(num_real: int, share: float) -> int:
    """Return how many generated questions stand beside so many real ones, for a share below 1."""
    return round(num_real * share / (1.0 - share))
