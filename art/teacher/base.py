"""What every teacher is: something frozen that says how well a passage suits a question."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from art.data.pairs import Asked, Ids, Pair
from art.data.tokens import PassageEncoder
from art.registry import Registry
from art.teacher.costs import TeacherShape

if TYPE_CHECKING:
    from art.data.formats import Question


class PairEncoder(PassageEncoder, Protocol):
    """Something that turns a passage and a question into what a teacher reads."""

    @property
    def prompt(self) -> str:
        """The prompt's text; empty where there is none."""

    @property
    def longest(self) -> int:
        """Tokens of a pair at most."""

    def asked(self, question: str) -> Asked:
        """Return what a pair's ids take from the question alone."""

    def pair(self, asked: Asked, passage_ids: Ids) -> Pair:
        """Return what the teacher reads of a question and a passage."""


class Teacher(ABC):
    """A kind of teacher as a class, and a loaded one as an instance of it.

    Whatever others need to know of a kind it says here, so that nobody else asks which one it is.
    What a kind does not say has an answer that suits most of them.

    Attributes:
        name: the word that chooses the kind, the setting `teacher.kind`.
        description: what its score is, for help.
        unused: settings of the section `teacher` that mean nothing to it.
        template: makes the pairs that it reads.
        fingerprint: stands for everything a score depends on besides a pair's token ids.
        batch_tokens: padded tokens that are scored at once.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    unused: ClassVar[tuple[str, ...]] = ()

    template: PairEncoder
    fingerprint: str
    batch_tokens: int

    @classmethod
    @abstractmethod
    def load(cls, *args: Any, **settings: Any) -> Teacher:
        """Return a teacher of this kind, frozen.

        Args:
            args: the model, the setting `teacher.model`.
            settings: `answers`, what `needed_answers` gave; `device`, None for the current GPU,
                else the CPU; `cache`, the folder where converted models are kept, None for
                `files.cache_folder()`; and those of the section `teacher` that are not `unused`.

        Raises:
            ArtError: the model cannot be loaded, or is of another kind.
        """

    @classmethod
    def faults(cls, settings: Mapping[str, Any]) -> Iterator[str]:
        """Yield a line, `teacher.<setting>: <what is wrong>`, per setting that cannot be used so.

        Args:
            settings: of the section `teacher`, by name.
        """
        yield from ()

    @classmethod
    def needed_answers(cls, questions: Sequence[Question], where: str | Path) -> dict[str, str]:
        """Return the answers that scoring these questions needs, question → answer.

        Args:
            questions: those it will be asked about.
            where: their file, for messages.

        Raises:
            DataError: some have no answer.
        """
        return {}

    @classmethod
    def assumed_lengths(
        cls, question: int, passage: int, settings: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Return about how many tokens both parts of a pair have, for a plan without the texts.

        Args:
            question: tokens of a question.
            passage: tokens of a passage.
            settings: of the section `teacher`, by name.
        """
        return question, passage

    @classmethod
    def published_shape(cls, model: str) -> TeacherShape | None:
        """Return the shape of a published model by its hub name, None where it is not known."""
        return None

    def shape(self) -> TeacherShape | None:
        """Return the sizes that the costs of scoring follow from, None where they are unknown."""
        return None

    def weight_bytes(self) -> int | None:
        """Return the memory that the weights take, None where it is unknown."""
        return None

    @property
    def reads_passages_apart(self) -> bool:
        """Whether a passage is read once for several questions that are scored together."""
        return False

    @abstractmethod
    def score_pairs(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Return the score of each pair, higher for a passage that suits its question better.

        Neither the order of the pairs nor how they fall into batches matters, beyond rounding.

        Args:
            pairs: n of them, from the template.

        Returns:
            Scores, [n] float32.

        Raises:
            ArtError: a pair cannot be scored, or the device's memory does not suffice.
        """

    def label_variants(
        self, questions: Sequence[str], scores: NDArray[np.float32]
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Return the scores that soft labels can be made of, by a name for each variant.

        Every variant has a question's passages in the same order.

        Args:
            questions: Q texts.
            scores: this teacher's for K passages of each, [Q, K].

        Returns:
            Scores by variant, [Q, K] each.
        """
        return {"scores": scores}


# Filled by the modules in `kinds/`: to be taken from `art.teacher.registry`, which imports them.
KINDS: Registry[type[Teacher]] = Registry("kind of teacher")
