"""What happens at which step: pure functions of the optimiser step, so that resuming is exact."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
import torch

from art.data.batching import epoch_order
from art.training.mixture import Mixture


class Action(StrEnum):
    """What can be due between two steps, in the order in which it is done."""

    SAVE = "save"
    REFRESH = "refresh"
    EVALUATE = "evaluate"
    PREFETCH = "prefetch"


@dataclass(frozen=True)
class MicroBatch:
    """B questions that are encoded and back-propagated together: the unit of learning.

    Attributes:
        number: its place among the step's micro-batches, over all processes.
        questions: positions of its questions in the training set.
    """

    number: int
    questions: tuple[int, ...]


@dataclass(frozen=True)
class Intervals:
    """Steps at which something is due: every so many, an interval for each stretch of the run.

    Attributes:
        stretches: (first step, interval), ascending, from step 0 on; a stretch begins at a multiple
            of its interval.
    """

    stretches: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, given: int | Mapping[int, int]) -> Self:
        """Return one interval for all steps, or first step → interval, as settings have them."""
        return cls(((0, given),) if isinstance(given, int) else tuple(sorted(given.items())))

    @property
    def longest(self) -> int:
        """The longest interval."""
        return max(interval for _, interval in self.stretches)

    def last(self, step: int) -> int:
        """Return the last step up to this one at which it is due."""
        return step - step % self._interval(step)

    def next(self, step: int) -> int:
        """Return the first step behind this one at which it is due."""
        begins = [begin for begin, _ in self.stretches if begin > step]
        return min([self.last(step) + self._interval(step), *begins])

    def _interval(self, step: int) -> int:
        return next(interval for begin, interval in reversed(self.stretches) if begin <= step)

    def __str__(self) -> str:
        """Return them in words."""
        (_, first), *others = self.stretches
        every = "every step" if first == 1 else f"every {first:,} steps"
        return ", ".join([every, *(f"from step {begin:,} every {one:,}" for begin, one in others)])


@dataclass(frozen=True)
class Schedule:
    """The whole run as functions of t, the number of optimiser steps done so far.

    Attributes:
        num_questions: of an epoch: the size of the training set (questions, labelled ones, or
            passages), unless there is a mixture.
        questions_per_step: G, over all processes.
        questions_per_micro_batch: B, which divides G.
        epochs: passes over the questions.
        max_steps: an earlier end, or None.
        peak_learning_rate: reached at the end of the warm-up.
        warmup_share: share of all steps spent warming up.
        refresh_steps: R, steps between refreshes of the index; None where there is none.
        evaluate_steps: steps between evaluations.
        evaluates_index: whether an evaluation searches the index, which is fresh then.
        refresh_when_changed: share of the top-K that has to have changed for a refresh to be made;
            None where each is made.
        save_steps: steps between checkpoints.
        prefetch_steps: steps whose pairs are scored together, at most; 1 if each has its own.
        seed: of the order of questions and of dropout.
        labelled_share: share of the steps that are taken on labelled questions instead.
        num_labelled: how many of those there are.
        mixture: of real and generated questions, which then makes up the epochs; None where the
            training set is of one kind.
    """

    num_questions: int
    questions_per_step: int
    questions_per_micro_batch: int
    epochs: int
    max_steps: int | None
    peak_learning_rate: float
    warmup_share: float
    refresh_steps: Intervals | None
    evaluate_steps: int
    save_steps: int
    seed: int
    evaluates_index: bool = True
    refresh_when_changed: float | None = None
    prefetch_steps: int = 1
    labelled_share: float = 0.0
    num_labelled: int = 0
    mixture: Mixture | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole steps in one epoch; a last partial one is dropped for it."""
        return self.num_questions // self.questions_per_step

    @property
    def num_dropped(self) -> int:
        """Questions left out of each epoch (others each time: the order changes)."""
        return self.num_questions % self.questions_per_step

    @cached_property
    def num_steps(self) -> int:
        """Optimiser steps of the whole run, those on labelled questions included."""
        own = self.epochs * self.steps_per_epoch
        steps = math.ceil(own / (1.0 - self.labelled_share))
        while steps - self.num_labelled_steps(steps) > own:  # the division was rounded
            steps -= 1
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @cached_property
    def warmup_steps(self) -> int:
        """Steps of linearly rising learning rate."""
        return round(self.warmup_share * self.num_steps)

    def num_labelled_steps(self, step: int) -> int:
        """Return how many of the first `step` steps are taken on labelled questions."""
        return math.floor(step * self.labelled_share)

    def is_labelled(self, step: int) -> bool:
        """Return whether the update after `step` learns from labelled questions; evenly spread."""
        return self.num_labelled_steps(step + 1) > self.num_labelled_steps(step)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of the update that turns t = `step` into `step` + 1.

        Linear warm-up to the peak, then linear decay that would reach 0 at the update after the
        last one, so that every update moves something.
        """
        if step < self.warmup_steps:
            return self.peak_learning_rate * (step + 1) / self.warmup_steps
        remaining = self.num_steps - step
        return self.peak_learning_rate * remaining / max(1, self.num_steps - self.warmup_steps)

    def due(self, step: int, *, keeps_index: bool = False) -> tuple[Action, ...]:
        """Return what to do once `step` updates are done, in order.

        A refresh or an evaluation forces the save, because resuming starts by doing them again.

        Args:
            step: updates done.
            keeps_index: leave the refresh out, see `may_keep_index`.
        """
        refresh = self._refreshes(step) and not keeps_index
        evaluate = self._evaluates(step)
        save = refresh or evaluate or step % self.save_steps == 0
        prefetch = self.prefetch_steps > 1 and len(self.prefetched(step)) > 0
        due = dict(zip(Action, (save, refresh, evaluate, prefetch), strict=True))
        return tuple(action for action, is_due in due.items() if is_due)

    def may_keep_index(self, step: int) -> bool:
        """Return whether the refresh of this step is left out where the index has changed little.

        Never where an evaluation searches the index, nor before the first step or after the last.
        """
        if self.refresh_when_changed is None or not self._refreshes(step) or self._at_edge(step):
            return False
        return not (self.evaluates_index and self._evaluates(step))

    def _at_edge(self, step: int) -> bool:
        return step in (0, self.num_steps)

    def _refreshes(self, step: int) -> bool:
        intervals = self.refresh_steps
        return intervals is not None and (self._at_edge(step) or intervals.last(step) == step)

    def _evaluates(self, step: int) -> bool:
        return self._at_edge(step) or step % self.evaluate_steps == 0

    def prefetched(self, step: int) -> range:
        """Return the steps whose pairs are scored together once `step` updates are done.

        They end where the index changes or may change, and with it what the steps will ask for, and
        at the end of an epoch. Empty within such a stretch, and at the end of the run.
        """
        epochs = (step - self.num_labelled_steps(step)) // self.steps_per_epoch
        begin, end = self._first_step(epochs), min(self._first_step(epochs + 1), self.num_steps)
        if self.refresh_steps is not None:
            begin = max(begin, self.refresh_steps.last(step))
            end = min(end, self.refresh_steps.next(step))
        if (step - begin) % self.prefetch_steps:
            return range(step, step)
        return range(step, min(end, step + self.prefetch_steps))

    def _first_step(self, epoch: int) -> int:
        """Return how many steps are done when `epoch` passes over the training set are."""
        own = epoch * self.steps_per_epoch
        step = math.floor(own / (1.0 - self.labelled_share))
        while step - self.num_labelled_steps(step) < own:  # the division was rounded
            step += 1
        while step and step - 1 - self.num_labelled_steps(step - 1) >= own:
            step -= 1
        return step

    def epoch(self, step: int) -> int:
        """Return the pass, from 0, over the questions of its kind that the update is part of."""
        done, num_items = self._of_its_kind(step)
        return done // (num_items // self.questions_per_step)

    def ends_epoch(self, step: int) -> bool:
        """Return whether a pass over the training set is complete with the update to `step`."""
        own = step - self.num_labelled_steps(step)
        return not self.is_labelled(step - 1) and own % self.steps_per_epoch == 0

    def micro_batches(self, step: int, *, rank: int, world_size: int) -> list[MicroBatch]:
        """Return the rank's share of the step's micro-batches, which W must divide evenly."""
        size = self.questions_per_micro_batch
        done, num_items = self._of_its_kind(step)
        first = (done % (num_items // self.questions_per_step)) * self.questions_per_step
        mixture = None if self.is_labelled(step) else self.mixture
        order = _order(mixture or num_items, self.seed, self.epoch(step))
        of_step = order[first : first + self.questions_per_step]
        share = self.questions_per_step // size // world_size
        return [
            MicroBatch(number, tuple(of_step[number * size : (number + 1) * size].tolist()))
            for number in range(rank * share, (rank + 1) * share)
        ]

    def _of_its_kind(self, step: int) -> tuple[int, int]:
        """Return how many steps like this one came before, and the size of their training set."""
        labelled = self.num_labelled_steps(step)
        if self.is_labelled(step):
            return labelled, self.num_labelled
        return step - labelled, self.num_questions


@lru_cache(maxsize=2)
def _order(items: int | Mixture, seed: int, epoch: int) -> np.ndarray:
    if isinstance(items, Mixture):
        return items.order(seed=seed, epoch=epoch)
    return epoch_order(items, seed=seed, epoch=epoch)


def seed_micro_batch(seed: int, step: int, number: int, chunk: int = 0) -> None:
    """Seed dropout from (seed, step, micro-batch, chunk of it), and from nothing else.

    The random state is then never saved: a resumed run, another number of processes and a
    recomputed forward pass all draw the same masks. The first chunk draws what the whole
    micro-batch would.
    """
    sequence = np.random.SeedSequence((seed, step, number), spawn_key=(chunk,) if chunk else ())
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
