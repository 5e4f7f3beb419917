"""Which passages answer which question: by the ids that the question names, else by its answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.data.scripts import scripts_of
from art.errors import ArtError, DataError, MismatchError
from art.evaluation.answers import matcher_of, sampled_texts
from art.evaluation.sharing import gather_shares, my_share

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.evaluation.metrics.evidence import Qrels

_NUM_SHOWN = 3
_FEW = 0.01  # of the questions; a single π among English answers says nothing


@dataclass(frozen=True)
class Chosen:
    """The questions that can be evaluated, where they stood, and what to say about the others."""

    questions: list[Question]
    positions: NDArray[np.int64]
    notes: list[str]

    @classmethod
    def of(
        cls, questions: Sequence[Question], qrels: Qrels | None, *, judged_anyway: bool = False
    ) -> Self:
        """Choose those that have a label; where none has one, all that are judged anyway.

        Raises:
            ArtError: there are none, or the judgements are of others.
        """
        if not questions:
            raise ArtError("there are no questions to evaluate")
        notes = _check_qrels(questions, qrels) if qrels else []
        judgements = qrels or {}
        usable = np.array([is_labelled(q) or q.question_id in judgements for q in questions])
        if not usable.any():
            if not judged_anyway:
                raise ArtError(
                    "no question has answers, positive_passage_ids or relevance judgements",
                    hint="give labelled questions or --qrels, or a teacher to judge without labels",
                )
            usable[:] = True
        left_out = [q.question_id for q, used in zip(questions, usable, strict=True) if not used]
        if left_out:
            notes.append(
                f"{len(left_out)} of {len(questions)} questions have no label and are left out "
                f"({some(left_out)})"
            )
        kept = np.flatnonzero(usable)
        return cls([questions[position] for position in kept.tolist()], kept, notes)


def _check_qrels(questions: Sequence[Question], qrels: Qrels) -> list[str]:
    asked = {question.question_id for question in questions}
    if len(asked) < len(questions):
        raise ArtError("two questions have the same id, so judgements cannot be told apart")
    if not asked & qrels.keys():
        raise ArtError(
            "no question id occurs in the relevance judgements",
            hint=f"questions have ids like {questions[0].question_id!r}, "
            f"judgements like {next(iter(qrels))!r}",
        )
    strangers = [question for question in qrels if question not in asked]
    if not strangers:
        return []
    return [f"{len(strangers)} of {len(qrels)} judged questions are not asked ({some(strangers)})"]


class Labels:
    """The labels of Q questions, prepared to be looked up in rankings.

    Args:
        questions: `positive_passage_ids` decide where present, else the answers.
        store: the passages.
        regex_answers: the answers are regular expressions.

    Attributes:
        present: which questions have either label, [Q] bool.
        notes: a sentence for each kind of label that can never be found.

    Raises:
        DataError: an answer is not a valid regular expression.
    """

    def __init__(
        self, questions: Sequence[Question], store: PassageStore, *, regex_answers: bool = False
    ) -> None:
        self._store = store
        self._answers = [() if q.positive_passage_ids else q.answers for q in questions]
        self._matcher = matcher_of(questions, store, regex=regex_answers, answers=self._answers)
        rows = [{name: store.row_of(name) for name in q.positive_passage_ids} for q in questions]
        self._gold = [[row for row in of.values() if row is not None] for of in rows]
        self.present = np.array([is_labelled(question) for question in questions], bool)
        self.notes = missing_passages(
            "positive_passage_ids", ((name, row) for of in rows for name, row in of.items())
        )
        if empty := self._matcher.empty:
            ids = [questions[position].question_id for position in dict.fromkeys(empty)]
            self.notes.append(
                f"{len(empty)} answers hold nothing to look for and count as misses "
                f"(questions {some(ids)})"
            )
        if not regex_answers:
            self.notes += _foreign_answers(questions, self._answers, store)

    def hits(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which passages answer their question; False throughout without a label.

        Every process of the job must call it, with the same rows; each takes a share.

        Args:
            rows: passages of each question, [Q, K]; -1 where there is none.

        Returns:
            Hits, [Q, K] bool.
        """
        with distributed.fail_together():
            mine = my_share(len(rows))
            part = np.zeros(rows[mine].shape, bool)
            for offset, its_rows in enumerate(rows[mine]):
                part[offset] = self._hits_of(mine.start + offset, its_rows)
        return gather_shares(part)

    def _hits_of(self, position: int, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        if not self._answers[position]:
            return np.isin(rows, self._gold[position])
        store, matches = self._store, self._matcher.matches
        found = [row >= 0 and matches(position, store[row].text) for row in rows.tolist()]
        return np.array(found, bool)


def check_labels(
    questions: Sequence[Question],
    store: PassageStore,
    qrels: Qrels | None = None,
    *,
    regex_answers: bool = False,
) -> None:
    """Refuse labels of which none could ever be found: every metric would be 0 without a word.

    Args:
        questions: with whatever labels they have.
        store: the passages.
        qrels: judgements of some of them at least.
        regex_answers: the answers are regular expressions.

    Raises:
        MismatchError: no passage that judgements call relevant is in the store, or none that
            positive_passage_ids name, and no question has answers alone.
        DataError: no passage is judged relevant, or nothing is left to look for in any answer.
    """
    named = {name for question in questions for name in question.positive_passage_ids}
    answered = [q for q in questions if q.answers and not q.positive_passage_ids]
    if not answered:
        _refuse_strangers("positive_passage_ids", named, store)
    elif not named:
        matcher = matcher_of(answered, store, regex=regex_answers)
        if len(matcher.empty) == sum(len(one.answers) for one in answered):
            raise DataError("no answer holds anything to look for", hint="give others")
    if qrels:
        relevant = relevant_passages(questions, qrels)
        if not relevant:
            raise DataError(
                "the judgements call no passage relevant to any question that is asked",
                hint="are these the judgements of these questions?",
            )
        _refuse_strangers("judgements", relevant, store)


def relevant_passages(questions: Sequence[Question], qrels: Qrels) -> set[str]:
    """Return the ids of passages that are judged relevant to one of the questions."""
    return {
        passage
        for question in questions
        for passage, relevance in qrels.get(question.question_id, {}).items()
        if relevance > 0
    }


def _refuse_strangers(what: str, names: set[str], store: PassageStore) -> None:
    if names and all(store.row_of(name) is None for name in names):
        raise MismatchError(
            f"none of the {len(names):,} passages named by {what} is in the corpus "
            f"({some(sorted(names))})",
            where=store.source,
            hint=f"give the corpus they are of; this one has ids like {store[0].passage_id!r}",
        )


def _foreign_answers(
    questions: Sequence[Question], answers: Sequence[Sequence[str]], store: PassageStore
) -> list[str]:
    """Return a note on answers in a script that the passages lack; none where they are few."""
    texts = sampled_texts(store)
    known = {script for text in texts for script in scripts_of(text)}
    foreign: dict[str, set[str]] = {}
    for question, of in zip(questions, answers, strict=True):
        lacking = [scripts_of(answer) - known for answer in of]
        if lacking and all(lacking):
            foreign[question.question_id] = set().union(*lacking)
    if len(foreign) <= _FEW * len(questions):
        return []
    scripts = ", ".join(sorted(set().union(*foreign.values())))
    return [
        f"the answers of {len(foreign)} of {len(questions)} questions are in letters that none of "
        f"{len(texts)} passages looked at has ({scripts}), so they can hardly be found "
        f"({some(list(foreign))})"
    ]


def is_labelled(question: Question) -> bool:
    """Return whether the question itself says what answers it."""
    return bool(question.positive_passage_ids or question.answers)


def missing_passages(what: str, named: Iterable[tuple[str, int | None]]) -> list[str]:
    """Return a note on passages that labels name and the store lacks; none if all are there.

    Args:
        what: where the names stand.
        named: passage ids and their rows, None for an id that the store does not know.
    """
    rows = dict(named)
    missing = sorted(name for name, row in rows.items() if row is None)
    if not missing:
        return []
    return [
        f"{len(missing)} of {len(rows)} passages named by {what} are not in the store, "
        f"so the metrics are lower than they should be ({some(missing)})"
    ]


def some(ids: Sequence[str]) -> str:
    """Return the first few ids, for a message."""
    return ", ".join(ids[:_NUM_SHOWN]) + (", …" if len(ids) > _NUM_SHOWN else "")
