"""Questions answered from the passages that were retrieved for them, and how well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art.data.answers import compiled
from art.evaluation.evaluate import metric_table
from art.evaluation.metrics import compute_all, means
from art.evaluation.metrics.reading import GivenAnswers
from art.evaluation.sharing import my_share

if TYPE_CHECKING:
    from art.answering.reader import AnswerReader
    from art.data.formats import Question
    from art.data.passages import PassageStore

# As DPR and those after it report them
DEPTHS = (10, 20, 50, 100)
BLOCK = 16  # questions whose passages are read together


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the passage that it was read in.

    Attributes:
        text: the passage's own characters.
        row: of the passage.
        rank: of the passage among those retrieved, from 1.
        relevance: the reader's logit of the passage.
        score: of the span.
    """

    text: str
    row: int
    rank: int
    relevance: float
    score: float

    def shown(self, store: PassageStore) -> dict[str, Any]:
        """Return it for a file, its passage by name."""
        return {
            "answer": self.text,
            "passage_id": store[self.row].passage_id,
            "rank": self.rank,
            "relevance": round(self.relevance, 6),
            "score": round(self.score, 6),
        }


Answers = dict[int, Answer | None]
"""Number of passages read → the answer; None where none of them has any text to read."""


class Answered(NamedTuple):
    """The answers to each of Q questions.

    Attributes:
        answers: by the number of passages read.
        num_cut: passages of which not all was read; one counts with each question.
    """

    answers: list[Answers]
    num_cut: int


def depths_of(num_passages: int) -> list[int]:
    """Return how many passages are read of each question, in a corpus of so many."""
    return sorted({min(depth, num_passages) for depth in DEPTHS})


def my_questions(count: int) -> slice:
    """Return which of so many questions this process answers, of all processes of the job.

    They are whole blocks, so that no answer depends on the number of processes.
    """
    mine = my_share(-(-count // BLOCK))
    return slice(mine.start * BLOCK, mine.stop * BLOCK)


def answer(
    reader: AnswerReader,
    questions: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
    store: PassageStore,
    *,
    depths: Sequence[int],
) -> Answered:
    """Answer questions from the passages that were retrieved for them.

    The answer is the best span of the passage that the reader finds the most relevant.

    Args:
        reader: of the passages.
        questions: Q texts.
        rows: of each question's passages, best first, Q times [K], K ≥ 1 of each question's own.
        store: the passages.
        depths: of the first how many passages there is an answer.
    """
    found, num_cut = list[Answers](), 0
    for start in range(0, len(questions), BLOCK):
        block = slice(start, start + BLOCK)
        part = _answer_block(reader, questions[block], rows[block], store, depths)
        found, num_cut = found + part.answers, num_cut + part.num_cut
    return Answered(found, num_cut)


def _answer_block(
    reader: AnswerReader,
    questions: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
    store: PassageStore,
    depths: Sequence[int],
) -> Answered:
    template = reader.template
    passages = {row: store[row] for row in np.unique(np.concatenate(rows)).tolist()}
    encoded = template(
        [one.title for one in passages.values()], [one.text for one in passages.values()]
    )
    read = dict(zip(passages, encoded, strict=True))
    asked = zip(template.questions(questions), rows, strict=True)
    readings = [template.reading(ids, read[row]) for ids, of in asked for row in of.tolist()]
    spans = reader.read(readings)
    starts = np.cumsum([0, *map(len, rows)])  # of each question, among the spans

    def answer_at(question: int, place: int) -> Answer:
        at = starts[question] + place
        row = int(rows[question][place])
        return Answer(
            text=template.excerpt(passages[row].text, int(spans.first[at]), int(spans.last[at])),
            row=row,
            rank=place + 1,
            relevance=float(spans.relevance[at]),
            score=float(spans.score[at]),
        )

    relevance = np.where(np.isneginf(spans.score), -np.inf, spans.relevance)
    answers = []
    for question, of in enumerate(np.split(relevance, starts[1:-1])):
        places = {depth: int(of[:depth].argmax()) for depth in depths}
        answers.append(
            {
                depth: None if np.isneginf(of[place]) else answer_at(question, place)
                for depth, place in places.items()
            }
        )
    return Answered(answers, sum(one.is_cut for one in readings))


@dataclass(frozen=True)
class ReadingResult:
    """How good the answers to questions are.

    Attributes:
        metrics: name → value, see `art.evaluation.metrics.reading`.
        per_question: name → [Q] float64, NaN for a question without a label.
        notes: what a reader of the metrics must know, a sentence each.
    """

    metrics: dict[str, float]
    per_question: dict[str, NDArray[np.float64]]
    notes: list[str]

    def table(self) -> list[dict[str, Any]]:
        """Return a line per metric: name, value, questions counted, 95 % interval or None."""
        return metric_table(self.metrics, self.per_question)


def check_patterns(questions: Sequence[Question]) -> None:
    """Check that the answers that questions accept are regular expressions.

    Raises:
        DataError: one of them is none.
    """
    for question in questions:
        for answer in question.answers:
            compiled(answer)


def judge(
    questions: Sequence[Question], answers: Sequence[Answers], *, regex_answers: bool = False
) -> ReadingResult:
    """Hold answers against those that the questions accept.

    Args:
        questions: Q of them, one with a label at least.
        answers: to each of them.
        regex_answers: those that are accepted are regular expressions.
    """
    given = {
        depth: [found.text if (found := of[depth]) else "" for of in answers]
        for depth in answers[0]
    }
    accepted = [one.answers for one in questions]
    values = compute_all(GivenAnswers(given, accepted, regex=regex_answers))
    notes = []
    if unlabelled := sum(not of for of in accepted):
        notes.append(
            f"{unlabelled} of {len(questions)} questions have no answers and are left out of the "
            "metrics"
        )
    if unread := sum(None in of.values() for of in answers):
        notes.append(
            f"{unread} of {len(questions)} questions have no passage with a text that was read, "
            "which counts as a wrong answer"
        )
    return ReadingResult(means(values), values, notes)
