"""Judges checkpoints: by questions asked of the corpus, in a pool of passages, or both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from art.data.formats import Question
from art.evaluation.evaluate import Evaluation, evaluate
from art.evaluation.metrics import means
from art.evaluation.pooled import Pool, evaluate_pool
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

_CHOOSING, _DECIDING = slice(0, None, 2), slice(1, None, 2)  # of questions without labels


@dataclass(frozen=True)
class EvaluatedStep:
    """What an evaluation of a checkpoint found.

    Attributes:
        metrics: name → value, over the questions that choose.
        num_questions: that choose.
        found: what all questions found in the corpus; None where it was not searched.
    """

    metrics: dict[str, float]
    num_questions: int
    found: Evaluation | None


class CheckpointJudge(ABC):
    """What evaluates checkpoints.

    Attributes:
        questions: asked of the corpus; none where something else judges.
        labelled: whether some of the questions have a label, or none is asked of the corpus.
    """

    questions: Sequence[Question]
    labelled: bool

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
        bm25: of the corpus; None where no question has to be judged without labels.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.
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
            return EvaluatedStep(found.metrics | metrics, found.num_questions, found)
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
            qrels=self.qrels,
            ks=self.ks,
            teacher=self.teacher,
            agreed=None if agreed is None else np.array(agreed, dtype=np.int64),
            regex_answers=self.regex_answers,
            drop_self_hits=self.drop_self_hits,
        )
