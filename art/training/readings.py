"""What a reader learns from: labelled questions whose answers stand in their passages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from art.answering.reading import answer, judge, my_questions
from art.answering.spans import occurrences
from art.data.batching import evenly_spaced
from art.data.formats import Question
from art.distributed import together
from art.errors import DataError
from art.training.evaluator import CheckpointJudge, EvaluatedStep

if TYPE_CHECKING:
    from art.answering.reader import AnswerReader
    from art.answering.template import ReaderTemplate, Reading
    from art.data.supervised_store import SupervisedStore
    from art.data.tokens import TokenStore
    from art.retriever.searcher import IndexSearcher

# `passages_per_question_predict` of DPR's release, for its development set.
_JUDGED_PASSAGES = 50
_BLOCK = 512  # questions that are tokenised together


@dataclass(frozen=True, slots=True, eq=False)
class ReadingItem:
    """A question with M of its passages, of which the first answers it.

    Attributes:
        readings: of the question with each passage, M of them.
        spans: first and last token of each occurrence of an answer in the first one, [n, 2].
    """

    readings: list[Reading]
    spans: NDArray[np.int64]


class LabelledReadings:
    """Labelled questions as a reader reads them.

    Args:
        store: the questions.
        tokens: of its contexts under the template.
        template: of the reader.
    """

    def __init__(
        self, store: SupervisedStore, tokens: TokenStore, template: ReaderTemplate
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._template = template

    def answerable(self) -> NDArray[np.int64]:
        """Return the positions of the questions of which a positive holds an answer, in order.

        What is cut from a passage is not looked at.
        """
        found = []
        for start in range(0, len(self._store), _BLOCK):
            positions = range(start, min(start + _BLOCK, len(self._store)))
            for asked in self._asked(positions):
                positives = self._store.positives(asked.position).tolist()
                if any(len(self._read(asked, row)[1]) for row in positives):
                    found.append(asked.position)
        return np.array(found, dtype=np.int64)

    def items(
        self,
        positions: Sequence[int],
        *,
        seed: int,
        epoch: int,
        passages_per_question: int,
        positive: Literal["first", "random"],
    ) -> list[ReadingItem]:
        """Return answerable questions, each with a positive and negatives, the same on every call.

        The positive is the first, or one drawn in every epoch; where no answer stands in it, the
        first of the others that holds one. Negatives are drawn in every epoch.

        Args:
            positions: of the questions.
            seed: of the run.
            epoch: from 0.
            passages_per_question: M at most.
            positive: which of those that hold an answer.

        Source: `_create_question_passages_tensors` of DPR's release.
        """
        items = []
        for asked in self._asked(positions):
            chosen, negatives = self._store.select(
                asked.position,
                seed=seed,
                epoch=epoch,
                num_hard_negatives=passages_per_question - 1,
                positive=positive,
            )
            rows = [chosen, *self._store.positives(asked.position).tolist()]
            first, spans = next(found for row in rows if len((found := self._read(asked, row))[1]))
            readings = [first, *(self._reading(asked, row) for row in negatives.tolist())]
            items.append(ReadingItem(readings, spans))
        return items

    def _asked(self, positions: Sequence[int]) -> Iterator[_TokenizedQuestion]:
        """Yield questions and their answers, all of them tokenised together."""
        store, template = self._store, self._template
        asked = template.questions([store.questions[i] for i in positions])
        accepted = [store.answers(i) for i in positions]
        encoded = iter(template.questions([text for of_one in accepted for text in of_one]))
        for position, question, of_one in zip(positions, asked, accepted, strict=True):
            answers = [next(encoded) for _ in of_one]
            # Else one that the vocabulary lacks would stand wherever any such word does.
            known = [ids for ids in answers if template.unknown_id not in ids]
            sought = [np.array(ids, dtype=np.int64) for ids in known]
            yield _TokenizedQuestion(position, question, sought)

    def _reading(self, asked: _TokenizedQuestion, row: int) -> Reading:
        return self._template.reading(asked.question, self._tokens[row])

    def _read(self, asked: _TokenizedQuestion, row: int) -> tuple[Reading, NDArray[np.int64]]:
        """Return a reading, and where answers stand in it."""
        reading = self._reading(asked, row)
        text = reading.ids[reading.text_start :]
        found = occurrences(text, asked.answers, self._template.continues)
        return reading, found + reading.text_start


@dataclass(frozen=True, slots=True, eq=False)
class _TokenizedQuestion:
    """A labelled question's position, and token ids of it and of the answers to look for."""

    position: int
    question: list[int]
    answers: list[NDArray[np.int64]]


def with_answers(
    store: SupervisedStore, positions: Sequence[int] | None = None
) -> list[tuple[int, tuple[str, ...]]]:
    """Return those of some questions, None for all, that have answers: position and answers."""
    chosen = range(len(store)) if positions is None else positions
    return [(i, answers) for i in chosen if (answers := store.answers(i))]


class ReaderJudge(CheckpointJudge):
    """Judges a reader by its answers to labelled questions, read in their own passages.

    Of each question 50 passages at most are read: positives and negatives in the proportion in
    which it has them.

    Args:
        reader: with the weights to judge.
        store: the questions.
        positions: of those that are asked; None for all that have an answer.

    Raises:
        DataError: none has an answer to compare with.
    """

    questions = ()  # none is asked of the corpus
    labelled = True

    def __init__(
        self, reader: AnswerReader, store: SupervisedStore, positions: Sequence[int] | None = None
    ) -> None:
        asked = with_answers(store, positions)
        if not asked:
            raise DataError(
                "no question has answers to compare a reader's with",
                where="evaluation.supervised",
                hint="give the files `answers`, or leave evaluation.supervised empty",
            )
        self._reader = reader
        self._store = store
        self._asked = [Question(str(i), store.questions[i], answers) for i, answers in asked]
        self._rows = [_judged_rows(store, i) for i, _ in asked]
        self._depth = min(_JUDGED_PASSAGES, max(map(len, self._rows)))

    def __call__(
        self, searcher: IndexSearcher | None, agreed: Sequence[int] | None
    ) -> EvaluatedStep:
        """Read the passages; every process of the job must call it."""
        mine = my_questions(len(self._asked))
        texts = [one.text for one in self._asked[mine]]

        parts = together(
            lambda: (
                answer(
                    self._reader,
                    texts,
                    self._rows[mine],
                    self._store.contexts,
                    depths=[self._depth],
                ).answers
            )
        )
        result = judge(self._asked, [one for part in parts for one in part])
        return EvaluatedStep(result.metrics, len(self._asked), None)


def _judged_rows(store: SupervisedStore, position: int) -> NDArray[np.int64]:
    kinds = (store.positives, store.hard_negatives, store.negatives)
    rows = np.concatenate([of(position) for of in kinds])
    return rows[list(evenly_spaced(len(rows), _JUDGED_PASSAGES))]
