"""Relevance judgements in columns: BEIR's table, or TREC's qrels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from art.data.formats.base import FORMATS, Judgement, JudgementFormat
from art.data.hits import grade_of
from art.data.rows import BadRows, converted, plain_lines
from art.errors import RowError, shown

# Names that the column of question ids goes by.
_HEADER = ("query-id", "query_id", "queryid", "qid", "query", "question-id", "question_id")


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Judgement]]:
    rows = plain_lines(Path(path), bad_rows)
    first = [row for row in (next(rows, None),) if row and not _is_header(row[1])]
    return converted(chain(first, rows), _judgement, path, bad_rows)


def _columns(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def _is_header(line: str) -> bool:
    """Return whether a file's first line names its columns; a row with a broken grade does not."""
    columns = _columns(line)
    return len(columns) == 3 and columns[0].strip().lower() in _HEADER


def _judgement(line: str, where: str) -> Judgement:
    columns = _columns(line)
    hint = "expected `query-id corpus-id score` or `qid 0 docid grade`"
    grade = grade_of(columns[-1].strip()) if len(columns) in (3, 4) else None
    if grade is None:
        raise RowError(f"not a judgement: {shown(line)}", where=where, hint=hint)
    if not (columns[0].strip() and columns[-2].strip()):
        raise RowError("an id is empty", where=where, hint=hint)
    return Judgement(columns[0], columns[-2], grade)


FORMATS.add(
    JudgementFormat(
        name="judgements-columns",
        endings=None,
        description="`query-id corpus-id score` (BEIR) or `qid 0 docid grade` (TREC)",
        read=_read,
    )
)
