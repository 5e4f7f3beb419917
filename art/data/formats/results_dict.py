"""Results as one JSON object of questions: BEIR's `{question: {passage: score}}`, Pyserini's.

BEIR's passages are put into the order of their scores, as trec_eval does. Pyserini's stand behind
each question in `contexts`, and are taken in that order.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from art.data.formats.base import FORMATS, QuestionResult, ResultFormat
from art.data.hits import asked_of, contexts_of, listed_hits, scored_hits
from art.data.json_lists import ENTRY, is_mapping, json_members
from art.data.rows import BadRows, converted, id_value


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, QuestionResult]]:
    members = json_members(Path(path), bad_rows)
    for number, result in converted(members, _result, path, bad_rows, unit=ENTRY):
        yield f"{path}:{ENTRY}{number}", result


def _result(member: tuple[str, dict[str, Any]], where: str) -> QuestionResult:
    name, contents = member
    question_id = id_value(name, "question id", where)
    listed = contexts_of(contents)
    if listed is not None:
        _, question, first_text = asked_of(contents, listed, where)
        hits = listed_hits(listed, where)
        return QuestionResult(question_id, *hits, question, first_text=first_text)
    return QuestionResult(question_id, scored_hits(contents, where))


FORMATS.add(
    ResultFormat(
        name="results-dict",
        endings=(".json",),
        description="`{question: {passage: score}}` of BEIR, or Pyserini's with `contexts`",
        fits=is_mapping,
        read=_read,
    )
)
