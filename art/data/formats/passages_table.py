"""Passages as a table whose first line names the columns, such as DPR's `psgs_w100.tsv`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from art.data.column_names import ID_KEYS, TEXT_KEYS, key_of
from art.data.formats.base import FORMATS, PassageFormat
from art.data.records import Passage, named_columns, passage_of
from art.data.rows import BadRows, converted, csv_rows, plain_lines
from art.errors import DataError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    path = Path(path)
    place, header = _first_line(path)
    _, columns = next(csv_rows(path))
    # A quotation mark left open in the header would take rows with it.
    if len(set(header)) < len(header) or len(columns) != len(header) or "\n" in "".join(columns):
        raise DataError(
            "the header does not name every column once",
            where=f"{path}:{place}",
            hint="begin the file with a line such as id<TAB>text<TAB>title",
        )
    rows = ((number, row) for number, row in csv_rows(path, bad_rows) if number != place)
    return converted(rows, partial(_passage, header), path, bad_rows)


def _has_header(path: Path) -> bool:
    _, header = _first_line(path)
    names = dict.fromkeys(header, "")
    return None not in (key_of(names, ID_KEYS), key_of(names, TEXT_KEYS))


def _first_line(path: Path) -> tuple[int, list[str]]:
    """Return the first line's number and columns."""
    # Never skipped: all other rows are read by the first.
    place, first = next(plain_lines(path), (0, ""))
    return place, [name.strip(' "').lower() for name in first.split("\t")]


def _passage(header: list[str], columns: list[str], where: str) -> Passage:
    return passage_of(named_columns(header, columns, where), where)


FORMATS.add(
    PassageFormat(
        name="passages-table",
        endings=(".tsv",),
        description="with the header `id text title`",
        fits=_has_header,
        read=_read,
    )
)
