"""What a file format says of itself, and the registry of all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from art.data.packed import is_gzipped, refuse_packed, ungzipped
from art.data.records import Passage, Question, SupervisedExample
from art.data.rows import BadRows
from art.errors import DataError
from art.registry import Registry

_CHECK = "check the path"


class Judgement(NamedTuple):
    """One row of relevance judgements."""

    question_id: str
    passage_id: str
    grade: int


class QuestionResult(NamedTuple):
    """What a result file says of one question.

    Attributes:
        question_id: of the question, or its place where the file gives no id.
        passages: ids and scores, best first.
        has_scores: whether the file has the scores; else they are minus the ranks.
        question: its text; None where the file has none.
        named: whether the file gives the id.
        first_text: of its first passage; None where the file has none.
    """

    question_id: str
    passages: list[tuple[str, float]]
    has_scores: bool = True
    question: str | None = None
    named: bool = True
    first_text: str | None = None


@dataclass(frozen=True)
class Ranking:
    """What a result file is written from, of one question.

    Attributes:
        question: the question.
        passage_ids: of the k passages that were found, best first.
        scores: of each, [k] float32, falling strictly.
        contexts: gives the passages, each with whether it holds an answer (None where the question
            has none); called only by a format that writes them, because it takes long.
    """

    question: Question
    passage_ids: list[str]
    scores: NDArray[np.float32]
    contexts: Callable[[], Iterable[tuple[Passage, bool | None]]]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format of one kind of file; each kind is a class of its own.

    Every `read` takes a source and what collects malformed rows (None to raise at the first), and
    streams. A format that shares an ending with others says by `fits` which files it is for; one
    without `fits` takes those that remain.

    Attributes:
        file: what messages call a file of the kind.
        name: among all formats.
        endings: of its files, in lower case, such as `.jsonl`; None where any will do.
        description: of the contents, behind the ending, for messages.
        fits: whether a file with one of the endings is of this format.
        gzipped: whether `.gz` may follow the ending.
        name_in_folder: of the file in a folder that is named as a whole.
        takes_folder: whether a folder is of this format as a whole.
        prefix: of sources that are no path; `read` is given such a source as it is.
        files: returns the files that a folder or a source with the prefix is read from.
    """

    file: ClassVar[str]

    name: str
    endings: tuple[str, ...] | None
    description: str
    fits: Callable[[Path], bool] | None = None
    gzipped: bool = True
    name_in_folder: str = ""
    takes_folder: Callable[[Path], bool] | None = None
    prefix: str = ""
    files: Callable[[str | Path], list[Path]] | None = None


@dataclass(frozen=True, kw_only=True)
class PassageFormat(Format):
    """A corpus.

    Attributes:
        read: yields each passage with its line.
    """

    file = "corpus file"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[int, Passage]]]


@dataclass(frozen=True, kw_only=True)
class QuestionFormat(Format):
    """Questions, with or without answers.

    Attributes:
        read: yields each question with its line; its id is empty where the file gives none.
    """

    file = "question file"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[int, Question]]]


@dataclass(frozen=True, kw_only=True)
class SupervisedFormat(Format):
    """Labelled questions with their passages.

    Attributes:
        read: yields each example with its place, as complaints name it (`FILE:17`).
    """

    file = "supervised file"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[str, SupervisedExample]]]


@dataclass(frozen=True, kw_only=True)
class JudgementFormat(Format):
    """Relevance judgements.

    Attributes:
        read: yields each judgement with its line.
    """

    file = "file of judgements"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[int, Judgement]]]


@dataclass(frozen=True, kw_only=True)
class ResultFormat(Format):
    """A ranking for every question.

    Attributes:
        read: yields the hits of each question, best first, with their place (`FILE:17`).
        write: yields the text of a file of this name from rankings and the run's tag, in pieces;
            None where the format is only read.
        check_id: takes an id and what it is of (`passage id`), and raises an ArtError where it
            cannot be written; None where any can.
        written_endings: of files that are written in the format; None for `endings`.
        written_description: of those files; empty for `description`.
    """

    file = "result file"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[str, QuestionResult]]]
    write: Callable[[Path, Iterable[Ranking], str], Iterator[str]] | None = None
    check_id: Callable[[str, str], None] | None = None
    written_endings: tuple[str, ...] | None = None
    written_description: str = ""


FORMATS: Registry[Format] = Registry("file format")
Kind = TypeVar("Kind", bound=Format)


def formats_of(kind: type[Kind]) -> list[Kind]:
    """Return the formats of one kind."""
    return [one for one in FORMATS if isinstance(one, kind)]


def find_format(kind: type[Kind], path: Path) -> Kind | None:
    """Return the format of a file, None where none is known.

    Raises:
        DataError: the file must be looked into and cannot be read, or it is packed.
    """
    refuse_packed(path)
    its_ending = ungzipped(path).suffix.lower()
    known = [one for one in formats_of(kind) if one.gzipped or not is_gzipped(path)]
    possible = [one for one in known if one.endings is not None and its_ending in one.endings]
    possible += [one for one in known if one.endings is None]
    fitting = (one for one in possible if one.fits is not None and one.fits(path))
    remaining = (one for one in possible if one.fits is None)
    return next(chain(fitting, remaining), None)


def known_formats(kind: type[Format]) -> str:
    """Return the formats of a kind as a message lists them."""
    listed = (
        " ".join(filter(None, [" or ".join(one.endings or ()), one.description]))
        for one in formats_of(kind)
    )
    return f"{'; '.join(listed)}; text files also as .gz"


def prefixed_format(kind: type[Kind], source: str | Path) -> Kind | None:
    """Return the format of what is named by a prefix, such as `hf:`; None for a path."""
    prefixed = (one for one in formats_of(kind) if one.prefix)
    return next((one for one in prefixed if str(source).startswith(one.prefix)), None)


def resolved(kind: type[Kind], source: str | Path) -> tuple[Kind, str | Path]:
    """Return the format of a source, and what its `read` is given.

    Args:
        kind: of file.
        source: a file, a folder that holds one or is one as a whole, or what begins with a prefix.

    Raises:
        DataError: there is no such file, or none of its kind is known.
    """
    prefixed = prefixed_format(kind, source)
    if prefixed is not None:
        return prefixed, str(source)
    path = Path(source)
    if _is_folder(path):
        inside = _file_in(path, kind)
        if inside is None:
            return _format_of_folder(path, kind), path
        path = inside
    found = find_format(kind, path)
    if found is None:
        known = known_formats(kind)
        raise DataError(f"not a {kind.file} that is known", where=path, hint=f"known: {known}")
    return found, path


def source_files(kind: type[Format], source: str | Path) -> list[Path]:
    """Return the files that a source is read from.

    Raises:
        DataError: there is no such file, folder or dataset, or none of its kind is known.
    """
    found, resolved_source = resolved(kind, source)
    is_file = not found.prefix and not Path(resolved_source).is_dir()
    if found.files is None or is_file:
        return [Path(resolved_source)]
    return found.files(resolved_source)


def _is_folder(path: Path) -> bool:
    """Return whether a path is a folder; one that is neither that nor a file is refused."""
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, a folder that is closed to us
        raise DataError(f"cannot read: {error.strerror}", where=path, hint=_CHECK) from error
    if not is_there:
        raise DataError("there is no such file", where=path, hint=_CHECK)
    return is_folder


def _file_in(folder: Path, kind: type[Format]) -> Path | None:
    """Return the file of this kind in a folder named as a whole, None where there is none."""
    for name in _names_in_folder(kind):
        for whole in (name, f"{name}.gz"):
            if (folder / whole).is_file():
                return folder / whole
    return None


def _format_of_folder(folder: Path, kind: type[Kind]) -> Kind:
    """Return the format that takes a folder as a whole."""
    for one in formats_of(kind):
        if one.takes_folder is not None and one.takes_folder(folder):
            return one
    names = _names_in_folder(kind)
    if not names:
        raise DataError(f"a folder, not a {kind.file}", where=folder, hint="name the file")
    raise DataError(f"the folder holds no {' or '.join(names)}", where=folder, hint=_CHECK)


def _names_in_folder(kind: type[Format]) -> list[str]:
    return [one.name_in_folder for one in formats_of(kind) if one.name_in_folder]
