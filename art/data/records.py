"""Passages, questions and labelled examples, and the rows that say them, in whatever file.

Each reader of a row takes it and its place, `path:line`, and raises a `RowError` where the row is
malformed.
"""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from art.data.rows import field, id_value, json_object, text_value
from art.errors import RowError, shown
from art.files import fingerprint

ID_KEYS = ("id", "_id", "docid")
TEXT_KEYS = ("text", "contents")
# Positives, hard negatives and, where the format has them, other negatives.
_DPR = ("positive_ctxs", "hard_negative_ctxs", "negative_ctxs")
_TEVATRON = ("positive_passages", "negative_passages")
_CONTEXT_IDS = ("passage_id", "psg_id", "docid")
_LARGEST = float(np.finfo(np.float32).max)


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


@dataclass(frozen=True, slots=True)
class SupervisedExample:
    """One question and its passages, each kind in the file's order.

    Questions and texts stay exactly as they stand in the file, a question mark at the end included,
    in training as in evaluation. (DPR's code takes that mark away; its own files hold none.)

    Attributes:
        question: as it stands in the file.
        answers: where the file has them.
        positives: passages that answer it; none in some rows of published files.
        hard_negatives: passages that were found for it and do not answer it.
        negatives: other passages that do not.
    """

    question: str
    answers: tuple[str, ...]
    positives: tuple[Passage, ...]
    hard_negatives: tuple[Passage, ...] = ()
    negatives: tuple[Passage, ...] = ()


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


def question_of(row: Mapping[str, Any], where: str) -> Question:
    """Return a question; its id is empty where the row has none."""
    text = asked_text(field(row, ("question", "text"), where), where)
    given = next((row[name] for name in ("id", "_id") if row.get(name) is not None), None)
    answers = _items(row, "answers", where)
    positives = _items(row, "positive_passage_ids", where)
    return Question(
        "" if given is None else id_value(given, "question id", where),
        text,
        tuple(text_value(answer, "answer", where) for answer in answers),
        frozenset(id_value(one, "positive passage id", where) for one in positives),
    )


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


def content_id(title: str, text: str) -> str:
    """Return 32 hexadecimal digits that stand for a passage's title and text."""
    return fingerprint(title, text)


def example_of(row: Mapping[str, Any], where: str) -> SupervisedExample:
    """Return the example of a row of DPR's or Tevatron's JSON.

    Raises:
        RowError: the row is malformed.
    """
    kinds = _TEVATRON if _TEVATRON[0] in row else _DPR
    field(row, kinds[:1], where)  # else every row of another kind of file has no positive
    answers = _items(row, "answers", where)
    return SupervisedExample(
        asked_text(field(row, ("question", "query"), where), where),
        tuple(text_value(answer, "answer", where) for answer in answers),
        *(_contexts(row, kind, where) for kind in kinds),
    )


def _contexts(row: Mapping[str, Any], name: str, where: str) -> tuple[Passage, ...]:
    items = enumerate(_items(row, name, where))
    return tuple(_context(item, f"{where}: {name}[{place}]") for place, item in items)


def _context(item: Any, where: str) -> Passage:
    row = json_object(item, where)
    title = row.get("title")
    given = next((row[name] for name in _CONTEXT_IDS if row.get(name) not in (None, "")), None)
    return context(
        None if given is None else id_value(given, "passage id", where),
        "" if title is None else text_value(title, "title", where),
        text_value(field(row, ("text",), where), "text", where),
        where,
    )


def context(passage_id: str | None, title: str, text: str, where: str) -> Passage:
    """Return a passage of an example; one without an id gets the `content_id` of its contents."""
    if not title.strip() and not text.strip():
        raise RowError("a passage without text and title", where=where)
    return Passage(passage_id or content_id(title, text), title, text)


def asked_text(value: Any, where: str) -> str:
    """Return the text of a question, which is not blank."""
    text = text_value(value, "question", where)
    if not text.strip():
        raise RowError("the question is empty", where=where)
    return text


def _items(row: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(f"{name!r} is not a list but {shown(value)}", where=where)
    return value


def finite_score(score: Any, where: str) -> float:
    """Return a passage's score, which float32 can hold."""
    try:
        number = float(score)  # DPR itself writes numbers as strings
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise RowError(f"the score {shown(score)} is not a finite number", where=where)
    return number


def repeated_passage(passage: str, where: str) -> RowError:
    """Return what is wrong with a passage that a question has already."""
    return RowError(f"the passage {shown(passage)} stands twice for this question", where=where)
