"""A run in progress: its parts, its state, and what is done between two optimiser steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from art import distributed
from art.evaluation.rankings import write_rankings
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import Block, score_grouped
from art.training import checkpoints, collapse
from art.training.corpus import RunCorpus
from art.training.evaluator import CheckpointJudge
from art.training.interruption import Interrupted, Interruption
from art.training.methods import Learner
from art.training.progress import MetricsLog, PhaseTimer, ProgressLine
from art.training.refreshing import Refresher
from art.training.run_data import RunData
from art.training.run_folder import RunFolder
from art.training.schedule import Action, Schedule
from art.training.state import EpochPairs, TrainState
from art.training.statistics import StepStatistics
from art.training.students import Student, as_retriever

T = TypeVar("T")

# Prefetched scores that a kill may cost.
_SECONDS_BETWEEN_SAVES = 60.0


@dataclass(frozen=True)
class Limits:
    """Where a run gives way, or ends.

    Attributes:
        max_grad_norm: gradients are clipped to it.
        max_skipped_steps: steps in a row without a finite gradient; one more ends the run.
        patience: evaluations without a better one that end it; None for any number.
    """

    max_grad_norm: float
    max_skipped_steps: int
    patience: int | None


@dataclass
class Trainer:
    """A run in progress.

    Attributes:
        run: its folder.
        data: what it learns from, and its schedule.
        student: what is trained.
        model: the student, wrapped for gradient averaging when there are several processes.
        optimizer: of its parameters.
        learner: takes the steps.
        corpus: with the last index; None where the run reads none.
        evaluator: judges checkpoints.
        teacher: with the scores it already gave; None where nothing is scored.
        reranker: likewise, of a reranker that soft labels are blended of.
        metrics: the log of the run.
        accelerator: whose trackers are told too.
        limits: see there.
        log_steps: steps between lines of the log.
        notes: for the user, when the run begins.
        state: all that changes, apart from weights, optimiser, index and logs.
        interruption: whether a signal has come to this process.
        stop_signal: that came to one of the processes, as of the last exchange.
    """

    run: RunFolder
    data: RunData
    student: Student
    model: nn.Module
    optimizer: torch.optim.Optimizer
    learner: Learner
    corpus: RunCorpus | None
    evaluator: CheckpointJudge
    teacher: CachedTeacher | None
    reranker: CachedTeacher | None
    metrics: MetricsLog
    accelerator: Accelerator
    limits: Limits
    log_steps: int
    notes: tuple[str, ...]
    state: TrainState
    interruption: Interruption = field(default_factory=Interruption)
    stop_signal: int | None = None

    def __post_init__(self) -> None:
        self.timer = PhaseTimer(self.student.device)
        self.progress = ProgressLine(self.schedule.num_steps, 0, enabled=False)
        self._warned = False
        self._refresher: Refresher | None = None
        if self.corpus is not None:
            self._refresher = Refresher(self.run, self.corpus, self.retriever, self.learner)

    @property
    def retriever(self) -> Retriever:
        """The student of a run that reads a corpus."""
        return as_retriever(self.student)

    @property
    def schedule(self) -> Schedule:
        """What happens at which step."""
        return self.data.schedule

    @property
    def is_done(self) -> bool:
        """Whether no step is left, or patience has run out."""
        at_end = self.state.step >= self.schedule.num_steps
        return at_end or self.state.selection.out_of_patience(self.limits.patience)

    @property
    def ends_epoch(self) -> bool:
        """Whether a pass over the training set ended with the last step, or the run did."""
        step = self.state.step
        return self.schedule.ends_epoch(step) or step == self.schedule.num_steps

    def exchange(self, value: T) -> list[T]:
        """Return every process's value, by rank; the processes agree on whether a signal came."""
        gathered = distributed.gather_objects((value, self.interruption.signum))
        self.stop_signal = next((signum for _, signum in gathered if signum is not None), None)
        return [its_value for its_value, _ in gathered]

    def advance(self, by_rank: Sequence[StepStatistics]) -> None:
        """Count another step, taken by all processes."""
        self.state = self.state.after_step(
            is_finite=by_rank[0].is_finite,
            pairs=EpochPairs(
                asked=sum(one.num_pairs for one in by_rank),
                known=sum(one.num_known for one in by_rank),
            ),
        )

    def begin_epoch(self) -> None:
        """Count pairs anew."""
        self.state = self.state.changed(epoch_pairs=EpochPairs())

    def due(self) -> tuple[Action, ...]:
        """Return what is to be done at this step, without a refresh that the index does not need.

        A checkpoint of this step lists it, so that a resumed run does not decide again.
        """
        step = self.state.step
        keeps_index = self.schedule.may_keep_index(step) and not self._has_changed()
        return self.schedule.due(step, keeps_index=keeps_index)

    def do(self, due: Sequence[Action]) -> None:
        """Do what is due, in this order."""
        for position, action in enumerate(due):
            match action:
                case Action.SAVE:
                    self.save(due[position + 1 :])
                case Action.REFRESH:
                    with self.interruption.at_once():
                        self.refresh()
                case Action.EVALUATE:
                    with self.interruption.at_once():
                        self.evaluate(due[position:])
                case Action.PREFETCH:
                    self.prefetch()

    def leave(self, due: Sequence[Action]) -> None:
        """End a run that a signal has asked to end, with a checkpoint of this step.

        Args:
            due: what the schedule has for this step; the resumed run does it first.

        Raises:
            Interrupted: always.
        """
        assert self.stop_signal is not None
        self.save([action for action in due if action != Action.SAVE])
        raise Interrupted(self.stop_signal, saved_step=self.state.step)

    def save(self, still_due: Sequence[Action]) -> None:
        """Write a checkpoint that lists what is still due at this step."""
        if Action.REFRESH in still_due:
            self._look_before_refresh()
        with self.timer("save"), distributed.fail_together():
            for one in (self.teacher, self.reranker):
                if one is not None:
                    one.sync()
            self.state = self.state.changed(
                due=tuple(still_due), metrics_bytes=self.metrics.num_bytes, **self._scores()
            )
            if distributed.is_main():
                checkpoints.save_checkpoint(self.run, self.state, self.student, self.optimizer)
                checkpoints.prune(self.run)

    def _scores(self) -> dict[str, Any]:
        """Return what the state says of the score logs."""
        if self.teacher is None:
            return {}
        return {
            "num_reranker_scores": 0 if self.reranker is None else self.reranker.num_scores,
            "num_scores": self.teacher.num_scores,
            "num_scored": self.teacher.num_scored,
            "score_mark": self.teacher.log.mark,
        }

    def refresh(self) -> None:
        """Re-embed the corpus with the live weights of the passage tower and swap the index."""
        assert self.corpus is not None and self._refresher is not None  # else no refresh is due
        start, step = time.perf_counter(), self.state.step
        self._look_before_refresh()  # where the save did not, as when an older version wrote it
        if self.corpus.searcher is not None:
            self.progress.say(f"step {step}: the passage tower has not moved, index kept")
            return
        index, changed = self._refresher.embed(step, self.state.found_before)
        seconds = time.perf_counter() - start
        approximate = index.manifest.approximate
        self.state = self.state.changed(index=index.folder.name, found_before=None)
        with distributed.fail_together():
            if distributed.is_main():
                values = {"seconds": seconds, "top_k_changed": changed}
                values["passage_cosine"] = self._look_at_vectors(index)
                if approximate is not None:
                    values["recall"] = approximate.recall
                self.record("refresh", values)
        moved = "" if changed is None else f", {changed:.0%} of the top-K changed"
        kind = "" if approximate is None else f"; {approximate.in_words()}"
        self.progress.say(f"step {step}: index refreshed in {seconds:.1f} s{moved}{kind}")

    def _look_before_refresh(self) -> None:
        """Let go of an index that is about to be replaced, once it was asked what it finds.

        A checkpoint then needs no more of it than that. Where the passage tower has not moved, it
        stays.
        """
        assert self.corpus is not None and self._refresher is not None  # else no refresh is due
        if self.corpus.is_stale(self.retriever):
            found = self._refresher.find(self.state.step)
            self.corpus.searcher = None
            self.state = self.state.changed(index=None, found_before=found)

    def _has_changed(self) -> bool:
        """Return whether enough of the top-K has changed for a refresh; say so where it has not."""
        threshold = self.schedule.refresh_when_changed
        assert self._refresher is not None and threshold is not None  # else nothing is decided
        start, step = time.perf_counter(), self.state.step
        share = self._refresher.least_share_changed(step)
        seconds, has_changed = time.perf_counter() - start, share >= threshold
        with distributed.fail_together():
            if distributed.is_main():
                values = {"top_k_changed_at_least": share, "refreshed": has_changed}
                self.record("probe", {**values, "seconds": seconds})
        if not has_changed:
            self.progress.say(f"step {step}: {share:.1%} of the top-K changed, index kept")
        return has_changed

    def _look_at_vectors(self, index: Index) -> float:
        """Return the mean cosine between two passages, and warn where all of them are alike."""
        cosine = collapse.passage_cosine(index)
        first = next(iter(self.metrics.records("refresh")), {})
        self.warn_once(collapse.warn_of_vectors(cosine, first.get("passage_cosine", cosine)))
        return cosine

    def evaluate(self, due: Sequence[Action]) -> None:
        """Evaluate the current weights; keep them if they are the best so far.

        Args:
            due: this, and what comes after it at this step.
        """
        start, step = time.perf_counter(), self.state.step
        searcher = self.corpus.searcher if self.corpus else None
        if step == 0:  # with the weights of the start
            agreed = self.evaluator.agree(searcher, after_block=self._keeping(due))
            self.state = self.state.changed(agreed=agreed)
        evaluated = self.evaluator(searcher, self.state.agreed)
        seconds = time.perf_counter() - start
        found, metrics = evaluated.found, evaluated.metrics
        selection = self.state.selection.after(step, metrics)
        self.state = self.state.changed(selection=selection)
        is_best = selection.best is not None and selection.best.step == step
        with distributed.fail_together():
            if distributed.is_main():
                if is_best:
                    checkpoints.keep_best(self.run, step)
                if is_best and found is not None:
                    assert self.corpus is not None
                    write_rankings(self.run.rankings_file(step), found, self.corpus.store)
                values = {"num_questions": evaluated.num_questions, "seconds": seconds}
                # Before the line that says that the step was evaluated, for who reads along.
                for name, others in evaluated.beside.items():
                    self.record(name, {**others, "num_questions": evaluated.num_questions})
                self.record("evaluation", {**metrics, **values})
        self.progress.say(
            f"step {step}: "
            + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            + f"  ({evaluated.num_questions} questions, {seconds:.1f} s)"
        )
        if step == 0 and found is not None:
            for note in found.notes:
                self.progress.say(f"note: {note}")

    def prefetch(self) -> None:
        """Score what the steps until the next refresh will ask for, each passage read only once.

        Where the retriever then finds something else, the step itself scores it.

        Raises:
            Interrupted: a signal came; the scores so far are in a checkpoint of this step.
        """
        teacher, description = self.teacher, f"prefetching scores at step {self.state.step}"
        if teacher is None:
            return
        if not self.learner.prefetches:
            if teacher.log.mark is not None:  # it did once; what was added since is known by now
                teacher.log.set_mark()
            return
        if not self.state.is_prefetching:  # else a kill or a signal came in the middle of it
            teacher.log.set_mark()
        self.state = self.state.changed(is_prefetching=True)
        with self.timer("retrieve"):
            pairs = self.learner.pairs_to_prefetch(self.state.step)
        blocks: Iterator[Block] = score_grouped(teacher, *pairs, description=description)
        if self.reranker is not None and self.learner.awaits_calibration:
            blocks = chain(blocks, score_grouped(self.reranker, *pairs, description="reranking"))
        after_block = self._keeping([Action.PREFETCH])
        while True:
            with self.timer("score"):
                if next(blocks, None) is None:
                    break
            after_block()
        if self.learner.awaits_calibration and pairs[0]:
            self.calibrate(teacher, *pairs)
        self.state = self.state.changed(is_prefetching=False)

    def _keeping(self, due: Sequence[Action]) -> Callable[[], None]:
        """Return what keeps the scores so far, called whenever the log holds another block of them.

        It saves now and then, and raises Interrupted where a signal came and saves before.

        Args:
            due: what a checkpoint in the middle of the scoring lists: that, and what comes after.
        """
        saved = time.perf_counter()

        def after_block() -> None:
            nonlocal saved
            elapsed, *_ = self.exchange(time.perf_counter() - saved)
            if self.stop_signal is not None:
                self.leave(due)
            if elapsed > _SECONDS_BETWEEN_SAVES:
                self.save(due)
                saved = time.perf_counter()

        return after_block

    def calibrate(self, teacher: CachedTeacher, questions: list[str], rows: np.ndarray) -> None:
        """Find the scales and the temperature of the soft labels from prefetched scores.

        Args:
            teacher: that scored them.
            questions: Q texts.
            rows: the passages of each, [Q, K].
        """
        with self.timer("score"):
            known = teacher.score(questions, rows)
            found = self.learner.calibrate(questions, rows, known.scores)
        self.state = self.state.changed(calibration=found)
        scales = ", ".join(f"{name} {scale:.3g}" for name, scale in found.scales.items())
        blended = f", blended in units of {scales}" if scales else ""
        self.progress.say(
            f"soft labels, from the scores of {len(questions):,} questions: temperature "
            f"{found.temperature:.3g}{blended}"
        )

    def record(self, kind: str, values: Mapping[str, Any]) -> None:
        """Write a line of metrics and notify the trackers; on the main process."""
        self.metrics.write(kind, self.state.step, values)
        prefix = "" if kind == "train" else f"{kind}/"
        known = {f"{prefix}{name}": value for name, value in values.items() if value is not None}
        for tracker in self.accelerator.trackers:
            tracker.log(known, step=self.state.step)

    def warn_once(self, warning: str | None) -> None:
        """Say what is wrong with the student, the first time that something is."""
        if warning is not None and not self._warned:
            self.progress.say(f"warning: step {self.state.step}: {warning}")
            self._warned = True
