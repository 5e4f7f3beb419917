"""Questions as JSON lines, BEIR's among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, question_of
from art.data.rows import BadRows, converted, json_objects


def _read(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    return converted(json_objects(path, bad_rows), question_of, path, bad_rows)


FORMATS.add(
    QuestionFormat(
        name="questions-json",
        endings=(".jsonl",),
        description="with `question` or `text`, and perhaps `id`, `answers` and "
        "`positive_passage_ids`; a BEIR folder",
        read=_read,
        name_in_folder="queries.jsonl",
    )
)
