"""Passages as MS MARCO's `collection.tsv`: an id, a tab and the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, PassageFormat
from art.data.records import Passage, passage_of
from art.data.rows import BadRows, converted, plain_lines
from art.errors import RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    # Without csv quoting: these passages have quotation marks of their own.
    return converted(plain_lines(Path(path), bad_rows), _passage, path, bad_rows)


def _passage(line: str, where: str) -> Passage:
    columns = line.split("\t")
    if len(columns) != 2:
        raise RowError(
            f"{len(columns)} columns instead of `id<TAB>text`",
            where=where,
            hint="other columns need a first line that names them: id, text, title",
        )
    return passage_of({"id": columns[0], "text": columns[1]}, where)


FORMATS.add(
    PassageFormat(
        name="passages-ms-marco",
        endings=(".tsv",),
        description="of `id<TAB>text` without a header",
        read=_read,
    )
)
