"""What methods train on: questions, labelled questions or passages, each divided its own way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from art.training.selection import (
    TrainingSplit,
    num_held_out,
    split_labelled,
    split_passages,
)

if TYPE_CHECKING:
    from art.data.formats import Passage
    from art.data.supervised_store import SupervisedStore
    from art.training.run_files import RunFiles

Sample = tuple[list[str], list["Passage"]]

# That each labelled question brings into a pool, where no file tells.
ASSUMED_POOL_PASSAGES = 50


@dataclass(frozen=True)
class TrainingSet:
    """The items that one kind of step learns from.

    Attributes:
        name: for messages, such as `training questions`.
        num_items: how many train.
        split: which items train and which are held out, by position; None where all train.
        notes: what a user should know of it, a sentence each.
        num_generated: how many of the items, the last ones, are generated questions.
    """

    name: str
    num_items: int
    split: TrainingSplit | None = None
    notes: tuple[str, ...] = ()
    num_generated: int = 0


class Source(ABC):
    """What a training set is made of.

    Attributes:
        name: for messages.
        setting: the setting of section `data` that names its files; empty where it has none of its
            own.
    """

    name: ClassVar[str]
    setting: ClassVar[str]

    @abstractmethod
    def divide(self, files: RunFiles, *, seed: int, hold_out: bool) -> TrainingSet:
        """Divide it into what trains and what is held out.

        Args:
            files: what the run reads; a part that is not here counts as empty.
            seed: of the run.
            hold_out: whether some items are held out, to be judged in a pool.

        Raises:
            DataError: there is too little to train on and to hold out.
        """

    def planned_size(
        self, *, num_passages: int | None, num_questions: int | None, hold_out: bool
    ) -> int | None:
        """Return how many items train where a plan assumes their number; None where it does not.

        Args:
            num_passages: assumed; None where the corpus is here.
            num_questions: assumed; None where the questions are here.
            hold_out: whether some items are held out.
        """
        return num_questions

    def planned_pool(
        self, *, num_items: int, num_passages: int, labelled: SupervisedStore | None
    ) -> tuple[int, int]:
        """Return about how many questions and passages a held-out pool has.

        Args:
            num_items: that train.
            num_passages: of the corpus.
            labelled: the labelled questions, where they are here.
        """
        return 0, 0

    @abstractmethod
    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw questions and passages as steps read them, to measure and time them.

        Args:
            files: what the run reads, as far as it is here.
            rng: draws them.
            count: how many of each.

        Returns:
            Questions and passages, `count` each; None where they are not here.
        """


class _QuestionSource(Source):
    """Questions without labels; those held out have left them when they are read."""

    name = "training questions"
    setting = "questions"

    def divide(self, files: RunFiles, *, seed: int, hold_out: bool) -> TrainingSet:
        """Return the questions that train."""
        asked = files.questions
        return TrainingSet(self.name, len(asked.training), num_generated=asked.num_generated)

    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw training questions and passages of the corpus."""
        questions, store = files.questions.training, files.store
        if store is None or not questions:
            return None
        texts = [questions[i] for i in rng.integers(len(questions), size=count).tolist()]
        return texts, [store[int(row)] for row in rng.integers(len(store), size=count)]


class _LabelledSource(Source):
    """Questions with passages that answer them."""

    name = "labelled training questions"
    setting = "supervised"

    def divide(self, files: RunFiles, *, seed: int, hold_out: bool) -> TrainingSet:
        """Divide them; questions that a run is evaluated on do not train.

        Raises:
            DataError: there is one question alone.
        """
        if files.labelled is None:
            return TrainingSet(self.name, 0)
        asked = files.questions
        evaluated = [one.text for one in asked.evaluation] if asked.held_out else []
        split = split_labelled(
            files.labelled, seed=seed, hold_some_out=hold_out, evaluated=evaluated
        )
        return TrainingSet(self.name, split.num_training, split)

    def planned_pool(
        self, *, num_items: int, num_passages: int, labelled: SupervisedStore | None
    ) -> tuple[int, int]:
        """Return about how many questions and passages a held-out pool has."""
        if labelled is None:
            held_out = num_held_out(num_items)
            return held_out, held_out * ASSUMED_POOL_PASSAGES
        held_out = num_held_out(len(labelled))
        return held_out, round(held_out * (len(labelled.contexts) / len(labelled)))

    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw labelled questions and passages of theirs."""
        if files.labelled is None:
            return None
        asked, contexts = files.labelled.questions, files.labelled.contexts
        texts = [asked[i] for i in rng.integers(len(asked), size=count).tolist()]
        return texts, [contexts[int(row)] for row in rng.integers(len(contexts), size=count)]


class _PassageSource(Source):
    """The passages of the corpus, which questions are made of."""

    name = "passages to cut pairs from"
    setting = ""

    def divide(self, files: RunFiles, *, seed: int, hold_out: bool) -> TrainingSet:
        """Divide the passages."""
        if files.store is None:
            return TrainingSet(self.name, 0)
        split = split_passages(len(files.store), seed=seed, hold_some_out=hold_out)
        return TrainingSet(self.name, split.num_training, split)

    def planned_size(
        self, *, num_passages: int | None, num_questions: int | None, hold_out: bool
    ) -> int | None:
        """Return how many passages train: whatever questions there are, none is read."""
        if num_passages is None:
            return None
        return num_passages - (num_held_out(num_passages) if hold_out else 0)

    def planned_pool(
        self, *, num_items: int, num_passages: int, labelled: SupervisedStore | None
    ) -> tuple[int, int]:
        """Return how many passages are held out: each gives a question and a passage."""
        held_out = num_held_out(num_passages)
        return held_out, held_out

    def sample(self, files: RunFiles, *, rng: np.random.Generator, count: int) -> Sample | None:
        """Draw passages; their titles stand for questions."""
        if files.store is None:
            return None
        chosen = [files.store[int(row)] for row in rng.integers(len(files.store), size=count)]
        return [one.title or one.text for one in chosen], chosen


QUESTIONS, LABELLED, PASSAGES = _QuestionSource(), _LabelledSource(), _PassageSource()
