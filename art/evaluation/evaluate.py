"""Questions to metrics: what the training loop, the command and every given ranking share.

Which metric: a question with `positive_passage_ids` is answered by one of those passages, one with
answers by a passage that contains an answer, and relevance judgements add trec_eval's metrics. When
no question has any of these, the teacher judges: how likely is each question given its first
passage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.errors import ArtError
from art.evaluation.labels import Labels, is_labelled, missing_passages, some
from art.evaluation.metrics import judged, top_k_found, wilson
from art.evaluation.pooled import POOLED_METRIC
from art.evaluation.rerank import score_rows
from art.evaluation.sharing import gather_shares, my_share

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index
    from art.teacher.cached import CachedTeacher

Qrels = Mapping[str, Mapping[str, int]]

DEFAULT_KS = (1, 5, 20, 50, 100)
TEACHER_METRIC = "teacher_log_likelihood"
_JUDGED_DEPTH = 100  # Recall@100 looks deepest
_EMBED_BLOCK = 256  # fixed, so that a question's vector does not depend on the number of processes


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one ranking; higher is better for each of them.

    Attributes:
        metrics: name -> value: `top_<k>`, `ndcg@10`, `mrr@10`, `recall@100`, `map`, or
            `teacher_log_likelihood`.
        primary: the name and value to choose models by.
        questions: those evaluated, Q of them.
        rows: passages of each question in the store, best first, [Q, K].
        scores: their scores, [Q, K].
        hits: whether each passage answers its question, [Q, K]; None without labels.
        per_question: name -> [Q] float64, NaN where the metric does not apply to the question.
        notes: what a reader of the metrics must know, a sentence each.
    """

    metrics: dict[str, float]
    primary: tuple[str, float]
    questions: list[Question]
    rows: NDArray[np.int64]
    scores: NDArray[Any]
    hits: NDArray[np.bool_] | None
    per_question: dict[str, NDArray[np.float64]]
    notes: list[str]

    @property
    def num_questions(self) -> int:
        """Return Q, how many questions were evaluated."""
        return len(self.questions)

    def table(self) -> list[dict[str, Any]]:
        """Return one line per metric: name, value, questions counted, 95 % interval of a share."""
        lines = []
        for name, value in self.metrics.items():
            values = self.per_question[name]
            counted = values[~np.isnan(values)]
            share = name.startswith("top_")
            low, high = wilson(int(counted.sum()), len(counted)) if share else (None, None)
            line = {"metric": name, "value": value, "num_questions": len(counted)}
            lines.append({**line, "low": low, "high": high})
        return lines


def evaluate(
    retriever: Retriever | NDArray[np.float32],
    index: Index,
    store: PassageStore,
    questions: Sequence[Question],
    *,
    qrels: Qrels | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    teacher: CachedTeacher | None = None,
    regex_answers: bool = False,
    drop_self_hits: bool = False,
) -> Evaluation:
    """Search an index with the questions and return how good the ranking is.

    Every process of the job must call it, with the same arguments; each takes a share of the work
    and all return the whole. The ranking does not depend on the number of processes.

    Args:
        retriever: whose question tower embeds the questions, or their vectors, [Q, D].
        index: of the store's passages under the same retriever.
        store: the passages.
        questions: Q of them; where some have labels, those without are left out and counted.
        qrels: question id -> passage id -> relevance.
        ks: depths of the top-k accuracy.
        teacher: judges the first passage when no question has labels.
        regex_answers: the answers are regular expressions (CuratedTREC).
        drop_self_hits: leave out a passage whose id is its question's, as BEIR does.

    Raises:
        ArtError: no questions, or no labels and no teacher.
    """
    chosen = _Chosen.of(questions, qrels, teacher)
    if isinstance(retriever, np.ndarray):
        vectors = retriever[chosen.positions]
    else:
        vectors = _embed(retriever, [question.text for question in chosen.questions])
    wanted = max(*ks, _JUDGED_DEPTH if qrels else 1) + drop_self_hits
    with distributed.fail_together():
        mine = my_share(len(vectors))
        part = index.search(vectors[mine], min(wanted, len(store)))
    scores, rows = gather_shares(part[0]), gather_shares(part[1])
    return _metrics(chosen, rows, scores, store, qrels, ks, teacher, regex_answers, drop_self_hits)


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
) -> Evaluation:
    """Return how good a given ranking is (BM25, a re-ranked list), by `evaluate`'s own measure.

    Args:
        rows: passages of each question, best first, [Q, K]; one more than wanted with
            `drop_self_hits`, which leaves K - 1. Metrics that look deeper are left out.
        scores: their scores, [Q, K].
        store: the passages.
        questions: Q of them.
        qrels: as for `evaluate`, like all that follow.
        ks: depths of the top-k accuracy.
        teacher: judges the first passage when no question has labels.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.

    Raises:
        ArtError: no questions, no labels and no teacher, or every k beyond K.
    """
    chosen = _Chosen.of(questions, qrels, teacher)
    rows, scores = rows[chosen.positions], scores[chosen.positions]
    return _metrics(chosen, rows, scores, store, qrels, ks, teacher, regex_answers, drop_self_hits)


@dataclass(frozen=True)
class _Chosen:
    """The questions that can be evaluated, where they stood, and what to say about the others."""

    questions: list[Question]
    positions: NDArray[np.int64]
    notes: list[str]

    @classmethod
    def of(
        cls, questions: Sequence[Question], qrels: Qrels | None, teacher: CachedTeacher | None
    ) -> _Chosen:
        if not questions:
            raise ArtError("there are no questions to evaluate")
        notes = _check_qrels(questions, qrels) if qrels else []
        judgements = qrels or {}
        usable = np.array([is_labelled(q) or q.question_id in judgements for q in questions])
        if not usable.any():
            if teacher is None:
                raise ArtError(
                    "no question has answers, positive_passage_ids or relevance judgements",
                    hint="give labelled questions or --qrels, or a teacher to judge without labels",
                )
            usable[:] = True
        left_out = [q.question_id for q, used in zip(questions, usable, strict=True) if not used]
        if left_out:
            notes.append(
                f"{len(left_out)} of {len(questions)} questions have no label and are left out "
                f"({some(left_out)})"
            )
        kept = np.flatnonzero(usable)
        return cls([questions[position] for position in kept.tolist()], kept, notes)


def _check_qrels(questions: Sequence[Question], qrels: Qrels) -> list[str]:
    asked = {question.question_id for question in questions}
    if len(asked) < len(questions):
        raise ArtError("two questions have the same id, so judgements cannot be told apart")
    if not asked & qrels.keys():
        raise ArtError(
            "no question id occurs in the relevance judgements",
            hint=f"questions have ids like {questions[0].question_id!r}, "
            f"judgements like {next(iter(qrels))!r}",
        )
    strangers = [question for question in qrels if question not in asked]
    if not strangers:
        return []
    return [f"{len(strangers)} of {len(qrels)} judged questions are not asked ({some(strangers)})"]


def _embed(retriever: Retriever, texts: list[str]) -> NDArray[np.float32]:
    starts = range(0, len(texts), _EMBED_BLOCK)
    mine = [
        retriever.embed_questions(texts[start : start + _EMBED_BLOCK])
        for start in starts[my_share(len(starts))]
    ]
    none = np.zeros((0, retriever.embedding_size), np.float32)  # a process may have no share
    return gather_shares(np.concatenate([none, *mine]))  # [Q, D]


def _without_self(
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    scores: NDArray[Any],
    store: PassageStore,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Drop each question's own passage, or its last one where that was not found: [Q, K - 1]."""
    own = [store.row_of(question.question_id) for question in questions]
    dropped = rows == np.array([-1 if row is None else row for row in own])[:, None]
    dropped[~dropped.any(axis=1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return rows[~dropped].reshape(shape), scores[~dropped].reshape(shape)


def _metrics(
    chosen: _Chosen,
    rows: NDArray[np.int64],
    scores: NDArray[Any],
    store: PassageStore,
    qrels: Qrels | None,
    ks: Sequence[int],
    teacher: CachedTeacher | None,
    regex_answers: bool,
    drop_self_hits: bool,
) -> Evaluation:
    questions = chosen.questions
    # A ranking of the whole store answers every depth: there is nothing deeper to look for.
    whole = rows.shape[1] >= len(store)
    if drop_self_hits:
        rows, scores = _without_self(questions, rows, scores, store)
    depth = None if whole else rows.shape[1]
    labels = Labels(questions, store, regex_answers=regex_answers)
    notes = chosen.notes + labels.notes
    per_question: dict[str, NDArray[np.float64]] = {}
    hits = None
    if labels.present.any():
        hits = labels.hits(rows)
        per_question |= _top_k(hits, labels.present, ks, depth)
    if qrels:
        values, more_notes = _judged(questions, rows, store, qrels, depth)
        per_question |= values
        notes += more_notes
    if not per_question and teacher is not None:
        texts = [question.text for question in questions]
        per_question[TEACHER_METRIC] = score_rows(teacher, texts, rows[:, :1])[:, 0].astype(float)
    metrics = {name: float(np.nanmean(values)) for name, values in per_question.items()}
    name = primary_metric(list(metrics))
    primary = (name, metrics[name])
    return Evaluation(metrics, primary, questions, rows, scores, hits, per_question, notes)


def _top_k(
    hits: NDArray[np.bool_], present: NDArray[np.bool_], ks: Sequence[int], depth: int | None
) -> dict[str, NDArray[np.float64]]:
    depths = sorted({k for k in ks if depth is None or k <= depth})
    if not depths:
        raise ArtError(
            f"the ranking has {depth} passages a question, fewer than every k asked for",
            hint=f"ask for a k of {depth} or less, or search deeper",
        )
    found = top_k_found(hits, depths)
    return {name: np.where(present, values, np.nan) for name, values in found.items()}


def _judged(
    questions: Sequence[Question],
    rows: NDArray[np.int64],
    store: PassageStore,
    qrels: Qrels,
    depth: int | None,
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    asked = [question.question_id for question in questions]
    ranking = {name: store.ids(its_rows) for name, its_rows in zip(asked, rows, strict=True)}
    metrics = judged(qrels, ranking, depth=depth).items()
    relevant = {
        passage
        for name in asked
        for passage, relevance in qrels.get(name, {}).items()
        if relevance > 0
    }
    notes = missing_passages("judgements", ((name, store.row_of(name)) for name in relevant))
    return {
        metric: np.array([values.get(name, np.nan) for name in asked]) for metric, values in metrics
    }, notes


def primary_metric(metrics: Sequence[str]) -> str:
    """Return the metric to choose models by.

    Labels of a corpus go first (top-20 or the nearest depth below, else the first metric), then the
    pooled metric, then the teacher's.
    """
    depths = [int(name.removeprefix("top_")) for name in metrics if name.startswith("top_")]
    if depths:
        return f"top_{max((k for k in depths if k <= 20), default=min(depths))}"
    labelled = [name for name in metrics if name != TEACHER_METRIC and "pooled" not in name]
    return next(iter(labelled), POOLED_METRIC if POOLED_METRIC in metrics else metrics[0])
