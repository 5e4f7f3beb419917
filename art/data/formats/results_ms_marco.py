"""Results as MS MARCO takes them: a question's id, a passage's and its rank, without scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, QuestionResult, Ranking, ResultFormat
from art.data.formats.results_trec import check_word
from art.data.packed import ungzipped
from art.data.records import repeated_passage
from art.data.rows import BadRows, converted, plain_lines, refuse
from art.errors import RowError, shown

_RANK = re.compile(r"[0-9]{1,9}")


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    found: dict[str, dict[str, int]] = {}
    places: dict[str, str] = {}
    rows = converted(plain_lines(Path(path), bad_rows), _hit, path, bad_rows)
    for number, (question, passage, rank) in rows:
        where = f"{path}:{number}"
        places.setdefault(question, where)
        ranks = found.setdefault(question, {})
        if passage in ranks:
            refuse(repeated_passage(passage, where), bad_rows)
        else:
            ranks[passage] = rank
    for question, ranks in found.items():
        ordered = sorted(ranks, key=ranks.__getitem__)  # equal ranks as they stand
        hits = [(passage, -float(place)) for place, passage in enumerate(ordered, start=1)]
        yield places[question], QuestionResult(question, hits, has_scores=False)


def _hit(line: str, where: str) -> tuple[str, str, int]:
    columns = line.split()
    if len(columns) != 3 or not _RANK.fullmatch(columns[2]):
        raise RowError(
            f"not `question<TAB>passage<TAB>rank`: {shown(line)}",
            where=where,
            hint="a TREC run has six columns and ends in .trec",
        )
    question, passage, rank = columns
    return question, passage, int(rank)


def _is_ranked(path: Path) -> bool:
    """Return whether this is a .tsv, or a rank stands in the third and last column."""
    if ungzipped(path).suffix.lower() == ".tsv":
        return True
    try:
        _, line = next(plain_lines(path), (0, ""))
        _hit(line, "")
    except RowError:
        return False
    return True


def _write(_: Path, rankings: Iterable[Ranking], __: str) -> Iterator[str]:
    for ranking in rankings:
        question_id = ranking.question.question_id
        check_word(question_id, "question id")
        for rank, passage_id in enumerate(ranking.passage_ids, start=1):
            check_word(passage_id, "passage id")
            yield f"{question_id}\t{passage_id}\t{rank}\n"


FORMATS.add(
    ResultFormat(
        name="results-ms-marco",
        endings=(".tsv", ".txt"),
        description="MS MARCO",
        written_endings=(".tsv",),
        fits=_is_ranked,
        read=_read,
        write=_write,
        check_id=check_word,
    )
)
