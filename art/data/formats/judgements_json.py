"""Relevance judgements as one JSON object, `{question: {passage: grade}}`, as pytrec_eval takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from art.data.formats.base import FORMATS, Judgement, JudgementFormat
from art.data.hits import grade_of
from art.data.json_lists import ENTRY, json_members
from art.data.rows import BadRows, converted, id_value
from art.errors import RowError, shown


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Judgement]]:
    for number, (question_id, grades) in json_members(Path(path), bad_rows):
        rows = ((number, (question_id, *pair)) for pair in grades.items())
        yield from converted(rows, _judgement, path, bad_rows, unit=ENTRY)


def _judgement(row: tuple[str, str, Any], where: str) -> Judgement:
    question_id, passage_id, value = row
    grade = None if isinstance(value, bool) else grade_of(str(value))
    if grade is None:
        raise RowError(f"the grade {shown(value)} is not a whole number", where=where)
    return Judgement(
        id_value(question_id, "question id", where),
        id_value(passage_id, "passage id", where),
        grade,
    )


FORMATS.add(
    JudgementFormat(
        name="judgements-json",
        endings=(".json",),
        description="`{question: {passage: grade}}`",
        read=_read,
    )
)
