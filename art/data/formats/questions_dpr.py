"""Questions as DPR's `.qa.csv`: a question, a tab and a Python list of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionFormat
from art.data.packed import ungzipped
from art.data.records import Question, answers_of, question_of
from art.data.rows import BadRows, converted, csv_rows
from art.errors import RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    return converted(csv_rows(Path(path), bad_rows), _question, path, bad_rows)


def _question(columns: list[str], where: str) -> Question:
    answers = answers_of(columns[1]) if len(columns) == 2 else None
    if answers is None:
        raise RowError(
            "not a question and a Python list of its answers, separated by a tab",
            where=where,
            hint="such a file has no header line",
        )
    return question_of({"question": columns[0], "answers": answers}, where)


def _answers_follow(path: Path) -> bool:
    """Return whether this is a .csv, or a list of answers stands in its first row."""
    if ungzipped(path).suffix.lower() == ".csv":
        return True
    try:
        _, columns = next(csv_rows(path), (0, []))
    except RowError:  # MS MARCO's questions have quotation marks of their own
        return False
    return len(columns) == 2 and answers_of(columns[1]) is not None


FORMATS.add(
    QuestionFormat(
        name="questions-dpr",
        endings=(".csv", ".tsv"),
        description="of `question<TAB>['answer', …]`",
        fits=_answers_follow,
        read=_read,
    )
)
