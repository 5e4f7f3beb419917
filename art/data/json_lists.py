"""One JSON list of objects, or one object of objects, streamed: DPR's files are several gigabytes.

The entries are cut out of the file and read one by one by the standard library, so that they are
read exactly as a line of JSON lines is. (A streaming parser, ijson 3.6 with yajl, was tried: it
turns half a surrogate pair into a question mark or another letter without a word, names no place
in its complaints, and brackets nested 30,000 deep take gigabytes.)
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from art.data.packed import open_bytes
from art.data.rows import ROW_BYTES, BadRows, converted, json_object, json_objects
from art.errors import DataError, RowError, shown

_BLANKS = " \t\n\r"  # what JSON allows between its parts
_BEHIND_A_VALUE = re.compile(r"[,\]\s]")
_READ_CHARACTERS = 1 << 20
ENTRY = " entry "  # what the numbers of both count
_REPAIR = "repair the file; only in .jsonl, an entry a line, can broken entries be skipped"


def json_rows(
    path: Path, bad_rows: BadRows | None = None
) -> tuple[str, Iterator[tuple[int, dict[str, Any]]]]:
    """Stream the objects of a JSON list or of JSON lines, whichever the first character says.

    Of lines, any can be skipped. Of a list, an entry that is something else than an object can;
    what is not JSON ends the file, because nothing says where the next entry would begin.

    Args:
        path: the file, plain or `.gz`, UTF-8.
        bad_rows: collects lines and entries that are not JSON objects; None to raise at the first.

    Returns:
        What the numbers count (` entry `, or nothing for lines), as `converted` takes it; numbers
        from 1, and objects.

    Raises:
        DataError: the file cannot be read; while reading, a line or an entry is not a JSON object
            of 16 MiB at most.
    """
    with _opened(path, errors="replace") as text:  # a line that is not UTF-8 is for its reader
        is_list = text.peek() == "["
    if is_list:
        entries = converted(_parts(path, "["), json_object, path, bad_rows, unit=ENTRY)
        return ENTRY, entries
    return "", json_objects(path, bad_rows)


def is_mapping(path: Path) -> bool:
    """Return whether a file is one JSON object whose values are objects, as its beginning says.

    Raises:
        DataError: the file cannot be read.
    """
    with _opened(path, errors="replace") as text:
        if text.take() != "{" or text.peek() != '"':
            return False
        try:
            text.take_value(str(path))
        except DataError:
            return False
        return text.take() == ":" and text.peek() == "{"


def json_members(
    path: Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[int, tuple[str, dict[str, Any]]]]:
    """Stream the members of a JSON object of objects; what is not JSON ends the file.

    Args:
        path: the file, plain or `.gz`, UTF-8.
        bad_rows: collects members that are not objects or name something twice; None to raise.

    Yields:
        Numbers from 1; each member's name and value.

    Raises:
        DataError: the file cannot be read, or is something else; while reading, a member is
            malformed or larger than 16 MiB.
    """
    return converted(_parts(path, "{"), _member, path, bad_rows, unit=ENTRY)


def _member(member: tuple[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    name, value = member
    if isinstance(value, _Repeated):
        raise RowError(f"{shown(value.name)} stands twice for this question", where=where)
    return name, json_object(value, where)


@dataclass(frozen=True)
class _Repeated:
    """An object that says two things under one name, of which the standard library keeps one."""

    name: str


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any] | _Repeated:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    return _Repeated(Counter(name for name, _ in pairs).most_common(1)[0][0])


def _parts(path: Path, opening: str) -> Iterator[tuple[int, Any]]:
    """Yield the entries of a list that begins with `[`, or the named members of a `{`."""
    closing = _CLOSING[opening]
    with _opened(path) as text:
        if text.take() != opening:
            hint = "write one object: {question: {passage: …}}"
            raise DataError(f"the file does not begin with {opening!r}", where=path, hint=hint)
        if text.peek() == closing:
            text.take()
        else:
            yield from _entries(path, text, closing)
        if text.peek():
            what = f"something follows the end, which is {closing!r}"
            raise DataError(what, where=path, hint=_REPAIR)


def _entries(path: Path, text: _Text, closing: str) -> Iterator[tuple[int, Any]]:
    number, after = 0, ","
    while after == ",":
        number += 1
        where = f"{path}:{ENTRY}{number}"
        if closing == "]":
            yield number, text.take_value(where)
        else:
            name = _name(text, where)
            yield number, (name, text.take_value(where, _NAMED_ONCE))
        after = text.take()
    if after != closing:
        raise DataError(
            f"a comma or the end of the list is expected behind it, not {after!r}"
            if after
            else "the file ends behind it, within its list",
            where=where,
            hint="is the file complete?",
        )


def _name(text: _Text, where: str) -> str:
    """Pass a member's name and its colon, and return the name."""
    name = text.take_value(where)
    if not isinstance(name, str) or text.take() != ":":
        raise DataError("a name and a colon are expected", where=where, hint=_REPAIR)
    return name


_CLOSING = {"[": "]", "{": "}"}
_DECODER = json.JSONDecoder()
_NAMED_ONCE = json.JSONDecoder(object_pairs_hook=_distinct)


class _Text:
    """A JSON text of which only the part around the present place is in memory."""

    def __init__(self, file: TextIOWrapper) -> None:
        self._file = file
        self._held = ""
        self._at = 0

    def peek(self) -> str:
        """Return the next character that is not blank without passing it, "" at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _BLANKS:
                    return self._held[self._at]
                self._at += 1
            if not self._read_on():
                return ""

    def take(self) -> str:
        """Pass the next character that is not blank and return it, "" at the end."""
        character = self.peek()
        self._at += len(character)
        return character

    def take_value(self, where: str, decoder: json.JSONDecoder = _DECODER) -> Any:
        """Pass the value that comes next and return it.

        Args:
            where: its place.
            decoder: reads it.

        Raises:
            DataError: none comes, or it does not end within 16 MiB.
        """
        first = self.peek()
        if first in ("]", "}", ""):
            raise DataError(
                f"a JSON object is expected, not {first or 'the end'!r}", where=where, hint=_REPAIR
            )
        if first not in '{["':  # only what follows a number says that it ends there
            while not _BEHIND_A_VALUE.search(self._held, self._at) and self._read_more():
                pass
        while True:
            try:
                value, self._at = decoder.raw_decode(self._held, self._at)
            except (ValueError, RecursionError) as error:
                # It may only be cut off where memory ends. Each time twice as much is read, so a
                # long entry is parsed little more than twice.
                if self._read_more():
                    continue
                what = f"not JSON{self._fault(error)}"
                raise DataError(what, where=where, hint=_REPAIR) from error
            return value

    def _read_more(self) -> bool:
        return len(self._held) - self._at <= ROW_BYTES and self._read_on()

    def _fault(self, error: ValueError | RecursionError) -> str:
        limit = " within 16 MiB" if len(self._held) - self._at > ROW_BYTES else ""
        if not isinstance(error, json.JSONDecodeError):
            return f"{limit}: {error}"
        return f"{limit}: {error.msg}, at character {error.pos - self._at + 1} of the entry"

    def _read_on(self) -> bool:
        more = self._file.read(max(_READ_CHARACTERS, len(self._held) - self._at))
        self._held = self._held[self._at :] + more
        self._at = 0
        return bool(more)


@contextmanager
def _opened(path: Path, errors: str = "strict") -> Iterator[_Text]:
    try:
        with (
            open_bytes(path) as file,
            TextIOWrapper(file, encoding="utf-8-sig", errors=errors, newline="") as text,
        ):
            yield _Text(text)
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: {error.reason}", where=path, hint="convert the file to UTF-8"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "is it complete, and yours to read?"
        raise DataError(f"cannot read: {reason}", where=path, hint=hint) from error
