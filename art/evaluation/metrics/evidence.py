"""What metrics are computed from; those of the most trusted kind choose the checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError

Qrels = Mapping[str, Mapping[str, int]]

# What BEIR reports, and MS MARCO; with a search of 100 passages, so deep and no deeper.
JUDGED = ("ndcg@10", "mrr@10", "recall@100", "map@100")
JUDGED_DEEP = (*JUDGED, "recall@1000", "map@1000")


class Evidence:
    """Something that says how good a ranking of Q questions is.

    Attributes:
        priority: the lower, the more the metrics of this kind are trusted; this one is of metrics
            of which only the name is known.
    """

    priority: ClassVar[int] = 5


@dataclass(frozen=True, eq=False)
class Hits(Evidence):
    """Which passages of a ranking answer their question, by the questions' own labels.

    Attributes:
        found: best passage first, [Q, K] bool.
        labelled: which questions have a label, [Q] bool.
        ks: depths asked for.
        depth: of the ranking; None where it holds every passage there is, and so answers any depth.
    """

    priority: ClassVar[int] = 0

    found: NDArray[np.bool_]
    labelled: NDArray[np.bool_]
    ks: Sequence[int]
    depth: int | None = None


@dataclass(frozen=True, eq=False)
class Judgements(Evidence):
    """A ranking by name and the relevance of some of its passages.

    Attributes:
        question_ids: Q of them.
        passage_ids: of each question, best first.
        qrels: question id → passage id → relevance, above 0 when relevant.
        depth: as in `Hits`.
        wanted: names of the metrics asked for, such as `ndcg@10`.
    """

    priority: ClassVar[int] = 1

    question_ids: Sequence[str]
    passage_ids: Sequence[list[str]]
    qrels: Qrels
    depth: int | None = None
    wanted: Sequence[str] = JUDGED

    @cached_property
    def by_falling_score(self) -> dict[str, dict[str, float]]:
        """Question id → passage id → a score that gives every trec_eval this order.

        Raises:
            ArtError: a passage stands twice in one ranking.
        """
        pairs = zip(self.question_ids, self.passage_ids, strict=True)
        return {question: _falling(question, passages) for question, passages in pairs}


def _falling(question: str, passages: Sequence[str]) -> dict[str, float]:
    # trec_eval orders by score (float32) and then by id: whole numbers falling by 1 are our order.
    scored = {passage: float(-rank) for rank, passage in enumerate(passages)}
    if len(scored) != len(passages):
        raise ArtError("a passage stands twice in the ranking", where=f"question {question}")
    return scored


@dataclass(frozen=True, eq=False)
class PooledRanks(Evidence):
    """Where each question's positive stands in a pool of passages.

    Attributes:
        before: how many passages stand before it, [Q].
    """

    priority: ClassVar[int] = 2

    before: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class AgreedPassages(Evidence):
    """A ranking, and a passage of each question that several judges agreed on; needs no label.

    Attributes:
        rows: best passage first, [Q, K].
        agreed: [Q].
    """

    priority: ClassVar[int] = 3

    rows: NDArray[np.int64]
    agreed: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FirstPassages(Evidence):
    """What the teacher says of the first passage of each question; needs no label.

    Attributes:
        scores: the teacher's, [Q] float64.
    """

    priority: ClassVar[int] = 4

    scores: NDArray[np.float64]
