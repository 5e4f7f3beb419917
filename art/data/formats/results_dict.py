"""Results as one JSON object of questions: BEIR's `{question: {passage: score}}`, Pyserini's.

BEIR's passages are put into trec_eval's order: by score, equal ones by their ids. Pyserini's stand
behind each question in `contexts`, and are taken in that order. Pyserini's is written, to files
that end in `.pyserini.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from art.data.formats.base import FORMATS, QuestionResult, Ranking, ResultFormat
from art.data.hits import asked_of, contexts_of, listed_hits, scored_hits, shortest
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


def _write(_: Path, rankings: Iterable[Ranking], __: str) -> Iterator[str]:
    start = "{\n"
    for one in rankings:
        name = json.dumps(one.question.question_id, ensure_ascii=False)
        yield f"{start}{name}: {json.dumps(_entry(one), ensure_ascii=False)}"
        start = ",\n"
    yield "\n}\n" if start == ",\n" else "{}\n"


def _entry(ranking: Ranking) -> dict[str, Any]:
    contexts = zip(ranking.contexts(), ranking.scores, strict=True)
    return {
        "question": ranking.question.text,
        "answers": list(ranking.question.answers),
        "contexts": [
            {
                "docid": passage.passage_id,
                "score": shortest(score),
                # Pyserini's own, where a title stands in the first line of a passage's contents
                "text": f"{passage.title}\n{passage.text}" if passage.title else passage.text,
                "has_answer": has_answer,
            }
            for (passage, has_answer), score in contexts
        ],
    }


FORMATS.add(
    ResultFormat(
        name="results-dict",
        endings=(".json",),
        description="`{question: {passage: score}}` of BEIR, or Pyserini's with `contexts`",
        written_endings=(".pyserini.json",),
        written_description="Pyserini",
        fits=is_mapping,
        read=_read,
        write=_write,
    )
)
