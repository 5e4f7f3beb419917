"""The choice of a teacher: how relevant a passage is to a question, in whose opinion."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art.config import TeacherKind
from art.errors import DataError
from art.teacher.base import Teacher
from art.teacher.likelihood import load_language_model
from art.teacher.reranker import load_reranker

if TYPE_CHECKING:
    from art.data.formats import Question


def load_teacher(
    model: str,
    *,
    kind: TeacherKind = "question-likelihood",
    answers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Teacher:
    """Load a frozen model as a teacher of some kind.

    Args:
        model: hub name, folder or file; see `load_language_model` and `load_reranker`.
        kind: `question-likelihood` (the paper): how likely the question is given the passage;
            `answer-likelihood` (REPLUG): how likely its answer is given both; `cross-encoder`: a
            reranker's opinion.
        answers: question → answer, for the second kind; the others do not look at it.
        settings: of `load_language_model` or `load_reranker`; what a reranker has no use for is
            passed over, because settings chosen for it in vain are refused by `art.config`.

    Raises:
        ArtError: the model cannot be loaded, or is of another kind.

    Source: Sachan et al. 2023 (ART); Shi et al. 2023 (REPLUG).
    """
    if kind == "cross-encoder":
        known = inspect.signature(load_reranker).parameters
        own = {name: value for name, value in settings.items() if name in known}
        return load_reranker(model, **own)
    if kind == "answer-likelihood":
        return load_language_model(model, answers=answers or {}, **settings)
    return load_language_model(model, **settings)


def answers_for(
    kind: TeacherKind, questions: Sequence[Question], *, where: str | Path
) -> dict[str, str]:
    """Return the answers that a teacher of this kind needs: of each question, its first.

    A question that occurs several times has the first answer that comes with it.

    Args:
        kind: of the teacher; empty unless it is `answer-likelihood`.
        questions: those it will be asked about.
        where: their file, for messages.

    Raises:
        DataError: some have no answer.
    """
    if kind != "answer-likelihood":
        return {}
    answers: dict[str, str] = {}
    for question in questions:
        for answer in filter(str.strip, question.answers[:1]):
            answers.setdefault(question.text, answer)
    missing = [question.text for question in questions if question.text not in answers]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(questions):,} questions have no answer, the first is "
            f"{missing[0]!r}",
            where=where,
            hint="teacher.kind: answer-likelihood scores answers; the other kinds need none",
        )
    return answers
