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
from art.data.records import Passage, finite_score, repeated_passage
from art.data.rows import BadRows, converted, id_value, json_objects, json_value, text_lines
from art.errors import DataError, RowError

_LINES = ".jsonl"


def _read(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    if path.suffix.lower() == _LINES:
        entries: Iterable[tuple[int, Any]] = json_objects(path, bad_rows)
        unit = ""
    else:
        entries = enumerate(_listed(path), start=1)
        unit = "question "
    for place, (name, hits) in converted(entries, _hits, path, bad_rows, unit=unit):
        yield f"{path}:{unit}{place}", QuestionResult(str(place) if name is None else name, hits)


def _hits(entry: Any, where: str) -> tuple[str | None, list[tuple[str, float]]]:
    if not (isinstance(entry, dict) and isinstance(entry.get("ctxs"), list)):
        raise RowError("not a question with its `ctxs`", where=where)
    hits: dict[str, float] = {}
    for context in entry["ctxs"]:
        if not (isinstance(context, dict) and {"id", "score"} <= context.keys()):
            raise RowError("a passage without `id` and `score`", where=where)
        passage = id_value(context["id"], "passage id", where)
        if passage in hits:
            raise repeated_passage(passage, where)
        hits[passage] = finite_score(context["score"], where)
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
