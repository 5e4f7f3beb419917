"""Steps of one method evenly spread between those of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from torch import nn

from art.training.methods.base import Learner, LearnerParts, Method
from art.training.sources import Source, TrainingSet

if TYPE_CHECKING:
    from art.config import Config
    from art.training.progress import PhaseTimer
    from art.training.run_files import RunFiles
    from art.training.schedule import MicroBatch, Schedule
    from art.training.state import Calibration
    from art.training.statistics import StepStatistics

_NAME = "labelled questions"


class Mixed(Method):
    """A method some of whose steps are another's; what is not said here is the first one's.

    Args:
        main: whose epochs are counted.
        labelled: whose steps are mixed in.
    """

    name: ClassVar[str] = "mixed"
    description: ClassVar[str] = "steps of one method between those of another"

    def __init__(self, main: Method, labelled: Method) -> None:
        self.main, self.labelled = main, labelled
        self.trains_on = main.trains_on
        self.uses_teacher = main.uses_teacher or labelled.uses_teacher
        self.needs_corpus = main.needs_corpus or labelled.needs_corpus
        self.holds_out = main.holds_out
        self.encodes_corpus = main.encodes_corpus or labelled.encodes_corpus
        self.items_name = main.items_name

    @classmethod
    def from_config(cls, config: Config) -> Mixed:
        """Not chosen by a name of its own: `method_of` puts it together."""
        raise TypeError("a mixed method has no settings of its own")

    @property
    def searches_index(self) -> bool:
        """Whether either searches it."""
        return self.main.searches_index or self.labelled.searches_index

    @property
    def searches_words(self) -> bool:
        """Whether either searches with BM25."""
        return self.main.searches_words or self.labelled.searches_words

    @property
    def blended(self) -> frozenset[str]:
        """Those of the first."""
        return self.main.blended

    @property
    def calibrates(self) -> bool:
        """Whether the first one does."""
        return self.main.calibrates

    @property
    def pairs_per_question(self) -> int:
        """Those of the first."""
        return self.main.pairs_per_question

    @property
    def reordered_per_question(self) -> int:
        """Those of the first."""
        return self.main.reordered_per_question

    @property
    def passages_per_item(self) -> int:
        """Those of the labelled steps."""
        return self.labelled.passages_per_item

    @property
    def negatives(self) -> tuple[str, int]:
        """Those of the labelled steps."""
        return self.labelled.negatives

    @property
    def reads(self) -> set[Source]:
        """What both train on."""
        return self.main.reads | self.labelled.reads

    @property
    def each(self) -> str:
        """What the first one's items come with."""
        return self.main.each

    def training_sets(self, files: RunFiles, *, seed: int, hold_out: bool) -> list[TrainingSet]:
        """Return the first one's sets and the labelled one, of which nothing more is held out."""
        own = self.main.training_sets(files, seed=seed, hold_out=hold_out)
        mixed_in = self.labelled.trains_on.divide(files, seed=seed, hold_out=False)
        return [*own, replace(mixed_in, name=_NAME)]

    def check_corpus(self, num_passages: int) -> Iterator[str]:
        """Yield the faults of both."""
        yield from self.main.check_corpus(num_passages)
        yield from self.labelled.check_corpus(num_passages)

    def describe(self, schedule: Schedule) -> Iterator[str]:
        """Yield how many steps are labelled, and what the first one says."""
        num_labelled = schedule.num_labelled_steps(schedule.num_steps)
        if num_labelled:
            yield f"{num_labelled:,} of the steps on {schedule.num_labelled:,} {_NAME}"
        yield from self.main.describe(schedule)

    def num_scoring_steps(self, schedule: Schedule) -> int:
        """Return those of the first."""
        return self.main.num_scoring_steps(schedule)

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> MixedLearner:
        """Return what takes the steps of both."""
        return MixedLearner(
            parts.schedule,
            self.main.learner(parts, sets[:-1]),
            self.labelled.learner(parts, sets[-1:]),
        )


class MixedLearner(Learner):
    """Takes the steps of two methods, each where the schedule says.

    Args:
        schedule: of the run.
        main: takes the steps that are not labelled; all else is asked of it.
        labelled: takes the labelled ones; its loss is logged as `labelled_loss`.
    """

    def __init__(self, schedule: Schedule, main: Learner, labelled: Learner) -> None:
        self._schedule, self._main, self._labelled = schedule, main, labelled
        self.held_out_pool = main.held_out_pool
        self.judge = main.judge

    @property
    def shown(self) -> dict[str, str]:
        """What both show, the labelled loss apart from the other."""
        return self._main.shown | {"labelled_loss": "labelled_loss"} | self._labelled.shown

    def step(
        self, micro_batches: Sequence[MicroBatch], *, model: nn.Module, step: int, timer: PhaseTimer
    ) -> StepStatistics:
        """Take one step of its kind."""
        if not self._schedule.is_labelled(step):
            return self._main.step(micro_batches, model=model, step=step, timer=timer)
        statistics = self._labelled.step(micro_batches, model=model, step=step, timer=timer)
        statistics.rename("loss", "labelled_loss")  # another loss than that of the other steps
        return statistics

    def next_searched(self, step: int) -> tuple[list[list[str]], int] | None:
        """Return what the first one asks."""
        return self._main.next_searched(step)

    @property
    def prefetches(self) -> bool:
        """Whether the first one does."""
        return self._main.prefetches

    def pairs_to_prefetch(self, step: int) -> tuple[list[str], np.ndarray]:
        """Return the first one's."""
        return self._main.pairs_to_prefetch(step)

    @property
    def awaits_calibration(self) -> bool:
        """Whether the first one does."""
        return self._main.awaits_calibration

    def calibrate(
        self, questions: Sequence[str], rows: np.ndarray, scores: np.ndarray
    ) -> Calibration:
        """Find it for the first one."""
        return self._main.calibrate(questions, rows, scores)

    def first_warnings(self, values: dict[str, float]) -> Iterator[str]:
        """Yield the first one's, where the first step is its own."""
        if not self._schedule.is_labelled(0):
            yield from self._main.first_warnings(values)
