"""Rows of text files, each with the line it starts on: lines, csv rows, JSON objects.

Everything streams; `.gz` is read as what it holds; text is UTF-8, a byte-order mark is skipped.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from art.errors import DataError

ROW_BYTES = 16 << 20  # a longer row is a broken file: an unclosed quote, a missing line break


class Lines:
    """The lines of a file, their ends kept, and where the current row starts.

    Iterating gives one line at a time. A reader whose rows span lines calls `finish_row` after
    each, so that a row that never ends is refused before it fills the memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0  # of the last line given, from 1
        self._row_start = 1
        self._row_bytes = 0

    def __iter__(self) -> Iterator[str]:
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else open(self.path, "rb") as f:
                while line := f.readline(ROW_BYTES + 1):
                    self.number += 1
                    self._row_bytes += len(line)
                    if self._row_bytes > ROW_BYTES:
                        self.refuse(
                            "a row is longer than 16 MiB",
                            hint="look for an unclosed quotation mark or a missing line break",
                        )
                    yield self._decoded(line)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(f"cannot read: {reason}", where=self.path) from error

    def _decoded(self, line: bytes) -> str:
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise DataError(
                f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}",
                where=f"{self.path}:{self.number}",
                hint="convert the file to UTF-8",
            ) from error
        return text.removeprefix("\ufeff") if self.number == 1 else text

    def finish_row(self) -> int:
        """End the current row; return the line it started on."""
        start = self._row_start
        self._row_start = self.number + 1
        self._row_bytes = 0
        return start

    def refuse(self, what: str, *, hint: str | None = None) -> NoReturn:
        """Raise a DataError that names the current row's first line."""
        raise DataError(what, where=f"{self.path}:{self._row_start}", hint=hint)


def plain_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its end) of every line that is not blank."""
    lines = Lines(path)
    for line in lines:
        number = lines.finish_row()
        if line.strip():
            yield number, line.removesuffix("\n").removesuffix("\r")


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a tab-separated file with csv quoting; blank rows are passed.

    Fields in quotation marks may hold tabs, line breaks and doubled quotation marks.
    """
    lines = Lines(path)
    csv.field_size_limit(max(csv.field_size_limit(), ROW_BYTES))
    rows = csv.reader(lines, delimiter="\t", strict=True)
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.refuse(
                f"not a csv row: {error}",
                hint='a field that begins with " must end with it, and double those inside',
            )
        number = lines.finish_row()
        if fields:
            yield number, fields


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON-lines file; blank lines are passed."""
    for number, line in plain_lines(path):
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not JSON: {error}", where=where) from error
        if not isinstance(value, dict):
            raise DataError(f"a JSON object is expected, not {type(value).__name__}", where=where)
        yield number, value


def field(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
    """Return the value of the first of these names that the row has.

    Raises:
        DataError: it has none of them.
    """
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise DataError(
        f"no {' or '.join(repr(name) for name in names)} in the row",
        where=where,
        hint=f"it has {', '.join(repr(str(name)) for name in row) or 'nothing'}",
    )


def text_value(value: Any, what: str, where: str) -> str:
    """Return a string that UTF-8 can hold.

    Raises:
        DataError: the value is no string, or holds half a surrogate pair (JSON can).
    """
    if not isinstance(value, str):
        raise DataError(f"the {what} is not a string but {value!r:.60}", where=where)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the {what} holds half a surrogate pair", where=where) from error
    return value


def id_value(value: Any, what: str, where: str) -> str:
    """Return an id as a string; whole numbers are accepted.

    Raises:
        DataError: the value is something else, or blank.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = text_value(value, what, where)
    if not name.strip():
        raise DataError(f"the {what} is empty", where=where)
    return name
