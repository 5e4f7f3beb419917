"""What a teacher could teach a retriever, before any hours are spent on it."""

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
from art.evaluation.metrics import PairedTest, rank_agreement, wilson
from art.evaluation.rerank import in_order
from art.planning.label_entropy import LabelEntropy
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores
from art.teacher.likelihood import LanguageModelTeacher

BM25_NAME, RETRIEVER_NAME = "BM25", "retriever"


class Proposal(NamedTuple):
    """A ranking to be judged: rows and scores, best first, [Q, K] each."""

    rows: NDArray[np.int64]
    scores: NDArray[Any]


@dataclass(frozen=True)
class Agreement:
    """How far the teacher's order is a proposer's own.

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
    def of(cls, proposed: NDArray[Any], log_likelihoods: NDArray[Any]) -> Agreement:
        """Compare a proposer's scores, best first, with the teacher's, [Q, K] each."""
        same = log_likelihoods.argmax(axis=1) == 0
        correlation = rank_agreement(proposed, log_likelihoods)
        return cls(float(same.mean()), *wilson(int(same.sum()), len(same)), correlation)


@dataclass(frozen=True)
class PromptMetrics:
    """What a prompt makes of the K passages proposed for each question.

    Attributes:
        evaluation: of the teacher's order; None without labels.
        label_entropy: of the soft labels.
        agreement: with the proposer.
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
        proposer: whose first K these are.
        results: the rankings and what the teacher makes of them; empty without labels.
        tests: which of the questions the re-ordering wins and loses at `tested`, by the name in
            `results`.
        tested: a metric such as `top_5`.
        agreements: by proposer, over its first K.
        reductions: label entropy for the mean and the sum of token log-probabilities; for the
            scores of a cross-encoder, which has none.
        prompts: by prompt; the first one is what all else was measured with.
        pairs_per_second: scored by all processes together.
    """

    num_questions: int
    top_k: int
    proposer: str
    results: dict[str, Evaluation]
    tests: dict[str, PairedTest]
    tested: str
    agreements: dict[str, Agreement]
    reductions: dict[str, LabelEntropy]
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
    cache: Path | None = None,
    progress: bool = True,
) -> Diagnosis:
    """Find out what a teacher makes of BM25's and a retriever's passages.

    Every process of the job must call it, with the same arguments.

    Args:
        teachers: prompt → opens the teacher with it, one at a time. The first is measured in full,
            the others over the K passages of the last proposer.
        store: N ≥ 2 passages.
        questions: Q ≥ 1 of them; where some have labels, all have.
        retriever: the one to be trained, and the store's token ids under its passage template.
        top_k: K, passages per question in training.
        depths: how many passages of each proposer the teacher re-orders.
        ks: depths of the top-k accuracy.
        cache: where BM25's index is kept; `files.cache_folder()` when None.
        progress: show progress bars on the main process.

    Raises:
        ArtError: there are too few passages or questions, or a model fails.
    """
    if len(store) < 2 or not questions:
        raise ArtError("a diagnosis needs at least two passages and one question")
    texts = [question.text for question in questions]
    width = min(max(*depths, top_k), len(store))
    with distributed.fail_together():
        scores, rows = BM25.build(store, cache=cache).search(texts, width)
    proposals = {BM25_NAME: Proposal(rows, scores)}
    if retriever is not None:
        proposals[RETRIEVER_NAME] = _retrieve(*retriever, store, texts, width, progress)
    top_k = min(top_k, len(store))
    judge = _Judge(store, questions, ks)

    (prompt, opened), *others = teachers.items()
    teacher = opened()
    likelihoods, pairs_per_second = _score(teacher, texts, proposals, progress)
    proposer, proposal = list(proposals.items())[-1]
    first_k = likelihoods[proposer][:, :top_k]
    prompts = {prompt: judge.prompt(proposal, first_k)}
    results, tests = judge.reordered(proposals, likelihoods, depths)
    reductions = _both_reductions(teacher, texts, first_k)
    for prompt, opened in others:
        del teacher  # two at once may not fit the memory
        teacher = opened()
        found = grouped_scores(
            teacher, texts, proposal.rows[:, :top_k], description=prompt[:24], progress=progress
        )
        prompts[prompt] = judge.prompt(proposal, found)
    return Diagnosis(
        num_questions=len(questions),
        top_k=top_k,
        proposer=proposer,
        results=results,
        tests=tests,
        tested=judge.tested,
        agreements={
            name: Agreement.of(scores[:, :top_k], likelihoods[name][:, :top_k])
            for name, (_, scores) in proposals.items()
        },
        reductions=reductions,
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

    def prompt(self, proposal: Proposal, likelihoods: NDArray[np.float32]) -> PromptMetrics:
        """Judge the teacher's order of each question's first K passages, likelihoods [Q, K]."""
        rows, scores = (part[:, : likelihoods.shape[1]] for part in proposal)
        return PromptMetrics(
            evaluation=self(*in_order(rows, likelihoods)),
            label_entropy=LabelEntropy.of(likelihoods),
            agreement=Agreement.of(scores, likelihoods),
        )

    def reordered(
        self,
        proposals: Mapping[str, Proposal],
        likelihoods: Mapping[str, NDArray[np.float32]],
        depths: Sequence[int],
    ) -> tuple[dict[str, Evaluation], dict[str, PairedTest]]:
        """Judge every proposal and what the teacher makes of its first 20, its first 100."""
        results: dict[str, Evaluation] = {}
        tests: dict[str, PairedTest] = {}
        for name, (rows, scores) in proposals.items():
            if (before := self(rows, scores)) is None:
                continue
            results[name] = before
            for depth in sorted({min(depth, rows.shape[1]) for depth in depths}):
                after = self(*in_order(rows[:, :depth], likelihoods[name][:, :depth]))
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
) -> Proposal:
    """Return a retriever's first passages."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(distributed.broadcast_object(own))
        index = embed_passages(retriever, tokens, folder, store=store, progress=progress)
        with distributed.fail_together():  # and the folder stays until all have searched it
            scores, rows = index.search(retriever.embed_questions(texts), width)
    return Proposal(rows, scores)


def _score(
    teacher: CachedTeacher, texts: list[str], proposals: Mapping[str, Proposal], progress: bool
) -> tuple[dict[str, NDArray[np.float32]], float]:
    """Return the teacher's log-likelihoods of all proposals, and pairs scored in a second."""
    first_rows = next(iter(proposals.values())).rows
    teacher.score(
        texts[:1], first_rows[:1, :1]
    )  # the first forward pass is slow; it is not counted
    num_before, start = teacher.num_scores, time.perf_counter()
    likelihoods = {
        name: grouped_scores(teacher, texts, rows, description=name, progress=progress)
        for name, (rows, _) in proposals.items()
    }
    seconds = time.perf_counter() - start
    return likelihoods, (teacher.num_scores - num_before) / seconds


def _both_reductions(
    teacher: CachedTeacher, texts: list[str], log_likelihoods: NDArray[np.float32]
) -> dict[str, LabelEntropy]:
    """Measure mean and sum: they order alike, since a target's length is the same throughout."""
    model = teacher.teacher
    if not isinstance(model, LanguageModelTeacher):
        return {"scores": LabelEntropy.of(log_likelihoods)}
    lengths = np.array([len(model.template.asked(text).target) for text in texts])[:, None]
    values = log_likelihoods.astype(np.float64)
    mean = values / lengths if model.reduction == "sum" else values
    return {"mean": LabelEntropy.of(mean), "sum": LabelEntropy.of(mean * lengths)}
