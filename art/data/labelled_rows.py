"""Rows of labelled questions: DPR's and its results, Tevatron's, FlagEmbedding's, and triplets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from art.data.column_names import RESULT_KEYS, field, key_of
from art.data.records import (
    LABELLED_KEYS,
    Passage,
    SupervisedExample,
    asked_text,
    context,
    example_of,
    retrieved_example_of,
)
from art.data.rows import text_value
from art.errors import RowError, shown

QUERY_KEYS = ("anchor", "query", "question")
_POSITIVE = re.compile(r"pos(itive)?s?(_\d+)?")
_NEGATIVE = re.compile(r"(hard_)?neg(ative)?s?(_\d+)?")
_NOT_POSITIVE = ("0", "0.0", "-1", "False")  # of a column `label`


def is_triplet(names: Iterable[str]) -> bool:
    """Return whether columns of these names hold a question and a text that answers it."""
    known = set(names)
    return not known.isdisjoint(QUERY_KEYS) and any(map(_POSITIVE.fullmatch, known))


def labelled_of(row: Mapping[str, Any], where: str) -> SupervisedExample:
    """Return the example of a row, which the names of its columns tell the kind of.

    Known are `query`, `pos`, `neg` (FlagEmbedding); `anchor`, `positive`, `negative`, also numbered
    or in the plural (sentence-transformers); `ctxs`, which were found (DPR's results); and what
    `example_of` reads.

    Raises:
        RowError: the row is malformed.
    """
    positives = [name for name in row if _POSITIVE.fullmatch(name)]
    if not positives:
        found = None if key_of(row, LABELLED_KEYS) else key_of(row, RESULT_KEYS)
        return retrieved_example_of(row, found, where) if found else example_of(row, where)
    if str(row.get("label")) in _NOT_POSITIVE:
        what = f"the label {shown(row['label'])} says that {positives[0]!r} is none"
        raise RowError(what, where=where)
    return _of_texts(row, positives, [name for name in row if _NEGATIVE.fullmatch(name)], where)


def _of_texts(
    row: Mapping[str, Any], positives: list[str], negatives: list[str], where: str
) -> SupervisedExample:
    question = asked_text(field(row, QUERY_KEYS, where), where)
    if all(_is_empty(row[name]) for name in positives):
        raise RowError(f"{positives[0]!r} is {shown(row[positives[0]])}", where=where)
    return SupervisedExample(
        question,
        (),
        tuple(_passages(row, positives, where)),
        tuple(_passages(row, negatives, where)),
    )


def _passages(row: Mapping[str, Any], names: list[str], where: str) -> Iterator[Passage]:
    """Yield the passages of these columns, of each a text or a list of texts."""
    for name in names:
        value = row.get(name)
        if isinstance(value, list):
            for place, text in enumerate(value):
                yield _passage(text, f"{where}: {name}[{place}]")
        elif not _is_empty(value):  # else a cell of a row that has fewer than others
            yield _passage(value, f"{where}: {name}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _passage(text: Any, where: str) -> Passage:
    return context(None, "", text_value(text, "text", where), where)
