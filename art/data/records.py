"""Passages, questions and judgements, and the rows that say them, whatever file those stand in.

Each reader of a row takes it and its place, `path:line`, and raises a `RowError` where the row is
malformed.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from art.data.rows import field, id_value, text_value
from art.errors import RowError, shown

ID_KEYS = ("id", "_id", "docid")
TEXT_KEYS = ("text", "contents")
# Names that the column of question ids goes by.
_QRELS_HEADER = ("query-id", "query_id", "queryid", "qid", "query", "question-id", "question_id")
_GRADE = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Passage:
    """One row of a corpus; the title is empty where there is none."""

    passage_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with what is known of its answer: strings, passage ids, or nothing."""

    question_id: str
    text: str
    answers: tuple[str, ...] = ()
    positive_passage_ids: frozenset[str] = frozenset()


def passage_of(row: Mapping[str, Any], where: str) -> Passage:
    """Return a passage of named columns."""
    title = row.get("title")
    passage = Passage(
        id_value(field(row, ID_KEYS, where), "passage id", where),
        "" if title is None else text_value(title, "title", where),
        text_value(field(row, TEXT_KEYS, where), "text", where),
    )
    # BEIR corpora hold articles of which only the title is known.
    if not passage.text.strip() and not passage.title.strip():
        raise RowError("the text is empty, and there is no title", where=where)
    return passage


def named_passage(header: list[str], columns: list[str], where: str) -> Passage:
    """Return a passage of a table with a header."""
    return passage_of(named_columns(header, columns, where), where)


def named_columns(header: Sequence[str], columns: Sequence[str], where: str) -> dict[str, str]:
    """Return the columns of a row under the names that the table's header gives them.

    Raises:
        RowError: there are more or fewer than names.
    """
    if len(columns) != len(header):
        raise RowError(
            f"{len(columns)} columns, but the header names {len(header)}",
            where=where,
            hint="separate columns by one tab; quote a field that holds one",
        )
    return dict(zip(header, columns, strict=True))


def ms_marco_passage(line: str, where: str) -> Passage:
    """Return the passage of `id<TAB>text`."""
    columns = line.split("\t")
    if len(columns) != 2:
        raise RowError(
            f"{len(columns)} columns instead of `id<TAB>text`",
            where=where,
            hint="other columns need a first line that names them: id, text, title",
        )
    return passage_of({"id": columns[0], "text": columns[1]}, where)


def question_of(row: Mapping[str, Any], where: str) -> Question:
    """Return a question; its id is empty where the row has none."""
    text = text_value(field(row, ("question", "text"), where), "question", where)
    if not text.strip():
        raise RowError("the question is empty", where=where)
    given = next((row[name] for name in ("id", "_id") if row.get(name) is not None), None)
    answers = _items(row, "answers", where)
    positives = _items(row, "positive_passage_ids", where)
    return Question(
        "" if given is None else id_value(given, "question id", where),
        text,
        tuple(text_value(answer, "answer", where) for answer in answers),
        frozenset(id_value(one, "positive passage id", where) for one in positives),
    )


def _items(row: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(f"{name!r} is not a list but {shown(value)}", where=where)
    return value


def bare_question(line: str, where: str) -> Question:
    """Return the question that a whole line is."""
    return question_of({"text": line}, where)


def answered_question(columns: list[str], where: str) -> Question:
    """Return a row of DPR's table: a question and the list of its answers."""
    answers = answers_of(columns[1]) if len(columns) == 2 else None
    if answers is None:
        raise RowError(
            "not a question and a Python list of its answers, separated by a tab",
            where=where,
            hint="such a file has no header line",
        )
    return question_of({"question": columns[0], "answers": answers}, where)


def ms_marco_question(line: str, where: str) -> Question:
    """Return the question of `id<TAB>question`."""
    columns = line.split("\t")
    quoted = columns[-1].strip('" ').replace('""', '"')  # as csv writes a list of answers
    if len(columns) != 2 or answers_of(quoted) is not None:
        raise RowError(
            "not `id<TAB>question`, as this file's first line is",
            where=where,
            hint="a file of questions and answer lists has no header line",
        )
    return question_of({"id": columns[0], "question": columns[1]}, where)


def answers_of(literal: str) -> list[Any] | None:
    """Return the list that a Python literal is, None where it is something else; never run it."""
    if not literal.lstrip().startswith("["):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuratedTREC's expressions hold "\s" in plain strings
        try:
            value = ast.literal_eval(literal.strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _columns(line: str) -> list[str]:
    return line.split("\t") if "\t" in line else line.split()


def is_qrels_header(line: str) -> bool:
    """Return whether a file's first line names its columns; a row with a broken grade does not."""
    columns = _columns(line)
    return len(columns) == 3 and columns[0].strip().lower() in _QRELS_HEADER


def judgement_of(line: str, where: str) -> tuple[str, str, int]:
    """Return question id, passage id and grade of a row of BEIR's or TREC's judgements."""
    columns = _columns(line)
    hint = "expected `query-id corpus-id score` or `qid 0 docid grade`"
    if len(columns) not in (3, 4) or not _GRADE.fullmatch(columns[-1].strip()):
        raise RowError(f"not a judgement: {shown(line)}", where=where, hint=hint)
    if not (columns[0].strip() and columns[-2].strip()):
        raise RowError("an id is empty", where=where, hint=hint)
    return columns[0], columns[-2], int(columns[-1].strip())
