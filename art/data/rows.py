"""Rows of text files, each with the line it starts on: lines, csv rows, JSON objects.

Everything streams; `.gz` is read as what it holds; text is UTF-8, a byte-order mark is skipped.
Lines end in LF or CR LF; in a file that has no LF, in CR. A malformed row is a `RowError`, unless
the caller collects bad rows: then it is skipped and listed.
"""

from __future__ import annotations

import csv
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import IO, Any, TypeVar

from art.data.packed import open_bytes
from art.errors import DataError, RowError, shown

Raw = TypeVar("Raw")
Value = TypeVar("Value")

# Part of the name of whatever is cached of a file: another where the same bytes are other rows.
READING = "reading 2"

ROW_BYTES = 16 << 20  # a longer row is a broken file: an unclosed quote, a missing line break
_READ_BYTES = 1 << 20
_NUM_LISTED = 10


@dataclass
class BadRows:
    """Malformed rows that were skipped.

    Attributes:
        count: of all of them.
        complaints: what is wrong with the first ten, and where.
    """

    count: int = 0
    complaints: list[str] = dataclass_field(default_factory=list)

    def add(self, error: RowError) -> None:
        """Count one more."""
        self.count += 1
        if len(self.complaints) < _NUM_LISTED:
            self.complaints.append(f"{error.where}: {error.what}")

    def report(self) -> str:
        """Return how many there were and the first of them as one line; nothing where none were."""
        if not self.count:
            return ""
        more = self.count - len(self.complaints)
        behind = f"; and {more:,} more" if more else ""
        rows = "row" if self.count == 1 else "rows"
        return f"skipped {self.count:,} {rows}: {'; '.join(self.complaints)}{behind}"


def refuse(error: RowError, bad_rows: BadRows | None) -> None:
    """Raise a row's error, or count it where bad rows are collected."""
    if bad_rows is None:
        raise error
    bad_rows.add(error)


def text_lines(path: Path, bad_rows: BadRows | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number, line with its end) of every line.

    Args:
        path: the file.
        bad_rows: collects lines that are not UTF-8 or too long; None to raise at the first.

    Raises:
        RowError: a line cannot be read.
        DataError: the file cannot be read.
    """
    for number, line in enumerate(_lines(path), start=1):
        if isinstance(line, RowError):
            refuse(line, bad_rows)
        else:
            yield number, line


def plain_lines(path: Path, bad_rows: BadRows | None = None) -> Iterator[tuple[int, str]]:
    """Yield (line number, line without its end) of every line that is not blank."""
    for number, line in text_lines(path, bad_rows):
        if line.strip():
            yield number, line.removesuffix("\n").rstrip("\r")


def csv_rows(
    path: Path, bad_rows: BadRows | None = None, *, delimiter: str = "\t"
) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields) of a table with csv quoting; blank rows are passed.

    Fields in quotation marks may hold tabs, line breaks and doubled quotation marks. Where bad rows
    are skipped, reading goes on with the line behind a bad row's first: a quotation mark that is
    never closed costs its own line and no other.
    """
    lines = _RowLines(path)
    csv.field_size_limit(max(csv.field_size_limit(), ROW_BYTES))
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        try:
            fields = next(rows)
        except StopIteration:
            return
        except (csv.Error, RowError) as error:
            refuse(lines.fault(error), bad_rows)
            lines.go_on_behind_first()
        else:
            number = lines.finish_row()
            if fields:
                yield number, fields


def json_objects(
    path: Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON-lines file; blank lines are passed."""
    return converted(plain_lines(path, bad_rows), _parsed_object, path, bad_rows)


def converted(
    rows: Iterable[tuple[int, Raw]],
    convert: Callable[[Raw, str], Value],
    source: str | Path,
    bad_rows: BadRows | None,
    *,
    unit: str = "",
) -> Iterator[tuple[int, Value]]:
    """Yield every row as what it means, with its number.

    Args:
        rows: numbers and rows.
        convert: takes a row and its place; raises a RowError where it is malformed.
        source: the rows' file.
        bad_rows: collects malformed rows; None to raise at the first.
        unit: what the numbers count, where it is not lines.
    """
    for number, row in rows:
        try:
            value = convert(row, f"{source}:{unit}{number}")
        except RowError as error:
            refuse(error, bad_rows)
        else:
            yield number, value


def json_value(text: str, where: str) -> Any:
    """Return what a JSON text stands for.

    Raises:
        RowError: it is not JSON, or nested beyond reason.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise RowError(
            f"not JSON: {error.msg} at {place}character {error.colno}", where=where
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; [[[[…
        raise RowError(f"not JSON: {error}", where=where) from error


def json_object(value: Any, where: str) -> dict[str, Any]:
    """Return a value that is a JSON object.

    Raises:
        RowError: it is something else.
    """
    if not isinstance(value, dict):
        raise RowError(f"a JSON object is expected, not {type(value).__name__}", where=where)
    return value


def text_value(value: Any, what: str, where: str) -> str:
    """Return a string that UTF-8 can hold.

    Raises:
        RowError: the value is no string, or holds half a surrogate pair (JSON can).
    """
    if not isinstance(value, str):
        raise RowError(f"the {what} is not a string but {shown(value)}", where=where)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"the {what} holds half a surrogate pair", where=where) from error
    return value


def id_value(value: Any, what: str, where: str) -> str:
    """Return an id as a string; whole numbers are accepted.

    Raises:
        RowError: the value is something else, or blank.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = text_value(value, what, where)
    if not name.strip():
        raise RowError(f"the {what} is empty", where=where)
    return name


def is_word(name: str) -> bool:
    """Return whether an id is one word, as the columns of a TREC run must be."""
    return name.split() == [name]


class _RowLines:
    """The lines of a file for the csv reader, those of the current row kept to be read again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = _lines(path)
        self._again: deque[str | RowError] = deque()
        self._row: list[str | RowError] = []
        self._row_start = 1
        self._row_characters = 0

    def __iter__(self) -> _RowLines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self._row.append(line)
        if isinstance(line, RowError):
            raise line
        self._row_characters += len(line)
        if self._row_characters > ROW_BYTES:
            raise _too_long(f"{self._path}:{self._row_start}")
        return line

    def finish_row(self) -> int:
        """End the current row; return the line it started on."""
        start = self._row_start
        self._row_start += len(self._row)
        self._row.clear()
        self._row_characters = 0
        return start

    def go_on_behind_first(self) -> None:
        """Give up the current row: of its lines only the first is behind us."""
        self._again.extendleft(reversed(self._row[1:]))
        del self._row[1:]
        self.finish_row()

    def fault(self, error: csv.Error | RowError) -> RowError:
        """Return what is wrong with the current row, with its first line."""
        where = f"{self._path}:{self._row_start}"
        if isinstance(error, csv.Error):
            return RowError(
                f"not a csv row: {error}",
                where=where,
                hint='a field that begins with " must end with it, and double those inside',
            )
        if error is self._row[0] or error.where == where:
            return error
        last = self._row_start + len(self._row) - 1
        return RowError(f"the row goes on to line {last}, {error.what}", where=where)


def _lines(path: Path) -> Iterator[str | RowError]:
    """Yield every line with its end; in the place of one that cannot be read, what is wrong."""
    try:
        with open_bytes(path) as file:
            for number, line in enumerate(_byte_lines(file), start=1):
                if len(line) > ROW_BYTES:
                    yield _too_long(f"{path}:{number}")
                else:
                    yield _decoded(line, path, number)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read: {reason}", where=path, hint="is it complete, and yours to read?"
        ) from error


def _byte_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield every line with its end; of one that is too long, only the beginning."""
    line = file.readline(ROW_BYTES + 1)
    if b"\r" in line and not line.endswith(b"\n"):
        yield from _cr_lines(line, file)
        return
    while line:
        yield line
        if len(line) > ROW_BYTES:
            _pass_over(file, line)
        line = file.readline(ROW_BYTES + 1)


def _cr_lines(held: bytes, file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file that ends them in CR alone, each with LF in its place.

    Args:
        held: the beginning of the file.
        file: the rest of it.
    """
    passing = False  # the rest of a line that is too long
    while True:
        *whole, held = held.split(b"\r")
        for line in whole:
            if not passing:
                yield line + b"\n"
            passing = False
        if len(held) > ROW_BYTES:
            if not passing:
                yield held
            passing, held = True, b""
        more = file.read(_READ_BYTES)
        if not more:
            break
        held += more
    if held and not passing:
        yield held


def _pass_over(file: IO[bytes], line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(ROW_BYTES)


def _too_long(where: str) -> RowError:
    return RowError(
        "a row is longer than 16 MiB",
        where=where,
        hint="look for an unclosed quotation mark or a missing line break",
    )


def _decoded(line: bytes, path: Path, number: int) -> str | RowError:
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        return RowError(
            f"not UTF-8: byte {line[error.start]:#04x} at position {error.start + 1}",
            where=f"{path}:{number}",
            hint="convert the file to UTF-8",
        )
    return text.removeprefix("\ufeff") if number == 1 else text


def _parsed_object(line: str, where: str) -> dict[str, Any]:
    return json_object(json_value(line, where), where)
