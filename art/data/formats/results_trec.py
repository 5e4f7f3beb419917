"""Results as a TREC run: six columns, one passage a line.

A run is read into the order of its scores, whatever its rank column says; equal scores are in the
order of their ids, the last first. Both is what trec_eval does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionResult, Ranking, ResultFormat
from art.data.hits import by_score
from art.data.records import finite_score, repeated_passage
from art.data.rows import BadRows, converted, is_word, plain_lines, refuse
from art.errors import ArtError, RowError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    found: dict[str, dict[str, float]] = {}
    places: dict[str, str] = {}
    rows = converted(plain_lines(Path(path), bad_rows), _hit, path, bad_rows)
    for number, (question, passage, score) in rows:
        where = f"{path}:{number}"
        places.setdefault(question, where)
        hits = found.setdefault(question, {})
        if passage in hits:
            refuse(repeated_passage(passage, where), bad_rows)
        else:
            hits[passage] = score
    for question, hits in found.items():
        yield places[question], QuestionResult(question, by_score(hits))


def _hit(line: str, where: str) -> tuple[str, str, float]:
    columns = line.split()
    if len(columns) != 6:
        raise RowError(
            f"{len(columns)} columns, where a TREC run has 6",
            where=where,
            hint="question id, Q0, passage id, rank, score, tag",
        )
    question, _, passage, _, score, _ = columns
    return question, passage, finite_score(score, where)


def _write(_: Path, rankings: Iterable[Ranking], tag: str) -> Iterator[str]:
    check_word(tag, "tag")
    for ranking in rankings:
        question_id = ranking.question.question_id
        check_word(question_id, "question id")
        hits = zip(ranking.passage_ids, ranking.scores, strict=True)
        for rank, (passage_id, score) in enumerate(hits, start=1):
            check_word(passage_id, "passage id")
            yield f"{question_id} Q0 {passage_id} {rank} {score!s} {tag}\n"


def check_word(name: str, kind: str) -> None:
    """Refuse an id that columns parted by white space cannot hold.

    Raises:
        ArtError: it is empty or holds white space.
    """
    if not is_word(name):
        raise ArtError(
            f"the {kind} {name!r} is empty or holds white space, which parts a run's columns",
            hint="write a .json file instead, or repair the id",
        )


FORMATS.add(
    ResultFormat(
        name="results-trec",
        endings=(".trec", ".run", ".txt"),
        description="TREC run",
        read=_read,
        write=_write,
        check_id=check_word,
    )
)
