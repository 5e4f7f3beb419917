"""Questions as plain text, one a line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from art.data.column_names import QUESTION_KEYS, source_of
from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, question_of
from art.data.rows import BadRows, converted, plain_lines
from art.errors import RowError, notify_once


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    rows = plain_lines(Path(path), bad_rows)
    first = next(rows, None)
    if first is not None and first[1].strip().lower() in QUESTION_KEYS:
        notify_once(f"{path}:{first[0]}: taken for the name of the column ({first[1].strip()})")
        first = None
    return converted(chain([first] if first else [], rows), _question, path, bad_rows)


def _question(line: str, where: str) -> Question:
    if "\r" in line:
        raise RowError(
            "a carriage return stands within the line",
            where=where,
            hint="end every line of the file alike: in LF, in CR LF or in CR",
        )
    if "\t" in line:
        notify_once(
            f"{source_of(where)}: lines hold tabs, which are read as part of the question; a table "
            "of ids and questions ends in .tsv"
        )
    return question_of({"text": line}, where)


FORMATS.add(
    QuestionFormat(
        name="questions-text", endings=(".txt",), description="with one a line", read=_read
    )
)
