"""Questions as JSON, one list or lines: BEIR's, EntityQuestions', DPR's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionFormat
from art.data.json_lists import json_rows
from art.data.records import Question, question_of
from art.data.rows import BadRows, converted


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    unit, rows = json_rows(Path(path), bad_rows)
    return converted(rows, question_of, path, bad_rows, unit=unit)


FORMATS.add(
    QuestionFormat(
        name="questions-json",
        endings=(".jsonl", ".json"),
        description="with `question` or `text`, and perhaps `id`, `answers` and "
        "`positive_passage_ids`; a BEIR folder",
        read=_read,
        name_in_folder="queries.jsonl",
    )
)
