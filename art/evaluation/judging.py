"""How good a result file of any program is: labels and judgements alone, no model and no index.

Every labelled question counts. One that the file lacks is a miss and is said, as with trec_eval's
`-c`: a run that leaves out what it finds nothing for would else be the better for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art.data.formats import Question
from art.errors import ArtError, DataError, MismatchError
from art.evaluation.evaluate import DEFAULT_KS, metric_table
from art.evaluation.labels import Chosen, Labels, check_labels, is_labelled, some
from art.evaluation.matching import match_questions, match_run
from art.evaluation.metrics import compute_all, means
from art.evaluation.metrics.evidence import JUDGED_DEEP, Evidence, Hits, Judgements
from art.evaluation.rankings import NUM_PASSAGES, KeptPassage, KeptRanking
from art.evaluation.self_hits import self_hits_note

if TYPE_CHECKING:
    from art.data.formats import Run
    from art.data.passages import PassageStore
    from art.evaluation.metrics.evidence import Qrels


@dataclass(frozen=True)
class _Found:
    """What a run found for one question: ids, scores and rows, best first, -1 without a corpus."""

    ids: list[str]
    scores: list[float]
    rows: list[int]

    def without(self, name: str) -> _Found:
        others = [one != name for one in self.ids]
        return _Found(
            list(compress(self.ids, others)),
            list(compress(self.scores, others)),
            list(compress(self.rows, others)),
        )


@dataclass(frozen=True)
class JudgedRun:
    """Metrics of a result file.

    Attributes:
        metrics: name → value, as in `Evaluation`.
        questions: that count, Q of them.
        per_question: name → [Q] float64, NaN where the metric does not apply to the question.
        kept: what each question found, [Q].
        notes: what a reader of the metrics must know, a sentence each.
    """

    metrics: dict[str, float]
    questions: list[Question]
    per_question: dict[str, NDArray[np.float64]]
    kept: list[KeptRanking]
    notes: list[str]

    def table(self) -> list[dict[str, Any]]:
        """Return a line per metric, as `Evaluation.table` does."""
        return metric_table(self.metrics, self.per_question)


def judge_run(
    run: Run,
    *,
    where: str | Path,
    questions: Sequence[Question] | None = None,
    qrels: Qrels | None = None,
    store: PassageStore | None = None,
    ks: Sequence[int] = DEFAULT_KS,
    regex_answers: bool = False,
    drop_self_hits: bool = False,
    judged: Sequence[str] = JUDGED_DEEP,
) -> JudgedRun:
    """Return how good a ranking is that a file names.

    Args:
        run: from `read_run`.
        where: its file, for messages.
        questions: with labels, or those that judgements are of; None for the judgements' own.
        qrels: question id → passage id → relevance.
        store: the passages; needed where answers are looked for in their texts.
        ks: depths of the top-k accuracy.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's, as BEIR does.
        judged: metrics of judgements, by name.

    Raises:
        ArtError: there is no label, or answers and no corpus to look for them in.
        DataError: the run is empty.
        MismatchError: run, questions, judgements and corpus do not belong together.
    """
    if not run.scores.size:
        raise DataError("the run holds no passage", where=where)
    given = _questions_of(run, qrels or {}, where) if questions is None else list(questions)
    found = _found(run, given, store, where)
    width = run.scores.shape[1]
    depth = None if store is not None and width >= len(store) else width
    chosen = Chosen.of(given, qrels)
    asked, notes = chosen.questions, [*chosen.notes, *_shortfalls(chosen.questions, found, width)]
    lists = [found.get(one.question_id, _Found([], [], [])) for one in asked]
    if drop_self_hits or qrels:
        own = sum(one.question_id in its.ids for one, its in zip(asked, lists, strict=True))
        notes += self_hits_note(own, dropped=drop_self_hits)
    if drop_self_hits:
        lists = [its.without(one.question_id) for one, its in zip(asked, lists, strict=True)]
    labelled = np.array([is_labelled(one) for one in asked], bool)
    hits = None
    evidence: list[Evidence] = []
    if labelled.any():
        hits, said = _hits(asked, lists, width, store, qrels, regex_answers)
        notes += said
        evidence.append(Hits(hits, labelled, ks, depth))
    if qrels:
        ids = [one.question_id for one in asked]
        evidence.append(Judgements(ids, [its.ids for its in lists], qrels, depth, judged))
    values = {name: of for one in evidence for name, of in compute_all(one).items()}
    if not values:
        raise ArtError(
            f"the run has {width} passages a question, fewer than any metric looks at",
            where=where,
            hint="search deeper",
        )
    kept = [
        _kept(
            question,
            its,
            store,
            metrics={name: of[position] for name, of in values.items()},
            hits=hits[position] if hits is not None and labelled[position] else None,
            depth=width,
        )
        for position, (question, its) in enumerate(zip(asked, lists, strict=True))
    ]
    return JudgedRun(means(values), asked, values, kept, notes)


def _questions_of(run: Run, qrels: Qrels, where: str | Path) -> list[Question]:
    """Return the questions of a run and of judgements, by the ids that both must have.

    Raises:
        ArtError: there are no judgements.
        MismatchError: the run has no ids, or the judgements none of its.
    """
    if not qrels:
        raise ArtError("nothing says what is right", hint="name --questions with labels or --qrels")
    if run.unnamed:
        raise MismatchError(
            f"{len(run.unnamed)} questions of the run have no id, which judgements go by",
            where=where,
            hint="name the questions that were searched for: --questions",
        )
    names = dict.fromkeys(run.question_ids)
    if not names.keys() & qrels.keys():
        raise MismatchError(
            "no question of the run is judged",
            where=where,
            hint=f"it has ids like {run.question_ids[0]!r}, judgements like {next(iter(qrels))!r}",
        )
    return [Question(name, run.texts.get(name, "")) for name in names | dict.fromkeys(qrels)]


def _found(
    run: Run, given: Sequence[Question], store: PassageStore | None, where: str | Path
) -> dict[str, _Found]:
    """Return what the run found, by the ids of the questions that are given."""
    if store is None:
        matched = match_questions(run, given, where=where)
        rows = np.full(run.scores.shape, -1, np.int64)
    else:
        matched, rows = match_run(run, given, store, where=where)
    found = {}
    for position, (question, ids) in enumerate(zip(matched, run.passage_ids, strict=True)):
        scores, its_rows = (of[position, : len(ids)].tolist() for of in (run.scores, rows))
        found[question.question_id] = _Found(ids, scores, its_rows)
    return found


def _shortfalls(asked: Sequence[Question], found: dict[str, _Found], depth: int) -> Iterator[str]:
    """Yield what to say of questions that the run lacks, or has few passages for."""
    if missing := [one.question_id for one in asked if one.question_id not in found]:
        yield (
            f"{len(missing)} of {len(asked)} labelled questions are not in the run and count as "
            f"misses ({some(missing)})"
        )
    there = [one.question_id for one in asked if one.question_id in found]
    if short := [name for name in there if len(found[name].ids) < depth]:
        yield (
            f"{len(short)} of {len(there)} questions have fewer than {depth} passages in the run "
            f"({some(short)})"
        )


def _hits(
    asked: Sequence[Question],
    lists: Sequence[_Found],
    width: int,
    store: PassageStore | None,
    qrels: Qrels | None,
    regex_answers: bool,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which passages answer their question, [Q, K], and what to say of the labels.

    Raises:
        ArtError: answers and no corpus.
    """
    if store is None:
        answered = [one for one in asked if one.answers and not one.positive_passage_ids]
        if answered:
            raise ArtError(
                f"{len(answered)} of {len(asked)} questions have answers, which are looked for in "
                "the passages' texts",
                hint="name the corpus that was searched: --passages",
            )
        hits = np.zeros((len(asked), width), bool)
        for position, (one, its) in enumerate(zip(asked, lists, strict=True)):
            known = [name in one.positive_passage_ids for name in its.ids]
            hits[position, : len(known)] = known
        notes = []
    else:
        check_labels(asked, store, qrels, regex_answers=regex_answers)
        labels = Labels(asked, store, regex_answers=regex_answers)
        rows = np.full((len(asked), width), -1, np.int64)
        for position, its in enumerate(lists):
            rows[position, : len(its.rows)] = its.rows
        hits, notes = labels.hits(rows), labels.notes
    if not hits.any():
        notes = [*notes, "no passage of the run answers any question: do they belong together?"]
    return hits, notes


def _kept(
    question: Question,
    found: _Found,
    store: PassageStore | None,
    *,
    metrics: Mapping[str, np.float64],
    hits: NDArray[np.bool_] | None,
    depth: int,
) -> KeptRanking:
    passages = []
    for rank, row in enumerate(found.rows[:NUM_PASSAGES]):
        title, text = ("", "") if store is None else (store[row].title, store[row].text)
        hit = None if hits is None else bool(hits[rank])
        shown = KeptPassage.of_text(
            title, text, id=found.ids[rank], score=found.scores[rank], hit=hit
        )
        passages.append(shown)
    return KeptRanking(
        id=question.question_id,
        question=question.text,
        metrics={name: None if np.isnan(one) else float(one) for name, one in metrics.items()},
        depth=depth,
        first_hit=None if hits is None or not hits.any() else int(hits.argmax()) + 1,
        passages=tuple(passages),
    )
