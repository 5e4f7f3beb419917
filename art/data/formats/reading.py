"""Passages, questions, labelled examples, judgements and results read from files of any format.

Nothing is dropped silently: a row that does not fit is a `RowError` with its file and line, or is
counted and listed where bad rows are collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art.data.formats.base import (
    JudgementFormat,
    PassageFormat,
    QuestionFormat,
    QuestionResult,
    ResultFormat,
    SupervisedFormat,
    find_format,
    formats_of,
    resolved,
)
from art.data.records import Passage, Question, SupervisedExample, merged_questions
from art.data.rows import BadRows, refuse
from art.errors import ArtError, DataError, RowError, notify, shown


@dataclass(frozen=True)
class Run:
    """A ranking as a file names it.

    Attributes:
        question_ids: Q of them.
        passage_ids: best first, K of them for each question; fewer where fewer were found.
        scores: [Q, K] float32, -inf where there is no passage.
        texts: of the questions by their ids, where the file has them.
        unnamed: ids of questions that the file gives none, and which are called after their place.
        first_texts: of each question's first passage by the question's id, where the file has it.
    """

    question_ids: list[str]
    passage_ids: list[list[str]]
    scores: NDArray[np.float32]
    texts: Mapping[str, str] = field(default_factory=dict)
    unnamed: Set[str] = frozenset()
    first_texts: Mapping[str, str] = field(default_factory=dict)


def read_passages(source: str | Path, bad_rows: BadRows | None = None) -> Iterator[Passage]:
    """Stream a corpus in its order; ids are not compared (a store does that).

    Args:
        source: a file of a `PassageFormat`, a folder that holds one (BEIR's) or is one, or what
            begins with the prefix of one, such as `hf:NAME[:CONFIG]/SPLIT`.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the source is missing or of another kind; while reading, a row is malformed.
    """
    return (passage for _, passage in numbered_passages(source, bad_rows))


def numbered_passages(
    source: str | Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[int, Passage]]:
    """Stream a corpus as `read_passages` does, each passage with its line."""
    found, place = resolved(PassageFormat, source)
    return found.read(place, bad_rows)


def read_questions(source: str | Path, bad_rows: BadRows | None = None) -> list[Question]:
    """Read a file of questions; one without an id is called after its line.

    Rows without ids that ask the same and name passages are one question with all of them.

    Args:
        source: a file of a `QuestionFormat`, a folder that holds one (BEIR's) or is one, or what
            begins with the prefix of one, such as `hf:NAME[:CONFIG]/SPLIT`.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the file is missing, empty or of another kind, or a row is malformed.
    """
    found, place = resolved(QuestionFormat, source)
    questions = _with_ids(found.read(place, bad_rows), place, bad_rows)
    if not questions:
        raise DataError("there is no question", where=place, hint="is it the file you meant?")
    return questions


def read_many_questions(
    sources: Sequence[str | Path], bad_rows: BadRows | None = None
) -> list[Question]:
    """Read several files of questions as one list, in their order.

    An id that several files use is prefixed with its file's name; a name that occurs twice is
    numbered.

    Raises:
        DataError: as `read_questions`, or the prefixed ids meet others.
    """
    files = [read_questions(source, bad_rows) for source in sources]
    used = Counter(question.question_id for questions in files for question in questions)
    names = Counter[str]()
    merged = []
    for source, questions in zip(sources, files, strict=True):
        name = Path(source).name.split(".")[0]
        names[name] += 1
        label = name if names[name] == 1 else f"{name}-{names[name]}"
        for one in questions:
            unique = used[one.question_id] == 1
            own = one.question_id if unique else f"{label}:{one.question_id}"
            merged.append(replace(one, question_id=own))
    merged = [one for _, one in merged_questions(list(enumerate(merged)), _named(sources))]
    final = Counter(question.question_id for question in merged)
    for question_id, count in final.items():
        if count > 1:
            raise DataError(
                f"question id {question_id!r} still occurs {count} times after prefixing",
                where=_named(sources),
                hint="rename the files or the ids",
            )
    return merged


def _named(sources: Sequence[str | Path]) -> str:
    return ", ".join(map(str, sources))


def read_supervised(
    source: str | Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[str, SupervisedExample]]:
    """Stream a file of labelled questions with their passages.

    A passage without an id gets the `content_id` of its title and text. A row with one malformed
    passage is malformed. What cannot be skipped is the header of a table, and what is not JSON in
    a list (see `json_rows`).

    Args:
        source: a file of a `SupervisedFormat`, a folder that is one, or what begins with the prefix
            of one, such as `hf:NAME[:CONFIG]/SPLIT`.
        bad_rows: collects malformed rows; None to raise at the first.

    Yields:
        The example's place, as complaints name it (`FILE:17`, `FILE: entry 17`), and the example.

    Raises:
        DataError: the file is missing or of another kind; while reading, a row is malformed.
    """
    found, place = resolved(SupervisedFormat, source)
    return found.read(place, bad_rows)


def read_qrels(source: str | Path, bad_rows: BadRows | None = None) -> dict[str, dict[str, int]]:
    """Read relevance judgements, question id → passage id → grade.

    Args:
        source: a file of a `JudgementFormat`.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the file is missing or empty, a row is malformed, or a pair is judged twice.
    """
    path = Path(source)
    if path.is_dir():
        found = ", ".join(sorted(str(one) for one in path.glob("**/*.tsv"))) or "no .tsv file"
        raise DataError("a folder, not a file of judgements", where=path, hint=f"it has {found}")
    judged: dict[str, dict[str, int]] = {}
    wanted, place = resolved(JudgementFormat, source)
    for number, (question_id, passage_id, grade) in wanted.read(place, bad_rows):
        grades = judged.setdefault(question_id, {})
        if passage_id in grades:
            what = f"{shown(question_id)} and {shown(passage_id)} are judged twice"
            refuse(RowError(what, where=f"{path}:{number}"), bad_rows)
        else:
            grades[passage_id] = grade
    if not judged:
        raise DataError("there is no judgement", where=path, hint="is it the file you meant?")
    return judged


def read_run(path: str | Path, bad_rows: BadRows | None = None) -> Run:
    """Read a ranking that `write_run` or another program wrote; scores it lacks are minus ranks.

    Args:
        path: a file of a `ResultFormat`, plain or `.gz`.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        ArtError: another ending than a result file has.
        DataError: the file cannot be read as what its ending says.
    """
    wanted = find_format(ResultFormat, Path(path))
    if wanted is None:
        known = ((one.endings or (), one.description) for one in formats_of(ResultFormat))
        raise _no_result_file(path, known)
    found: dict[str, QuestionResult] = {}
    for where, one in wanted.read(path, bad_rows):
        if one.question_id in found:
            what = f"the question id {shown(one.question_id)} stands twice"
            refuse(RowError(what, where=where), bad_rows)
        else:
            found[one.question_id] = one
    if num_unscored := sum(not one.has_scores for one in found.values()):
        notify(
            f"{path}: {num_unscored:,} of {len(found):,} questions come without scores: their "
            "passages keep their order, and minus the rank is the score"
        )
    width = max((len(one.passages) for one in found.values()), default=0)
    scores = np.full((len(found), width), -np.inf, np.float32)
    for position, one in enumerate(found.values()):
        scores[position, : len(one.passages)] = [score for _, score in one.passages]
    return Run(
        list(found),
        [[name for name, _ in one.passages] for one in found.values()],
        scores,
        texts={name: one.question for name, one in found.items() if one.question is not None},
        unnamed={name for name, one in found.items() if not one.named},
        first_texts={
            name: one.first_text for name, one in found.items() if one.first_text is not None
        },
    )


def run_format(path: str | Path) -> ResultFormat:
    """Return which format a result file is to be written in; a command asks before it searches.

    Raises:
        ArtError: the ending is none of them.
    """
    written = [one for one in formats_of(ResultFormat) if one.write is not None]
    name = Path(path).name.lower()
    fitting = {end: one for one in written for end in _written(one) if name.endswith(end)}
    if not fitting:
        listed = ((_written(one), one.written_description or one.description) for one in written)
        raise _no_result_file(path, listed)
    return fitting[max(fitting, key=len)]


def _written(one: ResultFormat) -> tuple[str, ...]:
    return one.written_endings or one.endings or ()


def _no_result_file(path: str | Path, known: Iterable[tuple[tuple[str, ...], str]]) -> ArtError:
    listed = (f"{', '.join(endings)} ({description})" for endings, description in known)
    return ArtError(f"a result file ends in {' or '.join(listed)}", where=path)


def _with_ids(
    rows: Iterable[tuple[int, Question]], path: str | Path, bad_rows: BadRows | None
) -> list[Question]:
    lines: dict[str, int] = {}
    kept: list[tuple[int, Question]] = []
    for number, question in rows:
        own = question.question_id
        if own in lines:
            error = RowError(
                f"question id {shown(own)} occurs in row {lines[own]} already",
                where=f"{path}:{number}",
                hint="give every question an id of its own",
            )
            refuse(error, bad_rows)
            continue
        if own:
            lines[own] = number
        kept.append((number, question))
    kept = merged_questions(kept, path)
    named = []
    for number, question in kept:
        own = str(number)
        while own in lines:
            own = f"line-{own}"
        named.append(question if question.question_id else replace(question, question_id=own))
    return named
