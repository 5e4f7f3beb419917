"""The names that columns of files go by, and what is said of those that are not read.

Spellings that differ in case, hyphens and underscores alone are the same name (`key_of`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from art.data.rows import BadRows, plain_lines
from art.errors import RowError, notify_once, shown

_NUM_NAMED = 3
_NAMES_KEPT = 1 << 12
_JOINTS = {ord(joint): None for joint in "-_ "}


def key_of(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the key under which a row has the first of these names; None where it has none.

    As they stand, names go before those that differ in case, hyphens and underscores alone
    (`queryId` and `query-id` for `query_id`).
    """
    for name in names:
        if row.get(name) is not None:
            return name
    spelt = {squeezed(str(key)): key for key, value in row.items() if value is not None}
    return next((spelt[one] for one in map(squeezed, names) if one in spelt), None)


@lru_cache(_NAMES_KEPT)
def squeezed(name: str) -> str:
    """Return a name of a column without what its spellings differ in."""
    return name.strip().lower().translate(_JOINTS)


def field(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    """Return the value of the first of these names that the row has, as `key_of` finds it.

    Raises:
        RowError: it has none of them.
    """
    key = key_of(row, names)
    if key is not None:
        return row[key]
    if empty := next((name for name in names if name in row), None):
        raise RowError(f"{empty!r} is null", where=where)
    raise RowError(
        f"no {' or '.join(repr(name) for name in names[:_NUM_NAMED])} in the row",
        where=where,
        hint=f"it has {', '.join(shown(str(name)) for name in list(row)[:10]) or 'nothing'}",
    )


# In the order in which they are looked for.
ID_KEYS = ("id", "_id", "docid", "doc_id", "pid", "passage_id", "psg_id", "corpus_id", "docno")
TEXT_KEYS = ("text", "contents")
CONTEXT_ID_KEYS = ("passage_id", "psg_id", "docid", "id", "_id", "pid", "doc_id", "corpus_id")
QUESTION_ID_KEYS = ("id", "_id", "qid", "query_id", "question_id")
QUESTION_KEYS = ("question", "query", "text", "question_text", "query_text")
ANSWER_KEYS = ("answers", "answer")
RESULT_KEYS = ("ctxs", "contexts")
POSITIVE_KEYS = ("positive_passage_ids", "positive_passage_id", "positive_ids")

# Only above a column: in a row by itself each of them may be something else.
_TEXT_HEADERS = (*TEXT_KEYS, "content", "passage", "passage_text", "document", "body", "paragraph")
_READ_OF_QUESTIONS = frozenset(
    map(squeezed, (*QUESTION_ID_KEYS, *QUESTION_KEYS, *ANSWER_KEYS, *POSITIVE_KEYS))
)
_WORDS = re.compile(r"[a-z]+|[A-Z]+[a-z]*|[0-9]+")
_ID_WORDS = {"id", "ids", "qid", "pid", "uid", "uuid", "guid", "idx", "key", "no", "nr"}
_PASSAGES = re.compile(r"negative|positive|ctxs|passages", re.IGNORECASE)
_LABEL = re.compile(r"answer|gold|positive|relevan|label|target|ctx|docid", re.IGNORECASE)


def tab_rows(
    path: Path,
    order_of: Callable[[list[str], str], tuple[int, int] | None],
    bad_rows: BadRows | None = None,
) -> tuple[tuple[int, int], Iterator[tuple[int, list[str]]]]:
    """Read a file of two columns parted by a tab, without quoting; blank lines are passed.

    Args:
        path: the file.
        order_of: takes the columns of the first row and its place; returns the order of the columns
            where that row names them, None where it is one like the others.
        bad_rows: collects lines that cannot be read; None to raise at the first.

    Returns:
        The order of the columns, places from 0; and (line number, columns) of every row that names
        none.
    """
    rows = ((number, line.split("\t")) for number, line in plain_lines(path, bad_rows))
    first = next(rows, None)
    if first is None:
        return (0, 1), iter(())
    order = order_of(first[1], f"{path}:{first[0]}")
    return order or (0, 1), rows if order else chain([first], rows)


def header_order(
    columns: Sequence[str], ids: Sequence[str], texts: Sequence[str], where: str
) -> tuple[int, int] | None:
    """Return where the id and the text stand in a file whose first row names two columns.

    A name of an id above a single word that is not known counts as such a row, which is said.

    Args:
        columns: of the file's first row.
        ids: names that a column of ids goes by.
        texts: names that a column of texts goes by.
        where: the row's place.

    Returns:
        Places from 0; None where the row is one like the others.
    """
    if len(columns) != 2:
        return None
    names = [column.strip(' "') for column in columns]
    for order in ((0, 1), (1, 0)):
        if _is_among(names[order[0]], ids) and _is_among(names[order[1]], texts):
            return order
    if _is_among(names[0], ids) and len(names[1].split()) == 1:
        notify_once(f"{where}: taken for the names of the columns ({', '.join(names)})")
        return 0, 1
    return None


def passage_header(columns: Sequence[str], where: str) -> tuple[int, int] | None:
    """Return `header_order` of a corpus."""
    return header_order(columns, ID_KEYS, _TEXT_HEADERS, where)


def question_header(columns: Sequence[str], where: str) -> tuple[int, int] | None:
    """Return `header_order` of questions."""
    return header_order(columns, QUESTION_ID_KEYS, QUESTION_KEYS, where)


def say_what_is_not_read(row: Mapping[str, Any], where: str) -> None:
    """Name the columns of a question that are not read and look like an id or an answer."""
    if found := [name for name in map(str, row) if _is_missed(name)]:
        notify_once(
            f"{source_of(where)}: not read: {', '.join(map(shown, found))}; an id is read from "
            f"{_either(QUESTION_ID_KEYS)}, labels from {_either((*ANSWER_KEYS, POSITIVE_KEYS[0]))}"
        )


def say_which_passages_are_not_read(
    row: Mapping[str, Any], read: Sequence[str], where: str
) -> None:
    """Name the columns of a labelled question that are not read and look like its passages."""
    found = [name for name in map(str, row) if name not in read and _PASSAGES.search(name)]
    if found:
        notify_once(
            f"{source_of(where)}: not read: {', '.join(map(shown, found))}; passages are read from "
            f"{_either(read, 'and')}"
        )


def say_which_id_is_taken(row: Mapping[str, Any], taken: str | None, where: str) -> None:
    """Say which of several ids that differ a question is called after."""
    if taken is None:
        return
    keys = (key_of(row, (name,)) for name in QUESTION_ID_KEYS)
    others = {key for key in keys if key is not None and str(row[key]) != str(row[taken])}
    if others:
        notify_once(
            f"{source_of(where)}: rows have {_either((taken, *sorted(others)), 'and')}; "
            f"{shown(taken)} is taken for the id"
        )


@lru_cache(_NAMES_KEPT)
def _is_missed(name: str) -> bool:
    """Return whether a column of questions is not read, and looks like an id or an answer."""
    if squeezed(name) in _READ_OF_QUESTIONS:
        return False
    return looks_like_id(name) or bool(_LABEL.search(name))


def looks_like_id(name: str) -> bool:
    """Return whether a column's name ends in a word for an id."""
    words = _WORDS.findall(name)
    return bool(words) and words[-1].lower() in _ID_WORDS


def source_of(where: str) -> str:
    """Return the file, or the argument, of a row's place."""
    return re.sub(r"(\[\d+\]|:[^:/\\]*)$", "", where)


def _is_among(name: str, names: Sequence[str]) -> bool:
    return squeezed(name) in map(squeezed, names)


def _either(names: Sequence[str], last: str = "or") -> str:
    quoted = [shown(name) for name in names]
    return f"{', '.join(quoted[:-1])} {last} {quoted[-1]}" if len(quoted) > 1 else quoted[0]
