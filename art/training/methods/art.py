"""Training from questions alone: the settings of the paper's method, and what takes its steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from torch import nn

from art import distributed
from art.errors import ConfigError
from art.retriever.languages import check_language
from art.training.candidates import (
    Candidates,
    from_bm25,
    from_both,
    from_retriever,
    in_fresh_order,
    num_from_retriever,
    spread,
)
from art.training.losses import LOSSES, Temperatures
from art.training.methods.art_step import art_step
from art.training.methods.base import METHODS, Learner, LearnerParts, Method
from art.training.prefetch import prefetch
from art.training.selection import JudgedOn
from art.training.soft_labels import TEACHER, SoftLabels
from art.training.sources import QUESTIONS, TrainingSet
from art.training.statistics import StepStatistics

if TYPE_CHECKING:
    from art.config import Config
    from art.training.progress import PhaseTimer
    from art.training.schedule import MicroBatch, Schedule
    from art.training.state import Calibration

# Below these spreads over a question's K passages there is next to nothing to learn.
_LEAST_RETRIEVER_SPREAD, _LEAST_TEACHER_SPREAD = 0.05, 0.2


@METHODS.add
@dataclass(frozen=True)
class Art(Method):
    """The paper's method, with the settings of its steps.

    Attributes:
        top_k: K.
        candidates: who finds them.
        depth: passages that are found, of which K are taken; K for the nearest.
        over_retrieve: how many times as many the index finds, to be put in order anew.
        loss: by its name in `LOSSES`.
        teacher_temperature: T; `auto` for one found from the first scores.
        blend: weights of what soft labels are made of; None for the teacher's scores.
        chunk_tokens: see `grad_cached`.
    """

    name: ClassVar[str] = "art"
    description: ClassVar[str] = "questions alone and a teacher (the paper)"
    needs: ClassVar[tuple[str, ...]] = ("data.passages", "data.questions", "teacher")
    takes_labelled_steps: ClassVar[bool] = True
    trains_on = QUESTIONS
    uses_teacher = True
    needs_corpus = True
    holds_out = "questions"
    encodes_corpus = True

    top_k: int
    candidates: Literal["retriever", "bm25", "both"]
    depth: int
    over_retrieve: int
    loss: str
    teacher_temperature: float | Literal["auto"]
    blend: Mapping[str, float] | None
    chunk_tokens: int | None

    @classmethod
    def from_config(cls, config: Config) -> Art:
        """Return the method with its settings."""
        training = config.training
        return cls(
            top_k=training.top_k,
            candidates=training.candidates,
            depth=training.candidate_depth or training.top_k,
            over_retrieve=training.over_retrieve,
            loss=training.loss,
            teacher_temperature=config.teacher.temperature if config.teacher else 1.0,
            blend=_weights(config),
            chunk_tokens=training.chunk_tokens,
        )

    @classmethod
    def faults(cls, config: Config) -> Iterator[str]:
        """Yield a line per setting that contradicts the method."""
        yield from super().faults(config)
        training = config.training
        given = training.refresh_steps
        intervals = {given} if isinstance(given, int) else {*given.values()}
        if odd := sorted(one for one in intervals if training.evaluate_steps % one):
            yield (
                f"training.evaluate_steps: {training.evaluate_steps} is not a multiple of "
                f"training.refresh_steps ({odd[0]}); an evaluation needs a fresh index"
            )
        judged_on = JudgedOn.from_config(config, by_default=cls.holds_out)
        always = judged_on.corpus and intervals == {training.evaluate_steps}
        if training.refresh_when_changed is not None and always:
            yield (
                "training.refresh_when_changed: decides nothing, because an evaluation needs a "
                "fresh index; let training.evaluate_steps be more than training.refresh_steps"
            )
        if training.candidate_depth is not None and training.candidate_depth < training.top_k:
            yield (
                f"training.candidate_depth: {training.candidate_depth} passages are found, fewer "
                f"than training.top_k ({training.top_k})"
            )
        if config.teacher and config.teacher.blend and TEACHER not in config.teacher.blend:
            yield "teacher.blend: lacks a weight of teacher, which scores every pair in any case"
        if config.teacher:
            weighed = "reranker" in (config.teacher.blend or ())
            if weighed and config.teacher.reranker is None:
                yield "teacher.reranker: names no model, but teacher.blend weighs a reranker"
            if config.teacher.reranker is not None and not weighed:
                yield "teacher.reranker: has no weight in teacher.blend"
        if config.data.language is not None:
            try:
                check_language(config.data.language)
            except ConfigError as error:
                yield f"data.language: {error}"

    @property
    def blended(self) -> frozenset[str]:
        """What its soft labels are blended of."""
        return frozenset(self.blend or ())

    @property
    def calibrates(self) -> bool:
        """Whether scales or the temperature are found from the first scores."""
        return self.blend is not None or self.teacher_temperature == "auto"

    @property
    def searches_index(self) -> bool:
        """Whether the retriever finds candidates."""
        return self.candidates != "bm25"

    @property
    def searches_words(self) -> bool:
        """Whether BM25 finds candidates."""
        return self.candidates != "retriever"

    @property
    def pairs_per_question(self) -> int:
        """K: every candidate is scored."""
        return self.top_k

    @property
    def reordered_per_question(self) -> int:
        """What the index finds, where it is put in order anew."""
        return self.depth * self.over_retrieve if self.over_retrieve > 1 else 0

    @property
    def each(self) -> str:
        """What each question comes with."""
        found = "" if self.depth == self.top_k else f" of {self.depth} found"
        if self.over_retrieve > 1:
            found += f" (the nearest of {self.depth * self.over_retrieve} by fresh vectors)"
        return f"{self.top_k} passages{found} each"

    def check_corpus(self, num_passages: int) -> Iterator[str]:
        """Yield a fault where there are fewer passages than are asked for per question."""
        if num_passages < self.top_k:
            yield f"training.top_k: {self.top_k}, but the corpus has only {num_passages} passages"
        elif num_passages < self.depth:
            yield (
                f"training.candidate_depth: {self.depth}, but the corpus has only {num_passages} "
                "passages"
            )

    def num_scoring_steps(self, schedule: Schedule) -> int:
        """Return how many of the steps are its own."""
        return schedule.num_steps - schedule.num_labelled_steps(schedule.num_steps)

    def describe(self, schedule: Schedule) -> Iterator[str]:
        """Yield how many pairs there are to score."""
        num_asked = self.num_scoring_steps(schedule) * schedule.questions_per_step
        yield f"at most {num_asked * self.top_k:,} pairs to score"

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> ArtLearner:
        """Return what takes the steps."""
        return ArtLearner(self, parts)


def _weights(config: Config) -> dict[str, float] | None:
    given = config.teacher.blend if config.teacher else None
    return None if given is None else {str(source): weight for source, weight in given.items()}


class ArtLearner(Learner):
    """Takes the steps of the paper's method.

    Args:
        method: its settings.
        parts: what it uses.
    """

    def __init__(self, method: Art, parts: LearnerParts) -> None:
        assert parts.teacher is not None and parts.corpus is not None  # the method's needs
        self._method = method
        self._parts = parts
        self._teacher = parts.teacher
        self._corpus = parts.corpus
        self._questions = parts.files.questions.training
        self._loss = LOSSES[method.loss].function
        self._bm25 = None
        if parts.bm25 is not None and method.searches_words:
            both = method.searches_index
            share = method.top_k - num_from_retriever(method.top_k) if both else method.top_k
            words = from_bm25(parts.bm25, method.depth, only_matching=both)
            self._bm25 = self._spread(words, share)
        self._labels = SoftLabels(
            method.blend,
            method.teacher_temperature,
            sources=parts.sources,
            calibration=parts.calibration,
        )

    @property
    def _temperatures(self) -> Temperatures:
        return Temperatures(self._parts.retriever.temperature, self._labels.temperature)

    @property
    def shown(self) -> dict[str, str]:
        """What the progress line shows."""
        return {"loss": "loss", "agreement": "agreement", "known": "known_share"}

    @property
    def candidates(self) -> Candidates:
        """Who finds candidates now, with the current question tower and the last index."""
        if not self._method.searches_index:
            assert self._bm25 is not None
            return self._bm25
        retriever, corpus, depth = self._parts.retriever, self._corpus, self._method.depth
        times = self._method.over_retrieve
        dense = from_retriever(retriever, corpus.searched(), times * depth)
        if times > 1:
            dense = in_fresh_order(dense, retriever, corpus, depth)
        dense = self._spread(dense, self._num_retrieved)
        return dense if self._bm25 is None else from_both(dense, self._bm25)

    def _spread(self, found: Candidates, share: int) -> Candidates:
        """Return what takes K of the passages found, a source's own share of them spread out."""
        top_k = self._method.top_k
        return found if self._method.depth == top_k else spread(found, top_k, share=share)

    @property
    def _num_retrieved(self) -> int:
        """How many of a question's K passages the retriever itself finds; they stand first."""
        if not self._method.searches_index:
            return 0
        top_k = self._method.top_k
        return top_k if self._bm25 is None else num_from_retriever(top_k)

    def step(
        self, micro_batches: Sequence[MicroBatch], *, model: nn.Module, step: int, timer: PhaseTimer
    ) -> StepStatistics:
        """Take one step, see `art_step`."""
        schedule = self._parts.schedule
        statistics = art_step(
            micro_batches,
            self._questions,
            model=model,
            retriever=self._parts.retriever,
            candidates=self.candidates,
            teacher=self._teacher,
            passage_tokens=self._corpus.tokens,
            loss=self._loss,
            labels=self._labels,
            num_generated=self._parts.files.questions.num_generated,
            temperatures=self._temperatures,
            questions_per_step=schedule.questions_per_step,
            seed=schedule.seed,
            step=step,
            timer=timer,
            chunk_tokens=self._method.chunk_tokens,
        )
        statistics.retrieved = statistics.retrieved[:, : self._num_retrieved]
        return statistics

    def next_searched(self, step: int) -> tuple[list[list[str]], int] | None:
        """Return what the next step that asks for candidates asks, and K."""
        schedule, rank = self._parts.schedule, distributed.rank()
        later = range(step, schedule.num_steps)
        asking = next((one for one in later if not schedule.is_labelled(one)), None)
        if asking is None:
            return None
        share = schedule.micro_batches(asking, rank=rank, world_size=distributed.world_size())
        batch = [[self._questions[i] for i in micro.questions] for micro in share]
        return batch, self._method.top_k

    @property
    def prefetches(self) -> bool:
        """Whether scoring the pairs of many steps together reads fewer passages, or is awaited."""
        return self._teacher.teacher.reads_passages_apart or self.awaits_calibration

    @property
    def awaits_calibration(self) -> bool:
        """Whether the scales or the temperature of its soft labels are still to be found."""
        return self._labels.awaits_calibration

    def calibrate(
        self, questions: Sequence[str], rows: np.ndarray, scores: np.ndarray
    ) -> Calibration:
        """Find them."""
        return self._labels.calibrate(questions, rows, scores)

    def pairs_to_prefetch(self, step: int) -> tuple[list[str], np.ndarray]:
        """Return the pairs of the steps until the next refresh, as the index finds them now."""
        return prefetch(self._parts.schedule, self._questions, self.candidates, step)

    def first_warnings(self, values: dict[str, float]) -> Iterator[str]:
        """Yield what hardly lets the retriever learn: scores or soft labels that are flat."""
        if values["retriever_spread"] < _LEAST_RETRIEVER_SPREAD:
            yield (
                "the retriever's best and worst candidate differ by "
                f"{values['retriever_spread']:.3g} after division by its temperature "
                f"({self._temperatures.student:g}): it can hardly learn; "
                "lower retriever.temperature"
            )
        if values["teacher_spread"] < _LEAST_TEACHER_SPREAD:
            yield (
                "the teacher's best and worst candidate differ by "
                f"{values['teacher_spread']:.3g} after division by its temperature: the soft "
                "labels are nearly flat; lower teacher.temperature"
            )
