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
from art.data.hits import CONTEXT_KEYS, listed_hits
from art.data.json_lists import json_rows
from art.data.records import Passage
from art.data.rows import BadRows, converted, id_value
from art.errors import RowError

_LINES = ".jsonl"


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    unit, rows = json_rows(Path(path), bad_rows)
    for place, found in converted(rows, _hits, path, bad_rows, unit=unit):
        own_id = found.question_id or str(place)
        yield f"{path}:{unit}{place}", found._replace(question_id=own_id)


def _hits(row: dict[str, Any], where: str) -> QuestionResult:
    """Return what a row says; the question's id is empty where the row has none."""
    contexts = next((row[key] for key in CONTEXT_KEYS if key in row), None)
    if not isinstance(contexts, list):
        raise RowError("not a question with its `ctxs`", where=where)
    own_id = "" if row.get("id") is None else id_value(row["id"], "question id", where)
    return QuestionResult(own_id, *listed_hits(contexts, where))


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
        "score": float(str(score)),  # the shortest number that reads back as this float32
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
