"""Results as DPR's JSON: a list of questions with their passages, or one question a line.

Passages are taken in the order in which they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from art.data.formats.base import FORMATS, QuestionResult, Ranking, ResultFormat
from art.data.hits import asked_of, contexts_of, listed_hits, shortest
from art.data.json_lists import json_rows
from art.data.records import Passage
from art.data.rows import BadRows, converted
from art.errors import RowError

_LINES = ".jsonl"


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    unit, rows = json_rows(Path(path), bad_rows)
    for place, found in converted(rows, _result, path, bad_rows, unit=unit):
        # Only the number says where an entry without an id stands.
        own = found if found.named else found._replace(question_id=str(place))
        yield f"{path}:{unit}{place}", own


def _result(row: dict[str, Any], where: str) -> QuestionResult:
    contexts = contexts_of(row)
    if contexts is None:
        raise RowError("not a question with its `ctxs`", where=where)
    own_id, question, first_text = asked_of(row, contexts, where)
    return QuestionResult(
        own_id or "",
        *listed_hits(contexts, where),
        question,
        named=own_id is not None,
        first_text=first_text,
    )


def _write(path: Path, rankings: Iterable[Ranking], _: str) -> Iterator[str]:
    lines = (json.dumps(_entry(one), ensure_ascii=False) + "\n" for one in rankings)
    return lines if path.suffix.lower() == _LINES else _as_list(lines)


def _entry(ranking: Ranking) -> dict[str, Any]:
    question = ranking.question
    contexts = zip(ranking.contexts(), ranking.scores, strict=True)
    return {
        "id": question.question_id,
        "question": question.text,
        "answers": list(question.answers),
        "ctxs": [_context(passage, score, has) for (passage, has), score in contexts],
    }


def _context(passage: Passage, score: np.float32, has_answer: bool | None) -> dict[str, Any]:
    return {
        "id": passage.passage_id,
        "title": passage.title,
        "text": passage.text,
        "score": shortest(score),
        "has_answer": has_answer,
    }


def _as_list(lines: Iterable[str]) -> Iterator[str]:
    start = "[\n"
    for line in lines:
        yield start + line.rstrip("\n")
        start = ",\n"
    yield "\n]\n" if start == ",\n" else "[]\n"


FORMATS.add(
    ResultFormat(
        name="results-dpr",
        endings=(".json", ".jsonl"),
        description="DPR",
        read=_read,
        write=_write,
    )
)
