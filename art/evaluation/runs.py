"""Result files written: a ranking for every question, in any of the formats of `art.data.formats`.

Scores leave as float32 numbers that fall strictly within a question, so that a reader that sorts by
score, whichever way it breaks ties, sees the order that was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art.data.formats import Ranking, run_format
from art.evaluation.answers import matcher_of
from art.evaluation.statistics import spaced_scores
from art.files import atomic_write

if TYPE_CHECKING:
    from art.data.answers import AnswerMatcher
    from art.data.formats import Passage, Question
    from art.data.passages import PassageStore


def write_run(
    path: str | Path,
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[Any],
    store: PassageStore,
    *,
    regex_answers: bool = False,
    tag: str = "art",
) -> None:
    """Write a ranking in the format that the name's ending asks for; the file appears complete.

    Args:
        path: a file of a `ResultFormat`: `.trec`, `.run` or `.txt` for a TREC run; `.json` for
            DPR's list of questions with their passages, `.jsonl` for one question a line.
        questions: Q of them.
        rows: passages of each question in the store, best first, [Q, K]; -1 behind the last where
            a question has fewer.
        scores: their scores, [Q, K].
        store: where ids, titles and texts come from.
        regex_answers: the answers are regular expressions.
        tag: the name of the run in a TREC file.

    Raises:
        ArtError: another ending, an id that a TREC run cannot hold, a score that is not finite,
            or the file cannot be written.
    """
    write = run_format(path).write
    assert write is not None  # of a format that is written
    numbers = spaced_scores(np.where(rows < 0, 0.0, scores))  # what fills up is not written
    rankings = _rankings(questions, rows, numbers, store, regex_answers)
    with atomic_write(path) as file:
        for piece in write(Path(path), rankings, tag):
            file.write(piece.encode())


def check_run_ids(
    path: str | Path, question_ids: Iterable[str], passage_ids: Iterable[str]
) -> None:
    """Refuse, before the work, ids that a result file's format cannot hold.

    Args:
        path: the file that is to be written.
        question_ids: that it is about.
        passage_ids: that it may name.

    Raises:
        ArtError: an id cannot be written, or the ending is another than a result file has.
    """
    check = run_format(path).check_id
    if check is None:
        return
    for question_id in question_ids:
        check(question_id, "question id")
    for passage_id in passage_ids:
        check(passage_id, "passage id")


def _rankings(
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    store: PassageStore,
    regex_answers: bool,
) -> Iterator[Ranking]:
    @cache
    def matcher() -> AnswerMatcher:  # only where a format writes whether passages hold answers
        return matcher_of(questions, store, regex=regex_answers)

    def contexts(position: int, found: list[int]) -> Iterator[tuple[Passage, bool | None]]:
        for passage in map(store.__getitem__, found):
            asked = bool(questions[position].answers)
            yield passage, matcher().matches(position, passage.text) if asked else None

    for position, question in enumerate(questions):
        behind = rows[position] >= 0  # a shorter list than the longest is filled up behind
        found = rows[position][behind]
        yield Ranking(
            question,
            store.ids(found),
            scores[position][behind],
            partial(contexts, position, found.tolist()),
        )
