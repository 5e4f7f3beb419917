"""Questions as plain text, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, question_of
from art.data.rows import BadRows, converted, plain_lines


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    return converted(plain_lines(Path(path), bad_rows), _question, path, bad_rows)


def _question(line: str, where: str) -> Question:
    return question_of({"text": line}, where)


FORMATS.add(
    QuestionFormat(
        name="questions-text", endings=(".txt",), description="with one a line", read=_read
    )
)
