"""Judges checkpoints: by questions asked of the corpus, in a pool of passages, or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from art.data.formats import Question
from art.evaluation.comparison import evaluate_fused, evaluate_words
from art.evaluation.evaluate import Evaluation, evaluate
from art.evaluation.metrics import means
from art.evaluation.pooled import Pool, evaluate_pool
from art.retriever.fusion import DEPTH, Fusion
from art.training.agreement import agreed_passages
from art.training.selection import Qrels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.evaluation.rankings import KeptRanking
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher
    from art.teacher.cached import CachedTeacher

Beside = Literal["BM25", "fused"]  # what is evaluated beside the retriever; kinds of metrics.jsonl

_CHOOSING, _DECIDING = slice(0, None, 2), slice(1, None, 2)  # of questions without labels


@dataclass(frozen=True)
class EvaluatedStep:
    """What an evaluation of a checkpoint found.

    Attributes:
        metrics: name → value, over the questions that choose.
        num_questions: that choose.
        found: what all questions found in the corpus; None where it was not searched.
        beside: metrics of BM25 and of both fused, by the names of `Beside`; empty unless
            `evaluation.fused`.
    """

    metrics: dict[str, float]
    num_questions: int
    found: Evaluation | None
    beside: Mapping[Beside, dict[str, float]] = field(default_factory=dict)


class CheckpointJudge(ABC):
    """What evaluates checkpoints.

    Attributes:
        questions: asked of the corpus; none where something else judges.
        labelled: whether some of the questions have a label, or none is asked of the corpus.
        fused: whether BM25, and the retriever and BM25 fused, are evaluated beside it.
    """

    questions: Sequence[Question]
    labelled: bool
    fused: bool = False

    @abstractmethod
    def __call__(
        self, searcher: IndexSearcher | None, agreed: Sequence[int] | None
    ) -> EvaluatedStep:
        """Evaluate the student as it is; every process of the job must call it.

        Args:
            searcher: of the index of these weights; None where the corpus is not searched.
            agreed: from `agree`; None where the questions have labels.
        """

    def agree(
        self, searcher: IndexSearcher | None, *, after_block: Callable[[], None]
    ) -> tuple[int, ...] | None:
        """Return the passage of each question that stands for its label; None where none has to.

        Args:
            searcher: of the index of the start, which the student still is.
            after_block: see `agreed_passages`.
        """
        return None

    def deciding(self, rankings: Sequence[KeptRanking]) -> Sequence[KeptRanking]:
        """Return what those questions found that decide whether the choice is an improvement."""
        return rankings


@dataclass(frozen=True)
class Evaluator(CheckpointJudge):
    """Evaluates a retriever: questions asked of the corpus, a pool, or both.

    Attributes:
        retriever: with the weights to judge.
        questions: asked of the corpus; none where only the pool judges.
        qrels: their relevance judgements; None without.
        store: the corpus; None where it is not searched.
        pool: None where there is none.
        teacher: judges questions without labels; None where there is none.
        labelled: whether some of the questions have a label, or all are asked of the pool alone.
        bm25: of the corpus; None where it is asked nothing.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.
        fused: whether BM25, and the retriever and BM25 fused, are evaluated beside it.
    """

    retriever: Retriever
    questions: Sequence[Question]
    qrels: Qrels | None
    store: PassageStore | None
    pool: Pool | None
    teacher: CachedTeacher | None
    labelled: bool
    bm25: BM25 | None
    ks: Sequence[int]
    regex_answers: bool
    drop_self_hits: bool
    fused: bool = False

    def __call__(
        self, searcher: IndexSearcher | None, agreed: Sequence[int] | None
    ) -> EvaluatedStep:
        """Evaluate the retriever; every process of the job must call it."""
        found = self._search(searcher, agreed) if self.questions else None
        metrics = {} if self.pool is None else evaluate_pool(self.retriever, self.pool)
        if found is None:
            assert (
                self.pool is not None
            )  # where nothing is given to judge on, something is held out
            return EvaluatedStep(metrics, self.pool.num_questions, None)
        if self.labelled:
            beside = self._beside(found) if self.fused else {}
            return EvaluatedStep(found.metrics | metrics, found.num_questions, found, beside)
        chose = {name: values[_CHOOSING] for name, values in found.per_question.items()}
        return EvaluatedStep(means(chose) | metrics, len(found.questions[_CHOOSING]), found)

    def agree(
        self, searcher: IndexSearcher | None, *, after_block: Callable[[], None]
    ) -> tuple[int, ...] | None:
        """Return the passage that BM25 and the teacher agree on for each question."""
        if self.labelled:
            return None
        assert searcher is not None and self.bm25 is not None and self.teacher is not None
        texts = [question.text for question in self.questions]
        rows = agreed_passages(
            texts,
            retriever=self.retriever,
            searcher=searcher,
            bm25=self.bm25,
            teacher=self.teacher,
            own=self._own_rows() if self.drop_self_hits else None,
            after_block=after_block,
        )
        return tuple(rows.tolist())

    def _own_rows(self) -> NDArray[np.int64]:
        assert self.store is not None  # it is searched
        rows = [self.store.row_of(question.question_id) for question in self.questions]
        return np.array([-1 if row is None else row for row in rows], dtype=np.int64)

    def deciding(self, rankings: Sequence[KeptRanking]) -> Sequence[KeptRanking]:
        """Return what the questions found that had no part in the choice; of labels, all had."""
        return rankings if self.labelled else rankings[_DECIDING]

    def _search(self, searcher: IndexSearcher | None, agreed: Sequence[int] | None) -> Evaluation:
        assert searcher is not None and self.store is not None  # a refresh always comes before
        return evaluate(
            self.retriever,
            searcher,
            self.store,
            self.questions,
            teacher=self.teacher,
            agreed=None if agreed is None else np.array(agreed, dtype=np.int64),
            drop_self_hits=self.drop_self_hits,
            depth=DEPTH if self.fused else 1,
            **self._judged_by(),
        )

    def _judged_by(self) -> dict[str, Any]:
        return {"qrels": self.qrels, "ks": self.ks, "regex_answers": self.regex_answers}

    def _beside(self, found: Evaluation) -> dict[Beside, dict[str, float]]:
        assert self.store is not None and self.bm25 is not None  # opened for this
        fused = evaluate_fused(
            found, self._words, self.bm25, self.store, fusion=Fusion(), **self._judged_by()
        )
        return {"BM25": self._words.metrics, "fused": fused.metrics}

    @cached_property
    def _words(self) -> Evaluation:
        """What BM25 finds, which no training changes."""
        assert self.store is not None and self.bm25 is not None  # opened for this
        return evaluate_words(
            self.bm25,
            self.store,
            self.questions,
            depth=max(*self.ks, DEPTH),
            drop_self_hits=self.drop_self_hits,
            **self._judged_by(),
        )
