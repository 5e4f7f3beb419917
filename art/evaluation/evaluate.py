"""Questions to metrics: what the training loop, the command and every given ranking share.

Which metric: a question with `positive_passage_ids` is answered by one of those passages, one with
answers by a passage that contains an answer, and relevance judgements add trec_eval's metrics. When
no question has any of these, the teacher judges: how likely is each question given its first
passage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError
from art.evaluation.labels import (
    Chosen,
    Labels,
    check_labels,
    missing_passages,
    relevant_passages,
)
from art.evaluation.metrics import compute_all, means, metric
from art.evaluation.metrics.evidence import (
    JUDGED,
    AgreedPassages,
    Evidence,
    FirstPassages,
    Hits,
    Judgements,
)
from art.evaluation.metrics.judged import depth_of
from art.evaluation.rerank import score_rows
from art.evaluation.self_hits import self_hits, self_hits_note, without_self_hits
from art.evaluation.sharing import my_vectors
from art.evaluation.statistics import wilson

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.evaluation.metrics.evidence import Qrels
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher
    from art.teacher.cached import CachedTeacher

DEFAULT_KS = (1, 5, 20, 50, 100)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one ranking.

    Attributes:
        metrics: name → value, for the metrics registered in `art.evaluation.metrics` that apply.
        questions: those evaluated, Q of them.
        rows: passages of each question in the store, best first, [Q, K]; -1 behind the last where
            fewer were found.
        scores: their scores, [Q, K].
        hits: whether each passage answers its question, [Q, K]; None without labels.
        labelled: which questions have a label of their own, [Q]; others may be judged all the same.
        whole: whether the ranking is of all passages, so that nothing lies deeper.
        per_question: name → [Q] float64, NaN where the metric does not apply to the question.
        notes: what a reader of the metrics must know, a sentence each.
    """

    metrics: dict[str, float]
    questions: list[Question]
    rows: NDArray[np.int64]
    scores: NDArray[Any]
    hits: NDArray[np.bool_] | None
    labelled: NDArray[np.bool_]
    whole: bool
    per_question: dict[str, NDArray[np.float64]]
    notes: list[str]

    @property
    def num_questions(self) -> int:
        """Return Q, how many questions were evaluated."""
        return len(self.questions)

    def table(self) -> list[dict[str, Any]]:
        """Return a line per metric: name, value, questions counted, 95 % interval or None."""
        return metric_table(self.metrics, self.per_question)


def metric_table(
    metrics: Mapping[str, float], per_question: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Any]]:
    """Return a line per metric: name, value, questions counted, 95 % interval or None.

    Args:
        metrics: name → value.
        per_question: name → [Q], NaN where the metric does not apply to the question.
    """
    lines = []
    for name, value in metrics.items():
        values = per_question[name]
        counted = values[~np.isnan(values)]
        low, high = (
            wilson(int(counted.sum()), len(counted)) if metric(name).has_interval else (None, None)
        )
        line = {"metric": name, "value": value, "num_questions": len(counted)}
        lines.append({**line, "low": low, "high": high})
    return lines


def evaluate(
    retriever: Retriever | NDArray[np.float32],
    searcher: IndexSearcher,
    store: PassageStore,
    questions: Sequence[Question],
    *,
    qrels: Qrels | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    teacher: CachedTeacher | None = None,
    agreed: NDArray[np.int64] | None = None,
    regex_answers: bool = False,
    drop_self_hits: bool = False,
    judged: Sequence[str] = JUDGED,
    depth: int = 1,
) -> Evaluation:
    """Search an index with the questions and return how good the ranking is.

    Every process of the job must call it, with the same arguments; each takes a share of the work
    and all return the whole. The ranking does not depend on the number of processes.

    Args:
        retriever: whose question tower embeds the questions, or their vectors, [Q, D].
        searcher: of an index of the store's passages under the same retriever.
        store: the passages.
        questions: Q of them; where some have labels, those without are left out and counted.
        qrels: question id → passage id → relevance.
        ks: depths of the top-k accuracy.
        teacher: judges the first passage when no question has labels.
        agreed: a passage of each question that stands for a label when no question has one, [Q].
        regex_answers: the answers are regular expressions (CuratedTREC).
        drop_self_hits: leave out a passage whose id is its question's, as BEIR does.
        judged: metrics of judgements, by name; the search is as deep as they look.
        depth: passages found for each question at least, where the metrics do not look so deep.

    Raises:
        ArtError: no questions, no labels and no teacher, or labels of which none could be found.
    """
    criteria = _Criteria(store, qrels, ks, teacher, regex_answers, drop_self_hits, judged, agreed)
    chosen = criteria.choose(questions)
    wanted = max(*ks, depth, depth_of(judged) if qrels else 1) + drop_self_hits
    texts = [question.text for question in chosen.questions]
    asking = retriever[chosen.positions] if isinstance(retriever, np.ndarray) else retriever
    scores, rows = searcher.search_for_all(
        lambda: my_vectors(asking, texts), min(wanted, len(store))
    )
    return criteria(chosen, rows, scores)


def evaluate_rows(
    rows: NDArray[np.int64],
    scores: NDArray[Any],
    store: PassageStore,
    questions: Sequence[Question],
    *,
    qrels: Qrels | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    teacher: CachedTeacher | None = None,
    regex_answers: bool = False,
    drop_self_hits: bool = False,
    judged: Sequence[str] = JUDGED,
    whole: bool = False,
) -> Evaluation:
    """Return how good a given ranking is (BM25, a re-ranked list), by `evaluate`'s own measure.

    Args:
        rows: passages of each question, best first, [Q, K], -1 behind the last where there are
            fewer; one more than wanted with `drop_self_hits`, which leaves K - 1. Metrics that look
            deeper are left out.
        scores: their scores, [Q, K].
        store: the passages.
        questions: Q of them.
        qrels: as for `evaluate`, like all that follow.
        ks: depths of the top-k accuracy.
        teacher: judges the first passage when no question has labels.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.
        judged: metrics of judgements, by name.
        whole: the ranking is of all passages though it has fewer than the store: some were left out
            on purpose.

    Raises:
        ArtError: as `evaluate`, or every k is beyond K.
    """
    criteria = _Criteria(store, qrels, ks, teacher, regex_answers, drop_self_hits, judged)
    chosen = criteria.choose(questions)
    return criteria(chosen, rows[chosen.positions], scores[chosen.positions], whole=whole)


@dataclass(frozen=True)
class _Criteria:
    """What rankings are judged with; the attributes are the arguments of `evaluate`."""

    store: PassageStore
    qrels: Qrels | None
    ks: Sequence[int]
    teacher: CachedTeacher | None
    regex_answers: bool
    drop_self_hits: bool
    judged: Sequence[str]
    agreed: NDArray[np.int64] | None = None

    def choose(self, questions: Sequence[Question]) -> Chosen:
        """Return the questions that can be evaluated.

        Raises:
            ArtError: there are none, or their labels cannot be found in the store.
        """
        chosen = Chosen.of(questions, self.qrels, judged_anyway=self.teacher is not None)
        check_labels(chosen.questions, self.store, self.qrels, regex_answers=self.regex_answers)
        return chosen

    def __call__(
        self, chosen: Chosen, rows: NDArray[np.int64], scores: NDArray[Any], *, whole: bool = False
    ) -> Evaluation:
        """Return how good a ranking is, rows and scores [Q, K] each."""
        questions, notes = chosen.questions, [*chosen.notes]
        # A ranking of the whole store answers every depth: there is nothing deeper to look for.
        whole = whole or rows.shape[1] >= len(self.store)
        if self.drop_self_hits or self.qrels:
            own = self_hits(questions, rows, self.store)
            notes += self_hits_note(int(own.sum()), dropped=self.drop_self_hits)
        if self.drop_self_hits:
            rows, scores = without_self_hits(own, rows, scores)
        depth = None if whole else rows.shape[1]
        labels = Labels(questions, self.store, regex_answers=self.regex_answers)
        notes += labels.notes
        hits = None
        evidence: list[Evidence] = []
        if labels.present.any():
            self._check_depth(depth)
            hits = labels.hits(rows)
            if not hits.any():
                notes.append(
                    "no passage that was found answers any question: do the labels belong to this "
                    "corpus?"
                )
            evidence.append(Hits(hits, labels.present, self.ks, depth))
        if self.qrels:
            evidence.append(self._judgements(questions, rows, depth))
            notes += self._missing(questions)
        if not evidence:
            evidence += self._without_labels(questions, rows)
        values = {name: found for one in evidence for name, found in compute_all(one).items()}
        return Evaluation(
            means(values), questions, rows, scores, hits, labels.present, whole, values, notes
        )

    def _without_labels(
        self, questions: Sequence[Question], rows: NDArray[np.int64]
    ) -> Iterator[Evidence]:
        if self.agreed is not None:
            yield AgreedPassages(rows, self.agreed)
        if self.teacher is not None:
            texts = [question.text for question in questions]
            first = score_rows(self.teacher, texts, rows[:, :1])[:, 0]
            yield FirstPassages(first.astype(float))

    def _check_depth(self, depth: int | None) -> None:
        if depth is not None and depth < min(self.ks):
            raise ArtError(
                f"the ranking has {depth} passages a question, fewer than every k asked for",
                hint=f"ask for a k of {depth} or less, or search deeper",
            )

    def _judgements(
        self, questions: Sequence[Question], rows: NDArray[np.int64], depth: int | None
    ) -> Judgements:
        assert self.qrels is not None
        asked = [question.question_id for question in questions]
        return Judgements(
            asked, [self.store.ids(of[of >= 0]) for of in rows], self.qrels, depth, self.judged
        )

    def _missing(self, questions: Sequence[Question]) -> list[str]:
        """Return a note on relevant passages that the store lacks."""
        assert self.qrels is not None
        relevant = relevant_passages(questions, self.qrels)
        named = ((name, self.store.row_of(name)) for name in relevant)
        return missing_passages("judgements", named)
