"""Questions as MS MARCO's `queries.tsv`: an id, a tab and the question."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from art.data.column_names import question_header, tab_rows
from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, answers_of, question_of
from art.data.rows import BadRows, converted
from art.errors import RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    order, rows = tab_rows(Path(path), question_header, bad_rows)
    return converted(rows, partial(_question, order), path, bad_rows)


def _question(order: tuple[int, int], columns: list[str], where: str) -> Question:
    quoted = columns[-1].strip('" ').replace('""', '"')  # as csv writes a list of answers
    if len(columns) != 2 or answers_of(quoted) is not None:
        raise RowError(
            "not `id<TAB>question`, as this file's first line is",
            where=where,
            hint="a file of questions and answer lists has no header line",
        )
    return question_of({"id": columns[order[0]], "question": columns[order[1]]}, where)


FORMATS.add(
    QuestionFormat(
        name="questions-ms-marco",
        endings=(".tsv",),
        description="of `id<TAB>question`",
        read=_read,
    )
)
