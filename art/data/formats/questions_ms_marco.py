"""Questions as MS MARCO's `queries.tsv`: an id, a tab and the question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, answers_of, question_of
from art.data.rows import BadRows, converted, plain_lines
from art.errors import RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    return converted(plain_lines(Path(path), bad_rows), _question, path, bad_rows)


def _question(line: str, where: str) -> Question:
    columns = line.split("\t")
    quoted = columns[-1].strip('" ').replace('""', '"')  # as csv writes a list of answers
    if len(columns) != 2 or answers_of(quoted) is not None:
        raise RowError(
            "not `id<TAB>question`, as this file's first line is",
            where=where,
            hint="a file of questions and answer lists has no header line",
        )
    return question_of({"id": columns[0], "question": columns[1]}, where)


FORMATS.add(
    QuestionFormat(
        name="questions-ms-marco",
        endings=(".tsv",),
        description="of `id<TAB>question`",
        read=_read,
    )
)
