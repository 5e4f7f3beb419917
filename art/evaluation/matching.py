"""The questions and passages of a result file, found among those that are given.

A question is found by its id, else by its text. Where the file has the text as well, it must be the
one of the question with that id: a file in another order is never paired by position.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from art.data.records import comparable
from art.errors import DataError, MismatchError, notify_once, shown
from art.evaluation.labels import some

if TYPE_CHECKING:
    from art.data.formats import Passage, Question, Run
    from art.data.passages import PassageStore

_WORD = re.compile(r"\w+")


def match_run(
    run: Run, questions: Sequence[Question], store: PassageStore, *, where: str | Path
) -> tuple[list[Question], NDArray[np.int64]]:
    """Find a run's questions by their ids or texts, and its passages by their ids.

    Args:
        run: of Q questions with K passages at most.
        questions: these questions at least.
        store: its passages at least.
        where: the run's file, for messages.

    Returns:
        The questions in the run's order, and rows [Q, K], best first, -1 where there is no passage.

    Raises:
        DataError: the run is empty.
        MismatchError: a question or a passage of the run is unknown, or a question has another text
            than the one of its id, or most passages have.
    """
    found = match_questions(run, questions, where=where)
    if not run.scores.size:
        raise DataError("the run holds no passage", where=where)
    distinct = dict.fromkeys(name for names in run.passage_ids for name in names)
    row_of = {name: row for name in distinct if (row := store.row_of(name)) is not None}
    if missing := [name for name in distinct if name not in row_of]:
        raise MismatchError(
            f"{len(missing)} of {len(distinct)} passages of the run are not in the corpus "
            f"({some(missing)})",
            where=where,
            hint="give the corpus that was searched; this one has ids like "
            f"{store[0].passage_id!r}",
        )
    rows = np.full(run.scores.shape, -1, dtype=np.int64)
    for position, names in enumerate(run.passage_ids):
        rows[position, : len(names)] = [row_of[name] for name in names]
    _check_texts(run, rows, store, where)
    return found, rows


def _check_texts(run: Run, rows: NDArray[np.int64], store: PassageStore, where: str | Path) -> None:
    """Compare the texts of each question's first passage, where the run has them.

    Raises:
        MismatchError: most have little in common with the corpus, which numbers others so.
    """
    others = []
    for name, row in zip(run.question_ids, rows[:, 0].tolist(), strict=True):
        if name in run.first_texts and not _share_words(run.first_texts[name], store[row]):
            others.append((run.first_texts[name], row))
    if len(others) > len(run.first_texts) / 2:
        said, row = others[0]
        raise MismatchError(
            f"{len(others)} of {len(run.first_texts)} passages have another text in the run than "
            f"in the corpus: {shown(store[row].passage_id)} is {shown(said)} there, and "
            f"{shown(store[row].text)} here",
            where=where,
            hint="give the corpus that was searched",
        )


def _share_words(said: str, passage: Passage) -> bool:
    """Return whether two texts have most words of the shorter in common.

    Other tools cut texts, or put the title before them.
    """
    words = [set(_WORD.findall(text.lower())) for text in (said, f"{passage.title} {passage.text}")]
    return len(words[0] & words[1]) >= min(map(len, words)) / 2


def match_questions(
    run: Run, questions: Sequence[Question], *, where: str | Path
) -> list[Question]:
    """Return the question of each of a run's, in the run's order; see `match_run`."""
    if run.question_ids and run.unnamed == set(run.question_ids) and not run.texts:
        return _in_order(run, questions, where)
    by_id = {question.question_id: question for question in questions}
    found: dict[str, Question] = {}
    for name in run.question_ids:
        same = None if name in run.unnamed else by_id.get(name)
        if same is not None and _agree(run, name, same, where):
            found[name] = same
    by_text = defaultdict(list)
    taken = {question.question_id for question in found.values()}
    for question in questions:
        if question.question_id not in taken:
            by_text[comparable(question.text)].append(question)
    strangers = []
    for name in (name for name in run.question_ids if name not in found):
        waiting = by_text[comparable(run.texts[name])] if name in run.texts else []
        if waiting:
            found[name] = waiting.pop(0)
        else:
            strangers.append(name)
    if strangers:
        raise _unknown(run, strangers, by_id, where)
    _say_how(run, found, where)
    return [found[name] for name in run.question_ids]


def _agree(run: Run, name: str, question: Question, where: str | Path) -> bool:
    """Return whether a question's text is the run's; True where the run has none.

    Raises:
        MismatchError: it is another, and the id is the question's own and not its line.
    """
    said = run.texts.get(name)
    if said is None or comparable(said) == comparable(question.text):
        return True
    if question.named:
        raise MismatchError(
            f"the question {shown(name)} is {shown(said)} in the run, but {shown(question.text)} "
            "among the questions given",
            where=where,
            hint="give the questions that were searched for",
        )
    return False


def _in_order(run: Run, questions: Sequence[Question], where: str | Path) -> list[Question]:
    """Return the questions as they stand: the run has neither ids nor texts of its own."""
    if len(run.question_ids) != len(questions):
        raise MismatchError(
            f"the run names neither ids nor texts of its {len(run.question_ids)} questions, and "
            f"{len(questions)} are given",
            where=where,
            hint="give the questions that were searched for, in their order",
        )
    notify_once(
        f"{where}: it names neither ids nor texts of its questions, which are taken to be those "
        "given, in their order"
    )
    return list(questions)


def _unknown(
    run: Run, names: list[str], by_id: dict[str, Question], where: str | Path
) -> MismatchError:
    known = next(iter(by_id.values()), None)
    like = "" if known is None else f"; these are like {known.question_id!r}, {shown(known.text)}"
    said = [f"{name}: {shown(run.texts[name])}" if name in run.texts else name for name in names]
    return MismatchError(
        f"{len(names)} of {len(run.question_ids)} questions of the run are not among the "
        f"questions given ({some(said)})",
        where=where,
        hint=f"give the questions that were searched for{like}",
    )


def _say_how(run: Run, found: dict[str, Question], where: str | Path) -> None:
    """Say where questions were not found by an id of their own."""
    by_text = [
        name for name, one in found.items() if name in run.unnamed or name != one.question_id
    ]
    if by_text:
        notify_once(
            f"{where}: {len(by_text):,} of {len(found):,} questions are matched by their text, as "
            f"they have no id, or another ({some(by_text)})"
        )
    by_line = [name for name, one in found.items() if name not in run.texts and not one.named]
    if by_line:
        notify_once(
            f"{where}: the ids of {len(by_line):,} questions are taken for their lines among the "
            "questions given, which have no ids"
        )
