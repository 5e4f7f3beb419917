"""Rows given in memory, as texts, mappings or a `datasets.Dataset`, for the readers of files.

They are written once as JSON lines, into a file called after its contents: the same rows are the
same file, with which a run goes on. A complaint names the argument and the row from 0, such as
`passages[17]`, and never that file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from art.data.column_names import ID_KEYS, key_of, looks_like_id, source_of
from art.data.distinct import distinct
from art.data.labelled_rows import labelled_of
from art.data.records import (
    Passage,
    Question,
    merged_questions,
    passage_of,
    question_of,
)
from art.data.rows import ROW_BYTES, BadRows, refuse
from art.errors import DataError, RowError, notify_once, shown
from art.files import write_by_contents

Rows = Iterable[str | Mapping[str, Any]]
KindName = Literal["passages", "questions", "supervised"]
Value = TypeVar("Value")


class _Line(NamedTuple):
    """One row of a file, and the id that no other may have; empty where any may."""

    own_id: str
    contents: bytes


@dataclass(frozen=True)
class _Kind:
    """What a file holds.

    Attributes:
        what: one of its rows is.
        columns: turns a row that was given, its number and its place into a line's columns, or
            raises a DataError.
    """

    what: str
    columns: Callable[[int, Any, str], dict[str, Any]]

    def line(self, number: int, row: Any, where: str) -> _Line:
        """Return the line that says what a row says."""
        columns = self.columns(number, row, where)
        contents = json.dumps(columns, ensure_ascii=False).encode() + b"\n"
        if len(contents) > ROW_BYTES:
            raise RowError("a row is longer than 16 MiB", where=where, hint="split it")
        return _Line(columns.get("id", ""), contents)


def write_rows(
    kind: KindName,
    rows: Rows,
    folder: Path,
    *,
    argument: str,
    bad_rows: BadRows | None = None,
) -> Path:
    """Write rows as a file that `read_passages`, `read_questions` or `read_supervised` reads.

    Args:
        kind: which of the three.
        rows: mappings as these readers find in JSON lines, or texts (not for `supervised`), in a
            list or another sequence, or a `datasets.Dataset`. A passage without an id is called
            after its position.
        folder: of the file.
        argument: what the caller calls the rows; the file's name begins with it.
        bad_rows: collects malformed rows and repeated ids; None to raise at the first.

    Raises:
        DataError: a row is malformed, there is none, or these are no rows.
        ArtError: the file cannot be written.
    """
    lines = distinct(
        partial(_numbered, rows, argument, _KINDS[kind].line),
        bad_rows,
        what=_KINDS[kind].what,
        id_of=lambda line: line.own_id,
        place=lambda number: _place(argument, number),
        place_before=lambda number: f"in {_place(argument, number)}",
    )
    first = next(lines, None)
    if first is None:
        skipped = bad_rows.report() if bad_rows is not None else ""
        what = "; ".join(["there is no row", *filter(None, [skipped])])
        raise DataError(what, where=argument, hint="is it what you meant to give?")
    contents = (line.contents for line in chain([first], lines))
    return write_by_contents(folder, argument, ".jsonl", contents)


def questions_of(rows: Rows, argument: str) -> list[Question]:
    """Return questions given in memory; one without an id is called after its place.

    Raises:
        DataError: as `write_rows`.
    """
    numbered = list(_numbered(rows, argument, _question, None))
    return [
        replace(one, question_id=one.question_id or _place(argument, number))
        for number, one in merged_questions(numbered, argument)
    ]


def _place(argument: str, number: int) -> str:
    return f"{argument}[{number}]"


def _numbered(
    rows: Rows,
    argument: str,
    convert: Callable[[int, Any, str], Value],
    bad_rows: BadRows | None,
) -> Iterator[tuple[int, Value]]:
    for number, row in enumerate(_readable(rows, argument)):
        try:
            value = convert(number, _plain(row), _place(argument, number))
        except RowError as error:
            general = error.hint == RowError.ADVICE  # of files, on a command line
            hint = "repair that row" if general else error.hint
            refuse(RowError(error.what, where=error.where, hint=hint), bad_rows)
        else:
            yield number, value


def _readable(rows: Rows, argument: str) -> Iterable[Any]:
    """Return rows that can be read again and again.

    Raises:
        DataError: they are something else, such as columns, or names of files.
    """
    if hasattr(rows, "with_format") and not isinstance(rows, Mapping):
        plain: Iterable[Any] = rows.with_format(None)  # of a dataset: strings, not tensors
        return plain
    if isinstance(rows, np.ndarray) and rows.ndim == 1:
        return list(rows)
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes):
        raise DataError(
            "a list of texts or mappings, or a datasets.Dataset, is expected, not "
            f"{type(rows).__name__}",
            where=argument,
            hint="choose a split of a DatasetDict; of a DataFrame give .to_dict('records')",
        )
    if rows and isinstance(rows[0], str) and _is_file(rows[0]):
        raise DataError(
            f"{shown(rows[0])} is the name of a file, where rows are expected",
            where=_place(argument, 0),
            hint="name a single file without a list; several go into the section of settings",
        )
    return rows


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's types, tuples and sets become Python's own.

    A NaN is what pandas has for a missing text, and becomes None.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, Mapping):
        return {_plain(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, set | frozenset):  # of ids; in an order that does not change
        return sorted(map(_plain, value), key=str)
    return value


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than any name, or with a zero byte
        return False


def _columns(row: Any, name_of_text: str, where: str) -> Mapping[str, Any]:
    if isinstance(row, str):
        return {name_of_text: row}
    if not isinstance(row, Mapping):
        raise RowError(f"a text or a mapping is expected, not {shown(row)}", where=where)
    return row


def _passage_columns(number: int, row: Any, where: str) -> dict[str, Any]:
    given = _columns(row, "text", where)
    named = key_of(given, ID_KEYS) is not None
    if not named and (ids := [name for name in map(str, given) if looks_like_id(name)]):
        notify_once(
            f"{source_of(where)}: not read: {', '.join(map(shown, ids))}; passages without `id` "
            "are called after their position"
        )
    passage = passage_of(given if named else {**given, "id": number}, where)
    return {"id": passage.passage_id, "title": passage.title, "text": passage.text}


def _question(_: int, row: Any, where: str) -> Question:
    return question_of(_columns(row, "question", where), where)


def _question_columns(number: int, row: Any, where: str) -> dict[str, Any]:
    question = _question(number, row, where)
    own_id = {"id": question.question_id} if question.question_id else {}
    return {
        **own_id,
        "question": question.text,
        "answers": question.answers,
        "positive_passage_ids": sorted(question.positive_passage_ids),
    }


def _example_columns(_: int, row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise RowError(
            f"a mapping is expected, not {shown(row)}",
            where=where,
            hint="give question and positive_ctxs, as DPR's files do",
        )
    example = labelled_of(row, where)
    return {
        "question": example.question,
        "answers": example.answers,
        "positive_ctxs": _contexts(example.positives),
        "hard_negative_ctxs": _contexts(example.hard_negatives),
        "negative_ctxs": _contexts(example.negatives),
    }


def _contexts(passages: Sequence[Passage]) -> list[dict[str, str]]:
    return [
        {"passage_id": one.passage_id, "title": one.title, "text": one.text} for one in passages
    ]


_KINDS = {
    "passages": _Kind("passage", _passage_columns),
    "questions": _Kind("question", _question_columns),
    "supervised": _Kind("example", _example_columns),
}
