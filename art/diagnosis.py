"""How much better a teacher orders passages than the searches that found them, before training."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.data.formats import Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError
from art.evaluation.comparison import paired_test
from art.evaluation.evaluate import Evaluation, evaluate_rows
from art.evaluation.labels import is_labelled
from art.evaluation.rerank import in_order
from art.evaluation.statistics import PairedTest, rank_agreement, wilson
from art.planning.label_entropy import LabelEntropy
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores

BM25_NAME, RETRIEVER_NAME = "BM25", "retriever"


class Candidates(NamedTuple):
    """What a search found for each question: rows and scores, best first, [Q, K] each."""

    rows: NDArray[np.int64]
    scores: NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """How far the teacher's order is that of the search that found the passages.

    Attributes:
        share: questions for which both put the same passage first.
        low: lower end of its 95 % interval.
        high: upper end.
        correlation: mean rank correlation of the K passages.
    """

    share: float
    low: float
    high: float
    correlation: float

    @classmethod
    def of(cls, found: NDArray[Any], scores: NDArray[Any]) -> Agreement:
        """Compare a search's scores, best first, with the teacher's, [Q, K] each."""
        same = scores.argmax(axis=1) == 0
        correlation = rank_agreement(found, scores)
        return cls(float(same.mean()), *wilson(int(same.sum()), len(same)), correlation)


@dataclass(frozen=True)
class PromptMetrics:
    """What the teacher says, with one prompt, of the first K passages of each question.

    Attributes:
        evaluation: of the teacher's order; None without labels.
        label_entropy: of the soft labels.
        agreement: with the search.
    """

    evaluation: Evaluation | None
    label_entropy: LabelEntropy
    agreement: Agreement


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
    agreements: dict[str, Agreement]
    label_entropies: dict[str, LabelEntropy]
    prompts: dict[str, PromptMetrics]
    pairs_per_second: float


def diagnose(
    teachers: Mapping[str, Callable[[], CachedTeacher]],
    store: PassageStore,
    questions: Sequence[Question],
    *,
    retriever: tuple[Retriever, TokenStore] | None = None,
    top_k: int = 32,
    depths: Sequence[int] = (20, 100),
    ks: Sequence[int] = (1, 5, 20),
    language: str | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Find out how a teacher orders what BM25 and a retriever find.

    Every process of the job must call it, with the same arguments.

    Args:
        teachers: prompt → opens the teacher with it, one at a time. The first is measured in full,
            the others over the first K passages of the last search.
        store: N ≥ 2 passages.
        questions: Q ≥ 1 of them; where some have labels, all have.
        retriever: the one to be trained, and the store's token ids under its passage template.
        top_k: K, passages per question in training.
        depths: how many passages of each search the teacher re-orders.
        ks: depths of the top-k accuracy.
        language: of BM25's stop words and stemmer, see `BM25.build`.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
        progress: show progress bars on the main process.

    Raises:
        ArtError: there are too few passages or questions, a model fails, or BM25, where nothing
            else searches, finds nothing for most questions.
    """
    if len(store) < 2 or not questions:
        raise ArtError("a diagnosis needs at least two passages and one question")
    texts = [question.text for question in questions]
    width = min(max(*depths, top_k), len(store))
    candidates = {}
    with distributed.fail_together():
        bm25 = BM25.build(store, language=language, cache=cache)
        if bm25.check_use(texts, alone=retriever is None):
            scores, rows = bm25.search(texts, width)
            candidates[BM25_NAME] = Candidates(rows, scores)
    if retriever is not None:
        candidates[RETRIEVER_NAME] = _retrieve(*retriever, store, texts, width, progress)
    top_k = min(top_k, len(store))
    judge = _Judge(store, questions, ks)

    (prompt, opened), *others = teachers.items()
    teacher = opened()
    given, pairs_per_second = _score(teacher, texts, candidates, progress)
    source, last = list(candidates.items())[-1]
    first_k = given[source][:, :top_k]
    prompts = {prompt: judge.prompt(last, first_k)}
    results, tests = judge.reordered(candidates, given, depths)
    variants = teacher.teacher.label_variants(texts, first_k)
    for prompt, opened in others:
        del teacher  # two at once may not fit the memory
        teacher = opened()
        found = grouped_scores(
            teacher, texts, last.rows[:, :top_k], description=prompt[:24], progress=progress
        )
        prompts[prompt] = judge.prompt(last, found)
    return Diagnosis(
        num_questions=len(questions),
        top_k=top_k,
        source=source,
        results=results,
        tests=tests,
        tested=judge.tested,
        agreements={
            name: Agreement.of(scores[:, :top_k], given[name][:, :top_k])
            for name, (_, scores) in candidates.items()
        },
        label_entropies={name: LabelEntropy.of(values) for name, values in variants.items()},
        prompts=prompts,
        pairs_per_second=pairs_per_second,
    )


@dataclass(frozen=True)
class _Judge:
    """Turns rankings into metrics, where there are labels."""

    store: PassageStore
    questions: Sequence[Question]
    ks: Sequence[int]

    @property
    def tested(self) -> str:
        """The metric that is tested: the deepest one that re-ordering 20 passages can change."""
        return f"top_{max((k for k in self.ks if k < 20), default=min(self.ks))}"

    def __call__(self, rows: NDArray[np.int64], scores: NDArray[Any]) -> Evaluation | None:
        if not any(is_labelled(question) for question in self.questions):
            return None
        ks = [k for k in self.ks if k <= rows.shape[1]] or [rows.shape[1]]
        return evaluate_rows(rows, scores, self.store, self.questions, ks=ks)

    def prompt(self, candidates: Candidates, given: NDArray[np.float32]) -> PromptMetrics:
        """Judge the teacher's order of each question's first K passages by its scores, [Q, K]."""
        rows, scores = (part[:, : given.shape[1]] for part in candidates)
        return PromptMetrics(
            evaluation=self(*in_order(rows, given)),
            label_entropy=LabelEntropy.of(given),
            agreement=Agreement.of(scores, given),
        )

    def reordered(
        self,
        candidates: Mapping[str, Candidates],
        given: Mapping[str, NDArray[np.float32]],
        depths: Sequence[int],
    ) -> tuple[dict[str, Evaluation], dict[str, PairedTest]]:
        """Judge each search, and its first 20 and first 100 in the teacher's order."""
        results: dict[str, Evaluation] = {}
        tests: dict[str, PairedTest] = {}
        for name, (rows, scores) in candidates.items():
            if (before := self(rows, scores)) is None:
                continue
            results[name] = before
            for depth in sorted({min(depth, rows.shape[1]) for depth in depths}):
                after = self(*in_order(rows[:, :depth], given[name][:, :depth]))
                assert after is not None
                line = f"{name}, first {depth} re-ordered"
                results[line] = after
                if self.tested in after.per_question and self.tested in before.per_question:
                    tests[line] = paired_test(after, before, self.tested)
        return results, tests


def choose_questions(questions: Sequence[Question], count: int, *, seed: int) -> list[Question]:
    """Draw so many questions, in their order; only labelled ones where there are any."""
    usable = [question for question in questions if is_labelled(question)] or list(questions)
    if len(usable) <= count:
        return usable
    drawn = np.random.default_rng(seed).choice(len(usable), size=count, replace=False)
    return [usable[position] for position in sorted(drawn.tolist())]


def _retrieve(
    retriever: Retriever,
    tokens: TokenStore,
    store: PassageStore,
    texts: list[str],
    width: int,
    progress: bool,
) -> Candidates:
    """Return a retriever's first passages."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(distributed.broadcast_object(own))
        index = embed_passages(retriever, tokens, folder, store=store, progress=progress)
        with distributed.fail_together():  # and the folder stays until all have searched it
            scores, rows = index.search(retriever.embed_questions(texts), width)
    return Candidates(rows, scores)


def _score(
    teacher: CachedTeacher, texts: list[str], candidates: Mapping[str, Candidates], progress: bool
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Return the teacher's scores of all candidates, and pairs scored in a second."""
    first_rows = next(iter(candidates.values())).rows
    # The first forward pass is slow; it is not counted.
    teacher.score(texts[:1], first_rows[:1, :1])
    num_before, start = teacher.num_scores, time.perf_counter()
    given = {
        name: grouped_scores(teacher, texts, rows, description=name, progress=progress)
        for name, (rows, _) in candidates.items()
    }
    seconds = time.perf_counter() - start
    return given, (teacher.num_scores - num_before) / seconds
