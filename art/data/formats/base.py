"""What a file format says of itself, and the registry of all formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

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
    """What a result file says of one question: passage ids and their scores, best first."""

    question_id: str
    passages: list[tuple[str, float]]


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

    Every `read` takes a path and what collects malformed rows (None to raise at the first), and
    streams. A format that shares an ending with others says by `fits` which files it is for; one
    without `fits` takes those that remain.

    Attributes:
        file: what messages call a file of the kind.
        gzipped: whether `.gz` may follow the ending.
        name: among all formats.
        endings: of its files, in lower case, such as `.jsonl`; None where any will do.
        description: of the contents, behind the ending, for messages.
        fits: whether a file with one of the endings is of this format.
    """

    file: ClassVar[str]
    gzipped: ClassVar[bool] = True

    name: str
    endings: tuple[str, ...] | None
    description: str
    fits: Callable[[Path], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class PassageFormat(Format):
    """A corpus.

    Attributes:
        read: yields each passage with its line.
        name_in_folder: of the file in a folder that is named as a whole.
        prefix: of sources that are no path; `read` is given such a source as it is.
        files: returns the files that a source with the prefix is read from.
    """

    file = "corpus file"

    read: Callable[[str | Path, BadRows | None], Iterator[tuple[int, Passage]]]
    name_in_folder: str = ""
    prefix: str = ""
    files: Callable[[str], list[Path]] | None = None


@dataclass(frozen=True, kw_only=True)
class QuestionFormat(Format):
    """Questions, with or without answers.

    Attributes:
        read: yields each question with its line; its id is empty where the file gives none.
        name_in_folder: of the file in a folder that is named as a whole.
    """

    file = "question file"

    read: Callable[[Path, BadRows | None], Iterator[tuple[int, Question]]]
    name_in_folder: str = ""


@dataclass(frozen=True, kw_only=True)
class SupervisedFormat(Format):
    """Labelled questions with their passages.

    Attributes:
        read: yields each example with its place, as complaints name it (`FILE:17`).
    """

    file = "supervised file"

    read: Callable[[Path, BadRows | None], Iterator[tuple[str, SupervisedExample]]]


@dataclass(frozen=True, kw_only=True)
class JudgementFormat(Format):
    """Relevance judgements.

    Attributes:
        read: yields each judgement with its line.
    """

    file = "file of judgements"

    read: Callable[[Path, BadRows | None], Iterator[tuple[int, Judgement]]]


@dataclass(frozen=True, kw_only=True)
class ResultFormat(Format):
    """A ranking for every question.

    Attributes:
        read: yields the hits of each question, best first, with their place (`FILE:17`).
        write: yields the text of a file of this name from rankings and the run's tag, in pieces.
    """

    file = "result file"
    gzipped = False

    read: Callable[[Path, BadRows | None], Iterator[tuple[str, QuestionResult]]]
    write: Callable[[Path, Iterable[Ranking], str], Iterator[str]]


FORMATS: Registry[Format] = Registry("file format")
Kind = TypeVar("Kind", bound=Format)


def formats_of(kind: type[Kind]) -> list[Kind]:
    """Return the formats of one kind."""
    return [one for one in FORMATS if isinstance(one, kind)]


def ending(path: Path, kind: type[Format]) -> str:
    """Return a file's ending in lower case; where the kind may be gzipped, the one before `.gz`."""
    name = path.name.removesuffix(".gz") if kind.gzipped else path.name
    return Path(name).suffix.lower()


def find_format(kind: type[Kind], path: Path) -> Kind | None:
    """Return the format of a file, None where none is known.

    Raises:
        DataError: the file must be looked into and cannot be read.
    """
    known, its_ending = formats_of(kind), ending(path, kind)
    possible = [one for one in known if one.endings is not None and its_ending in one.endings]
    possible += [one for one in known if one.endings is None]
    fitting = (one for one in possible if one.fits is not None and one.fits(path))
    remaining = (one for one in possible if one.fits is None)
    return next(chain(fitting, remaining), None)


def known_formats(kind: type[Format]) -> str:
    """Return the formats of a kind as a message lists them."""
    listed = "; ".join(
        " ".join(filter(None, [" or ".join(one.endings or ()), one.description]))
        for one in formats_of(kind)
    )
    return f"{listed}; files also as .gz" if kind.gzipped else listed


def located(source: str | Path, names_in_folder: list[str]) -> Path:
    """Return the file that a path means: itself, or in a folder the file of one of these names.

    Raises:
        DataError: there is none.
    """
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, a folder that is closed to us
        raise DataError(f"cannot read: {error.strerror}", where=path, hint=_CHECK) from error
    if not is_folder:
        if is_there:
            return path
        raise DataError("there is no such file", where=path, hint=_CHECK)
    for name in names_in_folder:
        for whole in (name, f"{name}.gz"):
            if (path / whole).is_file():
                return path / whole
    what = f"the folder holds no {' or '.join(names_in_folder)}"
    raise DataError(what, where=path, hint=_CHECK)
