"""Passages as MS MARCO's `collection.tsv`: an id, a tab and the text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from art.data.column_names import passage_header, tab_rows
from art.data.formats.base import FORMATS, PassageFormat
from art.data.records import Passage, passage_of
from art.data.rows import BadRows, converted
from art.errors import RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    # Without csv quoting: these passages have quotation marks of their own.
    order, rows = tab_rows(Path(path), passage_header, bad_rows)
    return converted(rows, partial(_passage, order), path, bad_rows)


def _passage(order: tuple[int, int], columns: list[str], where: str) -> Passage:
    if len(columns) != 2:
        raise RowError(
            f"{len(columns)} columns instead of `id<TAB>text`",
            where=where,
            hint="other columns need a first line that names them: id, text, title",
        )
    return passage_of({"id": columns[order[0]], "text": columns[order[1]]}, where)


FORMATS.add(
    PassageFormat(
        name="passages-ms-marco",
        endings=(".tsv",),
        description="of `id<TAB>text` without a header",
        read=_read,
    )
)
