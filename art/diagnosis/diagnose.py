"""How much better a teacher orders passages than the searches that found them, before training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.data.formats import Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.diagnosis.candidates import BM25_NAME, RETRIEVER_NAME, Candidates, Union, retrieve
from art.diagnosis.judging import Agreement, Blend, Judge, PromptMetrics
from art.diagnosis.scoring import Pace, num_unknown, score_by_question
from art.diagnosis.watching import Estimate, Interim, Watcher
from art.errors import ArtError
from art.evaluation.evaluate import Evaluation
from art.evaluation.labels import is_labelled
from art.evaluation.statistics import PairedTest
from art.planning.label_entropy import LabelEntropy
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores


@dataclass(frozen=True)
class Diagnosis:
    """What was found out about a teacher.

    Attributes:
        num_questions: Q.
        top_k: K, the passages that soft labels spread over.
        source: the search whose first K these are.
        results: the rankings, and the same re-ordered by the teacher; empty without labels.
        tests: which of the questions the re-ordering wins and loses at `tested`, by the name in
            `results`.
        tested: a metric such as `top_5`.
        depth: passages of each search that are re-ordered at most, and blended.
        scales: what scores are divided by in the blends, by search and of the teacher; None for
            whoever gives all passages of a list the same score.
        blends: each search's own score and the teacher's together; empty without labels.
        agreements: by search, over its first K.
        label_entropies: of the soft labels, by each variant of the scores that the teacher can
            give; all variants order a question's passages alike.
        prompts: by prompt; the first one is what all else was measured with.
        pairs_per_second: scored by all processes together.
    """

    num_questions: int
    top_k: int
    source: str
    results: dict[str, Evaluation]
    tests: dict[str, PairedTest]
    tested: str
    depth: int
    scales: dict[str, float | None]
    blends: list[Blend]
    agreements: dict[str, Agreement]
    label_entropies: dict[str, LabelEntropy]
    prompts: dict[str, PromptMetrics]
    pairs_per_second: float


def diagnose(
    teachers: Mapping[str, Callable[[], CachedTeacher]],
    store: PassageStore,
    questions: Sequence[Question],
    *,
    retriever: tuple[Retriever, TokenStore | Index] | None = None,
    top_k: int = 32,
    depth: int = 20,
    ks: Sequence[int] = (1, 5, 20),
    language: str | None = None,
    cache: Path | None = None,
    progress: bool = True,
    watcher: Watcher | None = None,
) -> Diagnosis:
    """Find out how a teacher orders what BM25 and a retriever find.

    Every process of the job must call it, with the same arguments.

    Args:
        teachers: prompt → opens the teacher with it, one at a time. The first is measured in full,
            the others over the first K passages of the last search.
        store: N ≥ 2 passages.
        questions: Q ≥ 1 of them; where some have labels, all have.
        retriever: the one to be trained, and the index that it made of the store, or the store's
            token ids under its passage template.
        top_k: K, passages per question in training.
        depth: passages of each search that the teacher re-orders; above 20, the first 20 are also
            judged alone. So many or K are scored, whichever is more.
        ks: depths of the top-k accuracy.
        language: of BM25's stop words and stemmer, see `BM25.build`.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
        progress: show progress bars on the main process.
        watcher: sees an estimate first, and then what is known so far.

    Raises:
        ArtError: there are too few passages or questions, some questions have labels and others
            have none, a model fails, or BM25, where nothing else searches, finds nothing for most
            questions.
        MismatchError: the index is not the retriever's or not of the store.
    """
    if len(store) < 2 or not questions:
        raise ArtError("a diagnosis needs at least two passages and one question")
    if len({is_labelled(question) for question in questions}) > 1:
        raise ArtError("some questions have labels and some have none", hint="leave those out")
    if retriever is not None:
        with distributed.fail_together():
            _check_index(*retriever, store)
    texts = [question.text for question in questions]
    top_k, num_scored = min(top_k, len(store)), min(max(depth, top_k), len(store))
    width = min(max(num_scored, *ks), len(store))
    candidates: dict[str, Candidates] = {}
    # Where BM25 is of no use, any passages tell how fast they are scored.
    rows = np.random.default_rng(0).integers(len(store), size=(len(texts), num_scored))
    with distributed.fail_together():
        bm25 = BM25.build(store, language=language, cache=cache)
        if bm25.check_use(texts, alone=retriever is None):
            scores, rows = bm25.search(texts, width)
            candidates[BM25_NAME] = Candidates(rows, scores)
    (prompt, opened), *others = teachers.items()
    teacher = opened()
    pace = Pace.of_sample(teacher, texts, rows[:, :num_scored])
    seen = watcher if watcher is not None and distributed.is_main() else Watcher()
    num_further = len(others) * len(texts) * top_k
    if retriever is not None:
        if isinstance(retriever[1], TokenStore):  # embedding takes long, so this comes before it
            at_most = (len(candidates) + 1) * len(texts) * num_scored
            seen.estimated(Estimate(at_most, num_further, pace.pairs_per_second, is_most=True))
        candidates[RETRIEVER_NAME] = retrieve(*retriever, store, texts, width, progress=progress)
    judge = Judge.of(candidates, store, questions, ks, depth)
    union = Union.of({name: rows[:, :num_scored] for name, (rows, _) in candidates.items()})
    given = _score(teacher, texts, judge, union, top_k, pace, seen, num_further, progress)

    source, last = list(candidates.items())[-1]
    first_k = given[source][:, :top_k]
    prompts = {prompt: judge.prompt(source, first_k)}
    variants = teacher.teacher.label_variants(texts, first_k)
    for prompt, opened in others:
        del teacher  # two at once may not fit the memory
        teacher = opened()
        found = grouped_scores(
            teacher,
            texts,
            last.rows[:, :top_k],
            after_block=teacher.sync,
            description=prompt[:24],
            progress=progress,
        )
        prompts[prompt] = judge.prompt(source, found)
    results, scales = judge.reordered(given), judge.scales(given)
    return Diagnosis(
        num_questions=len(questions),
        top_k=top_k,
        source=source,
        results=results,
        tests=judge.tests(results),
        tested=judge.tested,
        depth=max(judge.depths),
        scales=scales,
        blends=judge.blends(given, scales),
        agreements=judge.agreements(given, top_k),
        label_entropies={name: LabelEntropy.of(values) for name, values in variants.items()},
        prompts=prompts,
        pairs_per_second=pace.pairs_per_second,
    )


def _check_index(retriever: Retriever, passages: TokenStore | Index, store: PassageStore) -> None:
    """Refuse an index that another retriever made, or of other passages."""
    if isinstance(passages, Index):
        passages.check_retriever(retriever.fingerprint())
        passages.check_passages(store, where=store.folder)


def _score(
    teacher: CachedTeacher,
    texts: list[str],
    judge: Judge,
    union: Union,
    top_k: int,
    pace: Pace,
    watcher: Watcher,
    num_further: int,
    progress: bool,
) -> dict[str, NDArray[np.float32]]:
    """Return the teacher's scores of each search's first passages, [Q, K]; a watcher looks on."""
    num_new, num_known = num_unknown(teacher, texts, union.rows)
    num_before = teacher.num_scored
    pace.expect(teacher, union.rows)
    watcher.estimated(
        Estimate(
            num_new,
            num_further,
            pace.pairs_per_second,
            num_known=num_known,
            num_twice=union.num_twice,
        )
    )

    def after_block(scores: NDArray[np.float32], done: NDArray[np.int64]) -> None:
        if not len(done):
            return
        left = num_new - (teacher.num_scored - num_before)
        so_far = union.divided(scores)
        watcher.scored(
            Interim(
                num_done=len(done),
                num_questions=len(texts),
                seconds_left=left / pace.pairs_per_second,
                tested=judge.tested,
                results=judge.reordered(so_far, done),
                agreements=judge.agreements(so_far, top_k, done),
            )
        )

    bar = progress and watcher.wants_bar
    try:
        scores = score_by_question(
            teacher, texts, union.rows, pace, after_block=after_block, bar=bar
        )
    finally:
        watcher.end()
    return union.divided(scores)
