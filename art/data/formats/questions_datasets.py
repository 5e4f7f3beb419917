"""Questions as Parquet, as a folder of datasets' `save_to_disk`, or of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.columns import FORMAT, dataset_rows
from art.data.formats.base import FORMATS, QuestionFormat
from art.data.records import Question, question_of
from art.data.rows import BadRows, converted


def _read(source: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Question]]:
    return converted(dataset_rows(source), question_of, source, bad_rows)


FORMATS.add(QuestionFormat(name="questions-datasets", read=_read, **FORMAT))
