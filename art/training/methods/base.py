"""What every method of training says of itself, and what takes its steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np

from art.registry import Registry
from art.training.sources import Sample, Source, TrainingSet
from art.training.students import Student, as_retriever, retriever_at

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from art.config import Config
    from art.data.passages import PassageStore
    from art.data.tokens import PassageEncoder, TokenStore
    from art.evaluation.pooled import Pool
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.teacher.cached import CachedTeacher
    from art.training.corpus import RunCorpus
    from art.training.evaluator import CheckpointJudge
    from art.training.progress import PhaseTimer
    from art.training.run_files import RunFiles
    from art.training.schedule import MicroBatch, Schedule
    from art.training.soft_labels import Source as ScoreSource
    from art.training.state import Calibration
    from art.training.statistics import StepStatistics


@dataclass(frozen=True)
class LearnerParts:
    """What a method's steps may use; set-up opens what the method says it needs.

    Attributes:
        files: what the run reads.
        schedule: its steps.
        student: what is trained.
        tokens_of: opens the token ids of passages under a template.
        corpus: with its token ids and the last index; None where the run reads none.
        teacher: with the scores it already gave; None where nothing is scored.
        bm25: over the corpus; None where the method has no use for it, or where words find nothing
            for most questions.
        sources: what gives the scores that are blended with the teacher's, by name.
        calibration: of the soft labels, found before an interruption; None where there is none.
    """

    files: RunFiles
    schedule: Schedule
    student: Student
    tokens_of: Callable[[PassageStore, PassageEncoder], TokenStore]
    corpus: RunCorpus | None
    teacher: CachedTeacher | None
    bm25: BM25 | None
    sources: Mapping[str, ScoreSource] = field(default_factory=dict)
    calibration: Calibration | None = None

    @property
    def retriever(self) -> Retriever:
        """The student of a method that trains a retriever."""
        return as_retriever(self.student)


class Learner(ABC):
    """A method with its data and models at hand: it takes the steps.

    Attributes:
        held_out_pool: held-out items of its training set that a checkpoint is judged on; None where
            it is judged on something else.
        judge: what judges checkpoints; None for what set-up makes, which searches the corpus or a
            pool.
    """

    held_out_pool: Pool | None = None
    judge: CheckpointJudge | None = None

    @property
    def shown(self) -> dict[str, str]:
        """Statistics on the progress line: the name there → the name in `metrics.jsonl`."""
        return {"loss": "loss"}

    @abstractmethod
    def step(
        self, micro_batches: Sequence[MicroBatch], *, model: nn.Module, step: int, timer: PhaseTimer
    ) -> StepStatistics:
        """Accumulate the gradient of one step in the student.

        Args:
            micro_batches: this process's share of the step.
            model: the student, wrapped for gradient averaging when there are several processes.
            step: optimiser steps done before this one.
            timer: collects the seconds spent in each phase.

        Returns:
            Statistics of this process's questions.
        """

    def next_searched(self, step: int) -> tuple[list[list[str]], int] | None:
        """Return what the next step that searches the index asks, and K; None without such a step.

        How far the index has become stale is measured on this process's share of its questions, by
        micro-batch.
        """
        return None

    @property
    def prefetches(self) -> bool:
        """Whether the pairs of coming steps are scored together, see `pairs_to_prefetch`."""
        return False

    def pairs_to_prefetch(self, step: int) -> tuple[list[str], np.ndarray]:
        """Return the pairs that the coming steps are expected to score.

        Every process of the job must call it; all of them get the same.

        Args:
            step: updates done so far; see `Schedule.prefetched`.

        Returns:
            Questions, Q of them, and the passages of each, rows [Q, K].
        """
        return [], np.zeros((0, 0), dtype=np.int64)

    @property
    def awaits_calibration(self) -> bool:
        """Whether its soft labels wait for the first prefetched scores."""
        return False

    def calibrate(
        self, questions: Sequence[str], rows: np.ndarray, scores: np.ndarray
    ) -> Calibration:
        """Find from the first prefetched scores what its soft labels wait for.

        Every process of the job must call it, with the same arguments.

        Args:
            questions: Q texts.
            rows: the passages of each, [Q, K].
            scores: the teacher's, [Q, K].
        """
        raise NotImplementedError  # nothing waits

    def first_warnings(self, values: dict[str, float]) -> Iterator[str]:
        """Yield what the first step's statistics say against the settings."""
        yield from ()


class Method(ABC):
    """A way to train a retriever, or something else, as its settings describe it.

    Attributes:
        name: the value of `training.method`.
        description: a sentence for a user.
        trains: the section of the settings that says what is trained, and the folder of the result.
        needs: other settings and sections that must be given, by dotted path.
        trains_on: `QUESTIONS`, `LABELLED` or `PASSAGES` of `training.sources`.
        uses_teacher: whether its steps score pairs.
        needs_corpus: whether its steps read the corpus; else only an evaluation may.
        holds_out: what it holds out where nothing is given to judge checkpoints on: `questions`, to
            ask of the corpus, or `items` of its training set, to judge in a pool.
        takes_labelled_steps: whether `training.labelled_share` may mix labelled steps into it.
        encodes_corpus: whether its steps read token ids of the corpus.
        shares_passages: whether the questions of a step share their passages, whatever micro-batch
            they belong to, where they are contrasted with any.
        items_name: what the plan calls the items of an epoch.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    trains: ClassVar[Literal["retriever", "reader"]] = "retriever"
    needs: ClassVar[tuple[str, ...]] = ()
    trains_on: Source
    uses_teacher: bool = False
    needs_corpus: bool = False
    holds_out: Literal["questions", "items"] = "items"
    takes_labelled_steps: ClassVar[bool] = False
    encodes_corpus: bool = False
    shares_passages: bool = True
    items_name: str = "questions"

    @classmethod
    @abstractmethod
    def from_config(cls, config: Config) -> Self:
        """Return the method with its settings."""

    @classmethod
    def faults(cls, config: Config) -> Iterator[str]:
        """Yield a line per setting that contradicts the method, with its dotted path."""
        training = config.training
        if training.labelled_share and not cls.takes_labelled_steps:
            mixed = ", ".join(one.name for one in METHODS if one.takes_labelled_steps)
            yield f"training.labelled_share: is of training.method {mixed}, not of {cls.name}"
        given = {
            "over_retrieve": training.over_retrieve > 1,
            "refresh_when_changed": training.refresh_when_changed is not None,
        }
        for name in (name for name, is_given in given.items() if is_given):
            if not cls.from_config(config).searches_index:
                yield f"training.{name}: has no use where no step searches the index; leave it out"
            elif config.towers.freeze == "passage":
                yield (
                    f"training.{name}: has no use where retriever.freeze is passage: the index is "
                    "never out of date; leave it out"
                )
        for other in sorted({one.trains for one in METHODS} - {cls.trains}):
            if getattr(config, other) is not None:
                yield f"{other}: leave it out: training.method {cls.name} trains a {cls.trains}"

    def student(self, config: Config, weights: Path | None) -> Student:
        """Return what is trained; a retriever unless a method says otherwise.

        Args:
            config: the settings.
            weights: folder that a checkpoint's student wrote; None for the start.

        Raises:
            ArtError: it cannot be loaded.
        """
        return retriever_at(config, weights)

    @property
    def searches_index(self) -> bool:
        """Whether its steps search the index, which is then refreshed for them."""
        return False

    @property
    def searches_words(self) -> bool:
        """Whether its steps search with BM25."""
        return False

    @property
    def blended(self) -> frozenset[str]:
        """What its soft labels are blended of; empty where they are the teacher's scores."""
        return frozenset()

    @property
    def calibrates(self) -> bool:
        """Whether its soft labels depend on the first prefetched scores."""
        return False

    @property
    def pairs_per_question(self) -> int:
        """Pairs of a question that a step scores; 0 without a teacher."""
        return 0

    @property
    def reordered_per_question(self) -> int:
        """Passages of a question that a step encodes only to put them in order."""
        return 0

    @property
    def passages_per_item(self) -> int:
        """Passages that each item brings into a contrastive step; 0 where there is none."""
        return 0

    @property
    def negatives(self) -> tuple[str, int]:
        """The setting that asks for negatives of each labelled question, and how many it asks for.

        0 where nothing does.
        """
        return "training.hard_negatives", 0

    def training_sets(self, files: RunFiles, *, seed: int, hold_out: bool) -> list[TrainingSet]:
        """Divide what it trains on; the first set is the one that an epoch is a pass over.

        Args:
            files: what the run reads; a part that is not here counts as empty.
            seed: of the run.
            hold_out: whether some items are held out, to be judged in a pool.

        Raises:
            DataError: there is too little to train on and to hold out.
        """
        return [self.trains_on.divide(files, seed=seed, hold_out=hold_out)]

    @property
    def reads(self) -> set[Source]:
        """All that its steps train on."""
        return {self.trains_on}

    @abstractmethod
    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> Learner:
        """Return what takes the steps, once models and data are at hand.

        Args:
            parts: what it may use.
            sets: from `training_sets`.
        """

    def check_corpus(self, num_passages: int) -> Iterator[str]:
        """Yield a line per setting that a corpus of this size does not allow."""
        yield from ()

    @property
    @abstractmethod
    def each(self) -> str:
        """What each item of a step comes with, for the plan, such as `32 passages each`."""

    def describe(self, schedule: Schedule) -> Iterator[str]:
        """Yield what else the plan says of the steps."""
        yield from ()

    def num_scoring_steps(self, schedule: Schedule) -> int:
        """Return how many of the steps score pairs."""
        return 0

    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw questions and passages as its steps read them, see `Source.sample`."""
        return self.trains_on.sample(files, rng=rng, count=count)


METHODS: Registry[type[Method]] = Registry("training method")
