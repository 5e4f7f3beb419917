"""A run in progress: its parts, and what happens between two optimiser steps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from art import distributed
from art.config import Config
from art.data.contrastive import Items
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.evaluate import Evaluation, evaluate, primary_metric
from art.evaluation.pooled import Pool, evaluate_pool
from art.evaluation.rankings import write_rankings
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import score_grouped
from art.training import checkpoints, collapse
from art.training.candidates import Candidates, from_bm25, from_both, from_retriever
from art.training.checkpoints import Best, CheckpointState, EpochPairs
from art.training.interruption import Interrupted, Interruption
from art.training.items import EpochItems
from art.training.plan import Questions
from art.training.prefetch import prefetch
from art.training.progress import MetricsLog, PhaseTimer, ProgressLine
from art.training.run_folder import RunFolder
from art.training.schedule import Schedule

# Scores made ahead that a kill may cost.
_SECONDS_BETWEEN_SAVES = 60.0


@dataclass
class Job:
    """A run in progress: its parts, and what changes as it goes."""

    config: Config
    run: RunFolder
    schedule: Schedule
    questions: Questions
    qrels: dict[str, dict[str, int]] | None
    store: PassageStore | None
    tokens: TokenStore | None
    retriever: Retriever
    model: nn.Module
    optimizer: torch.optim.Optimizer
    teacher: CachedTeacher | None
    bm25: BM25 | None
    epoch_items: EpochItems | None
    pool: Pool | None
    accelerator: Accelerator
    metrics: MetricsLog
    fingerprints: dict[str, str]
    notes: tuple[str, ...] = ()

    step: int = 0
    index: Index | None = None
    best: Best | None = None
    evaluations_without_better: int = 0
    still_due: tuple[str, ...] = ()
    grad_norm: float = 0.0
    epoch_pairs: EpochPairs = field(default_factory=EpochPairs)
    num_taken_over: int = 0
    is_prefetching: bool = False
    skipped_steps: int = 0
    skipped_in_a_row: int = 0
    interruption: Interruption = field(default_factory=Interruption)
    stop_signal: int | None = None

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out."""
        patience = self.config.evaluation.patience
        return patience is not None and self.evaluations_without_better >= patience

    @property
    def propose(self) -> Candidates:
        """Who proposes passages now, with the current question tower and the last index."""
        training = self.config.training
        if training.candidates == "bm25":
            return self._bm25_candidates
        assert self.index is not None
        dense = from_retriever(self.retriever, self.index, training.top_k)
        return (
            dense if training.candidates == "retriever" else from_both(dense, self._bm25_candidates)
        )

    @property
    def items(self) -> Items | None:
        """What the next step reads if it is a contrastive one."""
        if self.config.training.method == "art" and not self.schedule.is_labelled(self.step):
            return None
        read, epoch = self.epoch_items, self.schedule.epoch(self.step)
        assert read is not None
        return lambda places: read(places, epoch)

    def __post_init__(self) -> None:
        self.timer = PhaseTimer(self.retriever.device)
        self._warned = False
        self.progress = ProgressLine(self.schedule.num_steps, 0, enabled=False)
        if self.bm25 is not None:
            self._bm25_candidates = from_bm25(self.bm25, self.config.training.top_k)

    def go_back_to(self, state: CheckpointState | None) -> None:
        """Become the run that a checkpoint describes; None is the beginning."""
        if state is None:
            self.still_due = self.schedule.due(0)
            return
        self.step, self.still_due = state.step, state.due
        self.best, self.evaluations_without_better = state.best, state.evaluations_without_better
        self.epoch_pairs = state.epoch_pairs
        self.is_prefetching = state.is_prefetching
        if self.teacher is not None:
            self.teacher.num_scored = state.num_scored
        self.skipped_steps, self.skipped_in_a_row = state.skipped_steps, state.skipped_in_a_row

    def do(self, due: tuple[str, ...]) -> None:
        """Save, refresh, evaluate, score ahead: whatever is due, in that order."""
        for position, name in enumerate(due):
            if name == "save":
                self.save(due[position + 1 :])
            elif name == "refresh":
                with self.interruption.at_once():
                    self.refresh()
            elif name == "prefetch":
                self.prefetch()
            else:
                with self.interruption.at_once():
                    self.evaluate()

    def leave(self, due: tuple[str, ...]) -> None:
        """End a run that a signal has asked to end, with a checkpoint of this step.

        Args:
            due: what the schedule has for this step; the resumed run does it first.

        Raises:
            Interrupted: always.
        """
        assert self.stop_signal is not None
        self.save(tuple(name for name in due if name != "save"))
        raise Interrupted(self.stop_signal, saved_step=self.step)

    def save(self, still_due: tuple[str, ...]) -> None:
        """Write a checkpoint that lists what is still due at this step."""
        with self.timer("save"), distributed.fail_together():
            if self.teacher is not None:
                self.teacher.sync()
            if distributed.is_main():
                state = CheckpointState(
                    step=self.step,
                    due=still_due,
                    index=self.index.folder.name if self.index else None,
                    metrics_bytes=self.metrics.num_bytes,
                    num_scores=self.teacher.num_scores if self.teacher else 0,
                    num_scored=self.teacher.num_scored if self.teacher else 0,
                    score_mark=self.teacher.log.mark if self.teacher else None,
                    is_prefetching=self.is_prefetching,
                    epoch_pairs=self.epoch_pairs,
                    teacher_prompt=self.teacher.teacher.template.prompt if self.teacher else "",
                    best=self.best,
                    evaluations_without_better=self.evaluations_without_better,
                    skipped_steps=self.skipped_steps,
                    skipped_in_a_row=self.skipped_in_a_row,
                    fingerprints=self.fingerprints,
                    versions=checkpoints.versions(),
                    config=self.config.model_dump(mode="json"),
                )
                checkpoints.save_checkpoint(self.run, state, self.retriever, self.optimizer)
                checkpoints.prune(self.run)

    def refresh(self) -> None:
        """Re-embed the corpus with the live weights of the passage tower and swap the index."""
        start = time.perf_counter()
        fingerprint = self.retriever.fingerprint()
        previous = self.index
        if previous is not None and previous.retriever_fingerprint == fingerprint:
            self.progress.say(f"step {self.step}: the passage tower has not moved, index kept")
            return
        name, description = f"step-{self.step:08d}", f"refresh at step {self.step}"
        self.index = self.embed(self.retriever, name, description, fingerprint)
        seconds = time.perf_counter() - start
        with distributed.fail_together():
            if distributed.is_main():
                changed = self._share_changed(previous, self.index)
                cosine = collapse.passage_cosine(self.index)
                values = {"seconds": seconds, "top_k_changed": changed, "passage_cosine": cosine}
                self.record("refresh", values)
                first = self.metrics.records("refresh")[0]
                self.warn_once(collapse.warn_of_vectors(cosine, first.get("passage_cosine")))
                moved = "" if changed is None else f", {changed:.0%} of the top-K changed"
                self.progress.say(f"step {self.step}: index refreshed in {seconds:.1f} s{moved}")

    def embed(
        self, retriever: Retriever, name: str, description: str, fingerprint: str | None = None
    ) -> Index:
        """Embed the corpus into the run's index of this name; only what is missing is written."""
        assert self.store is not None and self.tokens is not None
        settings = self.config.index
        return embed_passages(
            retriever,
            self.tokens,
            self.run.index_folder(name),
            store=self.store,
            shard_rows=settings.shard_rows,
            batch_tokens=settings.batch_tokens,
            dtype=settings.dtype,
            fingerprint=fingerprint,
            description=description,
        )

    def _share_changed(self, previous: Index | None, current: Index) -> float | None:
        """Return which share of the retriever's top-K the old index would not have found.

        Measured on the questions of the next step that asks the retriever; None where there is no
        old index or no such step.
        """
        later = range(self.step, self.schedule.num_steps)
        asking = (step for step in later if not self.schedule.is_labelled(step))
        step = next(asking, None) if self.questions.training else None
        if previous is None or step is None:
            return None
        micro_batches = self.schedule.micro_batches(step, rank=0, world_size=1)
        texts = [self.questions.training[i] for micro in micro_batches for i in micro.questions]
        vectors = self.retriever.embed_questions(texts)
        top_k = self.config.training.top_k
        _, before = previous.search(vectors, top_k)
        _, after = current.search(vectors, top_k)
        pairs = zip(before.tolist(), after.tolist(), strict=True)
        kept = sum(len(set(old) & set(new)) for old, new in pairs)
        return 1.0 - kept / after.size

    def evaluate(self) -> None:
        """Evaluate the current weights; keep them if they are the best so far."""
        start = time.perf_counter()
        found = self._search_corpus()
        pooled = {} if self.pool is None else evaluate_pool(self.retriever, self.pool)
        seconds = time.perf_counter() - start
        metrics = {**(found.metrics if found else {}), **pooled}
        metric = primary_metric(list(metrics))
        value = metrics[metric]
        better = self.best is None or value > self.best.value
        if better:
            self.best = Best(step=self.step, metric=metric, value=value)
        self.evaluations_without_better = 0 if better else self.evaluations_without_better + 1
        judged = found or self.pool
        assert judged is not None  # where nothing is given to choose on, something is held out
        with distributed.fail_together():
            if distributed.is_main():
                if better:
                    checkpoints.keep_best(self.run, self.step)
                if better and found is not None:
                    assert self.store is not None
                    write_rankings(self.run.rankings_file(self.step), found, self.store)
                values = {"num_questions": judged.num_questions, "seconds": seconds}
                self.record("evaluation", {**metrics, **values})
        self.progress.say(
            f"step {self.step}: "
            + "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            + f"  ({judged.num_questions} questions, {seconds:.1f} s)"
        )
        if self.step == 0 and found is not None:
            for note in found.notes:
                self.progress.say(f"note: {note}")

    def _search_corpus(self) -> Evaluation | None:
        """Evaluate on the index of the current weights, where there are questions to ask it."""
        if not self.questions.evaluation:
            return None
        assert self.index is not None and self.store is not None  # a refresh always comes before
        settings = self.config.evaluation
        return evaluate(
            self.retriever,
            self.index,
            self.store,
            self.questions.evaluation,
            qrels=self.qrels,
            ks=settings.top_k,
            teacher=self.teacher,
            regex_answers=settings.regex_answers,
            drop_self_hits=settings.drop_self_hits,
        )

    def prefetch(self) -> None:
        """Score what the steps until the next refresh will ask for, each passage read only once.

        Where the retriever then proposes something else, the step itself scores it.

        Raises:
            Interrupted: a signal came; the scores so far are in a checkpoint of this step.
        """
        teacher, description = self.teacher, f"prefetching scores at step {self.step}"
        if teacher is None or not teacher.teacher.reads_passages_apart:
            return
        if not self.is_prefetching:  # else a kill or a signal came in the middle of it
            teacher.log.set_mark()
        self.is_prefetching = True
        with self.timer("retrieve"):
            prefetched = prefetch(self.schedule, self.questions.training, self.propose, self.step)
        blocks = score_grouped(teacher, *prefetched, description=description)
        saved = time.perf_counter()
        while True:
            with self.timer("score"):
                if next(blocks, None) is None:
                    break
            elapsed = time.perf_counter() - saved
            by_rank = distributed.gather_objects((self.interruption.signum, elapsed))
            self.stop_signal = next((signum for signum, _ in by_rank if signum is not None), None)
            if self.stop_signal is not None:
                self.leave(("prefetch",))
            if by_rank[0][1] > _SECONDS_BETWEEN_SAVES:
                self.save(("prefetch",))
                saved = time.perf_counter()
        self.is_prefetching = False

    def record(self, kind: str, values: dict[str, Any]) -> None:
        """Write a line of metrics and tell the trackers; on the main process."""
        self.metrics.write(kind, self.step, values)
        prefix = "" if kind == "train" else f"{kind}/"
        known = {f"{prefix}{name}": value for name, value in values.items() if value is not None}
        for tracker in self.accelerator.trackers:
            tracker.log(known, step=self.step)

    def warn_once(self, warning: str | None) -> None:
        """Say what is wrong with the retriever, the first time that something is."""
        if warning is not None and not self._warned:
            self.progress.say(f"warning: step {self.step}: {warning}")
            self._warned = True
