"""Passages of a ranking, and grades of judgements, as rows of other programs say them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from art.data.column_names import (
    QUESTION_ID_KEYS,
    QUESTION_KEYS,
    RESULT_KEYS,
    TEXT_KEYS,
    field,
    key_of,
)
from art.data.records import finite_score, repeated_passage
from art.data.rows import id_value, json_object, text_value
from art.errors import RowError

_ID_KEYS = ("id", "docid", "passage_id", "psg_id", "doc_id", "_id")
_GRADE = re.compile(r"-?[0-9]{1,9}(\.0+)?")


class ResultQuestion(NamedTuple):
    """What a row of results says of its question beside the passages; None where it does not.

    Attributes:
        question_id: its id.
        question: its text.
        first_text: of its first passage.
    """

    question_id: str | None
    question: str | None
    first_text: str | None


def contexts_of(row: Mapping[str, Any]) -> list[Any] | None:
    """Return the passages of a row of results; None where it lists none."""
    key = key_of(row, RESULT_KEYS)
    listed = None if key is None else row[key]
    return listed if isinstance(listed, list) else None


def asked_of(row: Mapping[str, Any], contexts: Sequence[Any], where: str) -> ResultQuestion:
    """Return what a row says of its question.

    Raises:
        RowError: an id or a text is malformed.
    """
    named, asked = (key_of(row, names) for names in (QUESTION_ID_KEYS, QUESTION_KEYS))
    first = json_object(contexts[0], where) if contexts else {}
    text = key_of(first, TEXT_KEYS)
    return ResultQuestion(
        None if named is None else id_value(row[named], "question id", where),
        None if asked is None else text_value(row[asked], "question", where),
        None if text is None else text_value(first[text], "text", where),
    )


def listed_hits(contexts: Sequence[Any], where: str) -> tuple[list[tuple[str, float]], bool]:
    """Return the ids and scores of passages in the order in which they stand.

    Args:
        contexts: mappings of an id and perhaps a `score`.
        where: the place of the row.

    Returns:
        Of each passage its id and score, minus its rank where none has a score; whether they have.

    Raises:
        RowError: one is malformed, stands twice, or lacks the score that others have.
    """
    hits: dict[str, float] = {}
    num_scored = 0
    for rank, item in enumerate(contexts, start=1):
        row = json_object(item, where)
        passage = id_value(field(row, _ID_KEYS, where), "passage id", where)
        if passage in hits:
            raise repeated_passage(passage, where)
        score = row.get("score")
        num_scored += score is not None
        hits[passage] = -float(rank) if score is None else finite_score(score, where)
    if 0 < num_scored < len(hits):
        raise RowError(f"{num_scored} of {len(hits)} passages have a `score`", where=where)
    return list(hits.items()), num_scored == len(hits)


def by_score(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return passages in the order in which trec_eval sees them.

    By falling score as float32, which is what it holds them as; among equals by falling id, as the
    bytes of UTF-8.
    """
    return sorted(
        scores.items(), key=lambda hit: (np.float32(hit[1]), hit[0].encode()), reverse=True
    )


def scored_hits(scores: Mapping[str, Any], where: str) -> list[tuple[str, float]]:
    """Return the passages of a mapping of ids to scores, in the order of `by_score`.

    Raises:
        RowError: an id is empty, or a score is no number.
    """
    return by_score(
        {
            id_value(name, "passage id", where): finite_score(score, where)
            for name, score in scores.items()
        }
    )


def shortest(score: np.float32) -> float:
    """Return the shortest number that reads back as this score."""
    return float(str(score))


def grade_of(text: str) -> int | None:
    """Return a grade, a whole number that may be written as `1.0`; None for anything else."""
    return int(text.partition(".")[0]) if _GRADE.fullmatch(text) else None
