"""Passages of a ranking, and grades of judgements, as rows of other programs say them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from art.data.records import finite_score, repeated_passage
from art.data.rows import field, id_value, json_object
from art.errors import RowError

CONTEXT_KEYS = ("ctxs", "contexts")  # DPR's name, and Pyserini's
_ID_KEYS = ("id", "docid", "passage_id", "psg_id", "doc_id", "_id")
_GRADE = re.compile(r"-?[0-9]{1,9}(\.0+)?")


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


def scored_hits(scores: Mapping[str, Any], where: str) -> list[tuple[str, float]]:
    """Return the passages of a mapping of ids to scores, highest score first, ties as they stand.

    Raises:
        RowError: an id is empty, or a score is no number.
    """
    hits = [
        (id_value(name, "passage id", where), finite_score(score, where))
        for name, score in scores.items()
    ]
    return sorted(hits, key=lambda hit: -hit[1])


def grade_of(text: str) -> int | None:
    """Return a grade, a whole number that may be written as `1.0`; None for anything else."""
    return int(text.partition(".")[0]) if _GRADE.fullmatch(text) else None
