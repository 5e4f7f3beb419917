"""Result files: a ranking for every question, as a TREC run or as DPR's JSON.

Scores leave as float32 numbers that fall strictly within a question, so that a reader that sorts by
score, whichever way it breaks ties, sees the order that was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from art.data.rows import (
    BadRows,
    converted,
    id_value,
    json_objects,
    json_value,
    plain_lines,
    refuse,
    text_lines,
)
from art.errors import ArtError, DataError, RowError, shown
from art.evaluation.answers import AnswerMatcher
from art.evaluation.statistics import spaced_scores
from art.files import atomic_write

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore

_TREC_SUFFIXES = (".trec", ".run", ".txt")
_DPR_SUFFIXES = (".json", ".jsonl")
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Run:
    """A ranking as a file names it.

    Attributes:
        question_ids: Q of them.
        passage_ids: best first, K of them for each question; fewer where fewer were found.
        scores: [Q, K] float32, -inf where there is no passage.
    """

    question_ids: list[str]
    passage_ids: list[list[str]]
    scores: NDArray[np.float32]


def write_run(
    path: str | Path,
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[Any],
    store: PassageStore,
    *,
    regex_answers: bool = False,
    tag: str = "art",
) -> None:
    """Write a ranking in the format that the name's ending asks for, atomically.

    Args:
        path: `.trec`, `.run` or `.txt` for a TREC run; `.json` for DPR's list of questions with
            their passages, `.jsonl` for the same with one question a line.
        questions: Q of them.
        rows: passages of each question in the store, best first, [Q, K]; -1 behind the last where
            a question has fewer.
        scores: their scores, [Q, K].
        store: where ids, titles and texts come from.
        regex_answers: the answers are regular expressions.
        tag: the name of the run in a TREC file.

    Raises:
        ArtError: another ending, an id that a TREC run cannot hold, a score that is not finite,
            or a file that cannot be written.
    """
    wanted = run_format(path)
    numbers = spaced_scores(np.where(rows < 0, 0.0, scores))  # what fills up is not written
    if wanted == "dpr":
        lines = _dpr_lines(questions, rows, numbers, store, regex_answers)
        if Path(path).suffix.lower() == ".json":
            lines = _as_list(lines)
    else:
        lines = _trec_lines(questions, rows, numbers, store, tag)
    with atomic_write(path) as file:
        for line in lines:
            file.write(line.encode())


def read_run(path: str | Path, bad_rows: BadRows | None = None) -> Run:
    """Read a ranking that `write_run` or another program wrote.

    A TREC run is put into the order of its scores, whatever its rank column says, as trec_eval does
    (equal scores stay in the file's order); DPR's JSON is taken in the order of its passages.

    Args:
        path: the file.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        ArtError: another ending than `write_run` knows.
        DataError: the file cannot be read as what its ending says.
    """
    reader = _read_dpr if run_format(path) == "dpr" else _read_trec
    found = reader(Path(path), bad_rows)
    width = max(map(len, found.values()), default=0)
    scores = np.full((len(found), width), -np.inf, np.float32)
    for position, hits in enumerate(found.values()):
        scores[position, : len(hits)] = [score for _, score in hits]
    return Run(list(found), [[name for name, _ in hits] for hits in found.values()], scores)


def run_format(path: str | Path) -> Literal["trec", "dpr"]:
    """Return which format a result file's ending asks for; a command asks before it searches.

    Raises:
        ArtError: the ending is none of them.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _TREC_SUFFIXES:
        return "trec"
    if suffix in _DPR_SUFFIXES:
        return "dpr"
    raise ArtError(
        f"a result file ends in {', '.join(_TREC_SUFFIXES)} (TREC run) "
        f"or {', '.join(_DPR_SUFFIXES)} (DPR)",
        where=path,
    )


def _trec_lines(
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    store: PassageStore,
    tag: str,
) -> Iterator[str]:
    tag = _one_word(tag, "tag")
    for question, its_rows, its_scores in zip(questions, rows, scores, strict=True):
        question_id = _one_word(question.question_id, "question id")
        found = its_rows >= 0  # a shorter list than the longest is filled up behind
        hits = zip(store.ids(its_rows[found]), its_scores[found], strict=True)
        for rank, (passage_id, score) in enumerate(hits, start=1):
            name = _one_word(passage_id, "passage id")
            yield f"{question_id} Q0 {name} {rank} {score!s} {tag}\n"


def _one_word(name: str, kind: str) -> str:
    if name.split() != [name]:
        raise ArtError(
            f"the {kind} {name!r} is empty or holds white space, which parts a TREC run's columns",
            hint="write a .json file instead, or repair the id",
        )
    return name


def _dpr_lines(
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[np.float32],
    store: PassageStore,
    regex_answers: bool,
) -> Iterator[str]:
    matcher = AnswerMatcher([question.answers for question in questions], regex=regex_answers)
    for position, question in enumerate(questions):
        entry = {
            "id": question.question_id,
            "question": question.text,
            "answers": list(question.answers),
            "ctxs": [
                _context(store, row, score, position if question.answers else None, matcher)
                for row, score in zip(rows[position].tolist(), scores[position], strict=True)
                if row >= 0
            ],
        }
        yield json.dumps(entry, ensure_ascii=False) + "\n"


def _context(
    store: PassageStore,
    row: int,
    score: np.float32,
    question: int | None,
    matcher: AnswerMatcher,
) -> dict[str, Any]:
    passage = store[row]
    return {
        "id": passage.passage_id,
        "title": passage.title,
        "text": passage.text,
        "score": float(str(score)),  # the shortest number that reads back as this float32
        "has_answer": None if question is None else matcher.matches(question, passage.text),
    }


def _as_list(lines: Iterable[str]) -> Iterator[str]:
    start = "[\n"
    for line in lines:
        yield start + line.rstrip("\n")
        start = ",\n"
    yield "\n]\n" if start == ",\n" else "[]\n"


_Found = dict[str, list[tuple[str, float]]]


def _read_trec(path: Path, bad_rows: BadRows | None) -> _Found:
    found: dict[str, dict[str, float]] = {}
    rows = converted(plain_lines(path, bad_rows), _trec_row, path, bad_rows)
    for number, (question, passage, score) in rows:
        hits = found.setdefault(question, {})
        if passage in hits:
            refuse(_repeated(passage, f"{path}:{number}"), bad_rows)
        else:
            hits[passage] = score
    return {
        question: sorted(hits.items(), key=lambda hit: -hit[1]) for question, hits in found.items()
    }


def _trec_row(line: str, where: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        raise RowError(
            f"{len(columns)} columns, where a TREC run has 6",
            where=where,
            hint="question id, Q0, passage id, rank, score, tag",
        )
    question, _, passage, _, score, _ = columns
    return question, passage, _score(score, where)


def _read_dpr(path: Path, bad_rows: BadRows | None) -> _Found:
    if path.suffix.lower() == ".jsonl":
        entries: Iterable[tuple[int, Any]] = json_objects(path, bad_rows)
        unit = ""
    else:
        entries = enumerate(_listed(path), start=1)
        unit = "question "
    found: _Found = {}
    for place, (name, hits) in converted(entries, _dpr_row, path, bad_rows, unit=unit):
        question = str(place) if name is None else name
        if question in found:
            what = f"the question id {shown(question)} stands twice"
            refuse(RowError(what, where=f"{path}:{unit}{place}"), bad_rows)
        else:
            found[question] = hits
    return found


def _dpr_row(entry: Any, where: str) -> tuple[str | None, list[tuple[str, float]]]:
    if not (isinstance(entry, dict) and isinstance(entry.get("ctxs"), list)):
        raise RowError("not a question with its `ctxs`", where=where)
    hits: dict[str, float] = {}
    for context in entry["ctxs"]:
        if not (isinstance(context, dict) and {"id", "score"} <= context.keys()):
            raise RowError("a passage without `id` and `score`", where=where)
        passage = id_value(context["id"], "passage id", where)
        if passage in hits:
            raise _repeated(passage, where)
        hits[passage] = _score(context["score"], where)
    name = None if entry.get("id") is None else id_value(entry["id"], "question id", where)
    return name, list(hits.items())


def _listed(path: Path) -> list[Any]:
    """Return the entries of a file that is one JSON list."""
    text = "".join(line for _, line in text_lines(path))
    try:
        entries = json_value(text, str(path))
    except RowError as error:
        raise DataError(error.what, where=path, hint="write one list of questions") from error
    if not isinstance(entries, list):
        raise DataError("not a list of questions", where=path, hint="end JSON lines in .jsonl")
    return entries


def _score(score: Any, where: str) -> float:
    try:
        number = float(score)  # DPR itself writes numbers as strings
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _LARGEST:
        raise RowError(f"the score {shown(score)} is not a finite number", where=where)
    return number


def _repeated(passage: str, where: str) -> RowError:
    return RowError(f"the passage {shown(passage)} stands twice for this question", where=where)
