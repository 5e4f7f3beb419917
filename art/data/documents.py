"""A folder or file of documents as a stream: text, Markdown, HTML, JSON lines, each also as `.gz`.

Nothing is passed over silently: what is not read is counted in a `Skipped`, what cannot be read is
a `DataError`.
"""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from art.data.column_names import ID_KEYS, TEXT_KEYS, key_of
from art.data.column_names import field as first_field
from art.data.distinct import distinct
from art.data.headings import Line
from art.data.markdown import markdown_lines
from art.data.packed import open_bytes, refuse_packed, ungzipped
from art.data.rows import BadRows, converted, id_value, json_objects, text_lines, text_value
from art.data.webpages import html_lines
from art.errors import DataError

KNOWN = ".txt, .md, .html and .jsonl, each also as .gz"
_TEXT = (".txt", ".text")
_MARKDOWN = (".md", ".markdown", ".mdx")
_HTML = (".html", ".htm", ".xhtml")
_SNIFFED_BYTES = 8192
_NAMES_KEPT = 20
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Document:
    """One document; its lines are read as they are asked for, once.

    Attributes:
        name: unique among the documents, without white space; passage ids begin with it.
        source: where it comes from: an address, a path below the folder, or `path:line`.
        lines: its text, each piece under its title.
    """

    name: str
    source: str
    lines: Iterator[Line]


@dataclass
class Skipped:
    """What was not read, counted by reason; the first names of each are kept."""

    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one more."""
        self.counts[reason] += 1
        names = self.names.setdefault(reason, [])
        if len(names) < _NAMES_KEPT:
            names.append(name)

    def summary(self) -> str:
        """Return how many there were, and the three commonest reasons."""
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.counts.most_common(3))
        more = ", …" if len(self.counts) > 3 else ""
        return f"{self.counts.total():,} skipped: {reasons}{more}" if reasons else "it is empty"

    def report(self) -> list[str]:
        """Return a line per reason: how many, and their names."""
        lines = []
        for reason, count in sorted(self.counts.items()):
            names = ", ".join(self.names[reason])
            more = f" and {count - _NAMES_KEPT:,} more" if count > _NAMES_KEPT else ""
            lines.append(f"{count:,} {reason}: {names}{more}")
        return lines


def read_documents(
    source: str | Path,
    skipped: Skipped,
    *,
    exclude: Path | None = None,
    bad_rows: BadRows | None = None,
) -> Iterator[Document]:
    """Stream the documents of a file, or of a folder and the folders in it, ordered by name.

    Args:
        source: a file of a known kind, or a folder.
        skipped: counts what is not read.
        exclude: a file in the folder that is no document, such as the one being written.
        bad_rows: collects lines that are not UTF-8 text and malformed rows; None to raise.

    Raises:
        DataError: there is no such file or folder, or a file named by itself is of no known kind;
            while reading, a file that is not UTF-8 text, or a malformed row.
    """
    root = Path(source)
    if not root.exists():
        raise DataError("there is no such file or folder", where=root, hint="check the path")
    if root.is_dir():
        excluded = exclude.resolve() if exclude else None
        return _Walk(root, skipped, excluded, bad_rows).documents()
    refuse_packed(root)
    if reason := _unreadable(root):
        raise DataError(f"not a document: {reason}", where=root, hint=f"known: {KNOWN}")
    return _documents(root, root.name, bad_rows)


class _Walk:
    """The files of a folder and of the folders in it, by name; each folder once.

    Args:
        root: the folder.
        skipped: counts what is passed over.
        excluded: a file, resolved, that is no document although it lies there.
        bad_rows: collects what is malformed in the files.
    """

    def __init__(
        self, root: Path, skipped: Skipped, excluded: Path | None, bad_rows: BadRows | None
    ) -> None:
        self._root = root
        self._bad_rows = bad_rows
        self._skipped = skipped
        self._excluded = excluded
        self._seen: set[tuple[int, int]] = set()

    def documents(self) -> Iterator[Document]:
        for path in self._files(self._root):
            name = path.relative_to(self._root).as_posix()
            if self._excluded and path.resolve() == self._excluded:
                self._skipped.add("the file that is being written", _printable(name))
            elif reason := _unreadable(path):
                self._skipped.add(reason, _printable(name))
            else:
                yield from _documents(path, name, self._bad_rows)

    def _files(self, folder: Path) -> Iterator[Path]:
        try:
            entries = [folder / name for name in sorted(os.listdir(folder))]
        except OSError as error:
            raise DataError(
                f"cannot read: {error.strerror or error}", where=folder, hint="is it yours to read?"
            ) from error
        self._seen.add(_identity(folder))
        for path in entries:
            name = _printable(path.relative_to(self._root).as_posix())
            if path.name.startswith("."):
                if not self._is_half_written(path):
                    self._skipped.add("hidden", name)
            elif path.is_dir():
                if _identity(path) in self._seen:
                    self._skipped.add("link to a folder that was read already", name)
                else:
                    yield from self._files(path)
            elif path.is_file():
                yield path
            else:
                self._skipped.add("link to nothing, or no ordinary file", name)

    def _is_half_written(self, path: Path) -> bool:
        # `atomic_write` writes beside the final name.
        return self._excluded is not None and path.name.startswith(f".{self._excluded.name}.")


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _kind(path: Path) -> str:
    return ungzipped(path).suffix.lower()


def _unreadable(path: Path) -> str:
    """Return why a file is no document, nothing where it is one."""
    kind = _kind(path)
    if kind not in (*_TEXT, *_MARKDOWN, *_HTML, ".jsonl"):
        return f"of an unknown type ({_printable(kind) or 'no ending'})"
    try:
        with open_bytes(path) as file:
            start = file.read(_SNIFFED_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"cannot read: {reason}", where=path, hint="is it complete, and yours to read?"
        ) from error
    # UTF-16 is text, which the reader refuses with advice.
    return "binary" if b"\0" in start and not start.startswith(_UTF_16) else ""


def _documents(path: Path, name: str, bad_rows: BadRows | None) -> Iterator[Document]:
    if _kind(path) == ".jsonl":
        # A repeated id would give two passages one id, which only who reads them would see.
        yield from distinct(
            partial(_row_documents, path, name),
            bad_rows,
            what="document",
            id_of=lambda document: document.name,
            place=lambda line: f"{path}:{line}",
            place_before=lambda line: f"on line {line}",
        )
        return
    lines = (line for _, line in text_lines(path, bad_rows))
    yield Document(_id(name), _printable(name), _reader(path)(lines, _title(path)))


def _reader(path: Path) -> Callable[[Iterable[str], str], Iterator[Line]]:
    if _kind(path) in _MARKDOWN:
        return markdown_lines
    return html_lines if _kind(path) in _HTML else _plain_lines


def _plain_lines(lines: Iterable[str], title: str) -> Iterator[Line]:
    return ((title, line) for line in lines)


def _row_documents(
    path: Path, name: str, bad_rows: BadRows | None
) -> Iterator[tuple[int, Document]]:
    rows = json_objects(path, bad_rows)
    return converted(rows, partial(_row_document, name), path, bad_rows)


def _row_document(name: str, row: dict[str, Any], where: str) -> Document:
    text = text_value(first_field(row, TEXT_KEYS, where), "text", where)
    key = key_of(row, ID_KEYS)
    number = where.rpartition(":")[2]
    own = f"line-{number}" if key is None else id_value(row[key], "document id", where)
    title = _optional(row, "title", where)
    return Document(
        f"{_id(name)}:{_id(own)}",
        _optional(row, "url", where) or f"{_printable(name)}:{number}",
        _plain_lines(text.splitlines(), " ".join(title.split())),
    )


def _optional(row: dict[str, Any], key: str, where: str) -> str:
    return "" if row.get(key) is None else text_value(row[key], key, where)


def _title(path: Path) -> str:
    """Return a title for a document without one: its file's name, unless that is a mere number."""
    stem = _printable(ungzipped(path).stem)
    return " ".join(stem.replace("_", " ").replace("-", " ").split()) if _has_letter(stem) else ""


def _has_letter(text: str) -> bool:
    return any(character.isalpha() for character in text)


def _id(name: str) -> str:
    """Return a name without white space, which a TREC run has no place for; no two become one."""
    return "".join(
        quote(character, safe="", errors="surrogateescape")
        if character.isspace() or character == "%" or "\ud800" <= character <= "\udfff"
        else character
        for character in name
    )


def _printable(name: str) -> str:
    """Return a file's name as UTF-8 can hold it."""
    return name.encode(errors="backslashreplace").decode()
