"""Passages, questions and labelled examples, and the rows that say them, in whatever file.

Each reader of a row takes it and its place, `path:line`, and raises a `RowError` where the row is
malformed.
"""

from __future__ import annotations

import ast
import math
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from art.data.answers import has_answer
from art.data.column_names import (
    ANSWER_KEYS,
    CONTEXT_ID_KEYS,
    ID_KEYS,
    POSITIVE_KEYS,
    QUESTION_ID_KEYS,
    QUESTION_KEYS,
    TEXT_KEYS,
    key_of,
    say_what_is_not_read,
    say_which_id_is_taken,
    say_which_passages_are_not_read,
    source_of,
)
from art.data.column_names import field as field_of
from art.data.rows import id_value, json_object, text_value
from art.errors import RowError, notify_once, shown
from art.files import fingerprint

# Positives, hard negatives and, where the format has them, other negatives.
_DPR = ("positive_ctxs", "hard_negative_ctxs", "negative_ctxs")
_TEVATRON = ("positive_passages", "negative_passages")
LABELLED_KEYS = (_DPR[0], _TEVATRON[0])
# What a generated question was written about. Questions that train are read without it.
ASKED_ABOUT = "passage"
REJECTED_FOR = "reason"  # in the file of those that `art ask` did not keep
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Passage:
    """One row of a corpus; the title is empty where there is none."""

    passage_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with what is known of its answer: strings, passage ids, or nothing.

    Attributes:
        question_id: of the row, or what it is called after.
        text: as it stands in the file.
        answers: strings that a passage which answers it contains.
        positive_passage_ids: of passages that answer it.
        named: whether the id is the row's own; else it is its line or place.
    """

    question_id: str
    text: str
    answers: tuple[str, ...] = ()
    positive_passage_ids: frozenset[str] = frozenset()
    named: bool = field(default=True, compare=False)


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
    passage = Passage(
        id_value(field_of(row, ID_KEYS, where), "passage id", where),
        _title(row, where),
        text_value(field_of(row, TEXT_KEYS, where), "text", where),
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
    """Return a question; its id is empty where the row has none.

    A column that is not read and looks like an id or an answer is named once for its file.
    """
    _refuse_rejected(row, where)
    text = asked_text(field_of(row, QUESTION_KEYS, where), where)
    key = key_of(row, QUESTION_ID_KEYS)
    positives = _listed(row, POSITIVE_KEYS, where)
    say_what_is_not_read(row, where)
    say_which_id_is_taken(row, key, where)
    return Question(
        "" if key is None else id_value(row[key], "question id", where),
        text,
        _answers(row, where),
        frozenset(id_value(one, "positive passage id", where) for one in positives),
        named=key is not None,
    )


def _refuse_rejected(row: Mapping[str, Any], where: str) -> None:
    """Refuse a question that `art ask` put aside: the file is another than was meant."""
    if REJECTED_FOR in row and isinstance(row.get(ASKED_ABOUT), Mapping):
        raise RowError(
            f"`art ask` rejected this question: {shown(row[REJECTED_FOR])}",
            where=where,
            hint="name the file of those that it kept",
        )


def comparable(text: str) -> str:
    """Return what two texts have in common that differ in white space or Unicode's form alone."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def merged_questions(
    rows: Sequence[tuple[int, Question]], source: str | Path
) -> list[tuple[int, Question]]:
    """Return questions of which those without an id that ask the same and name passages are one.

    Args:
        rows: numbers and questions.
        source: of the rows, for what is said of it.
    """
    places: dict[str, int] = {}
    merged: list[tuple[int, Question]] = []
    for number, one in rows:
        if one.named or not one.positive_passage_ids:
            merged.append((number, one))
            continue
        place = places.setdefault(comparable(one.text), len(merged))
        if place == len(merged):
            merged.append((number, one))
            continue
        first_number, first = merged[place]
        both = replace(
            first,
            answers=tuple(dict.fromkeys([*first.answers, *one.answers])),
            positive_passage_ids=first.positive_passage_ids | one.positive_passage_ids,
        )
        merged[place] = first_number, both
    if num_more := len(rows) - len(merged):
        notify_once(
            f"{source}: {num_more:,} of {len(rows):,} rows ask what a row before them asks and "
            "name passages of their own; such rows are one question with all of these"
        )
    return merged


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
    """Return the example of a row of DPR's or Tevatron's JSON, or of what `art ask` writes.

    Raises:
        RowError: the row is malformed.
    """
    kinds = _TEVATRON if _TEVATRON[0] in row else _DPR
    if kinds[0] not in row and isinstance(passage := row.get(ASKED_ABOUT), Mapping):
        _refuse_rejected(row, where)
        question = asked_text(field_of(row, ("question",), where), where)
        return SupervisedExample(question, (), (_context(passage, f"{where}: {ASKED_ABOUT}"),))
    say_which_passages_are_not_read(row, kinds, where)
    field_of(row, kinds[:1], where)  # else every row of another kind of file has no positive
    return SupervisedExample(
        asked_text(field_of(row, ("question", "query"), where), where),
        _answers(row, where),
        *(_contexts(row, kind, where) for kind in kinds),
    )


def retrieved_example_of(row: Mapping[str, Any], listed: str, where: str) -> SupervisedExample:
    """Return the example of a row of DPR's results: what holds an answer is a positive.

    Where a passage does not say so itself (`has_answer`), its text is looked through. All this is
    said once for the file.

    Args:
        row: of the results.
        listed: the key of its passages.
        where: its place.

    Raises:
        RowError: the row is malformed, or there is no answer to look for.
    """
    question = asked_text(field_of(row, QUESTION_KEYS, where), where)
    answers = _answers(row, where)
    kinds: dict[bool, list[Passage]] = {True: [], False: []}
    for place, item in enumerate(_items(row, listed, where)):
        of_item = f"{where}: {listed}[{place}]"
        passage = _context(item, of_item)
        said = item.get("has_answer")
        if said is None and not answers:
            raise RowError(
                "neither `has_answer` nor an answer of the question to look for", where=of_item
            )
        if not isinstance(said, bool | None):
            raise RowError(f"'has_answer' is not true or false but {shown(said)}", where=of_item)
        found = has_answer(passage.text, answers, question=question) if said is None else said
        kinds[found].append(passage)
    notify_once(
        f"{source_of(where)}: labelled by its answers: of {shown(listed)}, passages that hold one "
        "(`has_answer`, else answer match) are positives, the others negatives"
    )
    return SupervisedExample(question, answers, tuple(kinds[True]), tuple(kinds[False]))


def _contexts(row: Mapping[str, Any], name: str, where: str) -> tuple[Passage, ...]:
    items = enumerate(_items(row, name, where))
    return tuple(_context(item, f"{where}: {name}[{place}]") for place, item in items)


def _context(item: Any, where: str) -> Passage:
    row = json_object(item, where)
    key = key_of({name: value for name, value in row.items() if value != ""}, CONTEXT_ID_KEYS)
    return context(
        None if key is None else id_value(row[key], "passage id", where),
        _title(row, where),
        text_value(field_of(row, TEXT_KEYS, where), "text", where),
        where,
    )


def _title(row: Mapping[str, Any], where: str) -> str:
    key = key_of(row, ("title",))
    return "" if key is None else text_value(row[key], "title", where)


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


def _answers(row: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the answers of all columns that have some."""
    found = _listed(row, ANSWER_KEYS, where)
    return tuple(text_value(answer, "answer", where) for answer in found)


def _listed(row: Mapping[str, Any], names: Sequence[str], where: str) -> list[Any]:
    """Return what stands under these names, one after the other; in the singular also by itself."""
    found: list[Any] = []
    for name in names:
        key = key_of(row, (name,))
        alone = key is not None and not name.endswith("s") and not isinstance(row[key], list)
        found += [] if key is None else [row[key]] if alone else _items(row, key, where)
    return found


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
