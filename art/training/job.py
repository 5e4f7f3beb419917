"""A run in progress: its parts, and what happens between two optimiser steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from art import distributed
from art.config import Config
from art.data.contrastive import Items
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import MismatchError
from art.evaluation.evaluate import Evaluation, evaluate, primary_figure
from art.evaluation.pooled import Pool, evaluate_pool
from art.evaluation.rankings import write_rankings
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.scorer.cache import CachedScorer
from art.training import checkpoints
from art.training.candidates import Propose, from_bm25, from_both, from_retriever
from art.training.checkpoints import Best, CheckpointState, RunFolder
from art.training.items import EpochItems
from art.training.plan import Questions, describe
from art.training.progress import Clock, MetricsLog, ProgressLine
from art.training.schedule import Schedule
from art.training.steps import STEP_PHASES, StepFigures


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
    scorer: CachedScorer | None
    bm25: BM25 | None
    epoch_items: EpochItems | None
    pool: Pool | None
    accelerator: Accelerator
    metrics: MetricsLog
    fingerprints: dict[str, str]

    step: int = 0
    index: Index | None = None
    best: Best | None = None
    evaluations_without_better: int = 0
    still_due: tuple[str, ...] = ()
    grad_norm: float = 0.0

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out."""
        patience = self.config.evaluation.patience
        return patience is not None and self.evaluations_without_better >= patience

    @property
    def propose(self) -> Propose:
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
        self.clock = Clock(self.retriever.device)
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
        if state.index is None:
            return
        folder = self.run.index_folder(state.index)
        if not folder.exists() and "refresh" in state.due:
            return  # it would only have told how much the refresh changes
        self.index = Index.open(folder)
        assert self.store is not None
        if self.index.store_fingerprint != self.store.fingerprint:
            raise MismatchError("the index holds other passages than the run reads", where=folder)

    def introduce(self) -> None:
        """Say what is about to happen, and begin the metrics of a new run with it."""
        with distributed.fail_together():
            if distributed.is_main() and not self.metrics.num_bytes:
                sizes = {
                    "num_passages": len(self.store or ()),
                    "num_questions": self.schedule.num_questions,
                    "num_steps": self.schedule.num_steps,
                }
                self.metrics.write("start", 0, {**sizes, "unix_seconds": int(time.time())})
        self.progress = ProgressLine(
            self.schedule.num_steps, self.step, enabled=distributed.is_main()
        )
        self.progress.say(
            describe(
                self.config,
                self.schedule,
                num_passages=len(self.store or ()),
                world_size=distributed.world_size(),
            )
        )
        if self.questions.held_out:
            self.progress.say(
                f"choosing on {len(self.questions.evaluation)} training questions held out "
                "(evaluation.questions is empty)"
            )
        elif self.pool is not None and not self.config.evaluation.supervised:
            self.progress.say(
                f"choosing on {self.pool.num_questions} questions held out, each asked of the "
                f"passages of all of them ({self.pool.num_passages:,}): evaluation is given none"
            )
        if self.step:
            self.progress.say(f"going on from the checkpoint of step {self.step}")

    def do(self, due: tuple[str, ...]) -> None:
        """Save, refresh, evaluate: whatever is due, in that order."""
        for position, name in enumerate(due):
            if name == "save":
                self.save(due[position + 1 :])
            elif name == "refresh":
                self.refresh()
            else:
                self.evaluate()

    def save(self, still_due: tuple[str, ...]) -> None:
        """Write a checkpoint that lists what is still due at this step."""
        with self.clock("save"), distributed.fail_together():
            if self.scorer is not None:
                self.scorer.sync()
            if distributed.is_main():
                state = CheckpointState(
                    step=self.step,
                    due=still_due,
                    index=self.index.folder.name if self.index else None,
                    metrics_bytes=self.metrics.num_bytes,
                    num_scores=self.scorer.num_scores if self.scorer else 0,
                    scorer_prompt=self.scorer.scorer.template.prompt if self.scorer else "",
                    best=self.best,
                    evaluations_without_better=self.evaluations_without_better,
                    fingerprints=self.fingerprints,
                    versions=checkpoints.versions(),
                    config=self.config.model_dump(mode="json"),
                )
                checkpoints.save_checkpoint(self.run, state, self.retriever, self.optimizer)
                checkpoints.prune(self.run)

    def refresh(self) -> None:
        """Re-embed the corpus with the live weights of the passage tower and swap the index."""
        assert self.store is not None and self.tokens is not None
        start = time.perf_counter()
        fingerprint = self.retriever.fingerprint()
        previous = self.index
        if previous is not None and previous.retriever_fingerprint == fingerprint:
            self.progress.say(f"step {self.step}: the passage tower has not moved, index kept")
            return
        settings = self.config.index
        self.index = embed_passages(
            self.retriever,
            self.tokens,
            self.run.index_folder(f"step-{self.step:08d}"),
            store=self.store,
            shard_rows=settings.shard_rows,
            batch_tokens=settings.batch_tokens,
            dtype=settings.dtype,
            fingerprint=fingerprint,
            description=f"refresh at step {self.step}",
        )
        seconds = time.perf_counter() - start
        with distributed.fail_together():
            if distributed.is_main():
                changed = self._share_changed(previous, self.index)
                values = {"seconds": seconds, "top_k_changed": changed}
                self._record("refresh", values)
                moved = "" if changed is None else f", {changed:.0%} of the top-K changed"
                self.progress.say(f"step {self.step}: index refreshed in {seconds:.1f} s{moved}")

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
        figures = {**(found.figures if found else {}), **pooled}
        figure = primary_figure(list(figures))
        value = figures[figure]
        better = self.best is None or value > self.best.value
        if better:
            self.best = Best(step=self.step, figure=figure, value=value)
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
                self._record("evaluation", {**figures, **values})
        self.progress.say(
            f"step {self.step}: "
            + "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
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
            scorer=self.scorer,
            regex_answers=settings.regex_answers,
            drop_self_hits=settings.drop_self_hits,
        )

    def log_step(self, figures: StepFigures) -> None:
        """Write a line about a step: loss, agreement, spread, rates, seconds by phase."""
        seconds = self.clock.read()
        values = _summary(distributed.gather_objects(figures), seconds)
        if self.schedule.is_labelled(self.step - 1):  # another loss than that of the other steps
            values["labelled_loss"] = values.pop("loss")
        values["learning_rate"] = self.schedule.learning_rate(self.step - 1)
        values["grad_norm"] = self.grad_norm
        shown = {name: values[key] for name, key in _SHOWN.items() if key in values}
        self.progress.step(**shown)
        if self.step == 1 and "agreement" in values:
            self._warn_if_nothing_can_be_learnt(values)
        if self.step % self.config.training.log_steps == 0:
            with distributed.fail_together():
                if distributed.is_main():
                    self._record("train", values)

    def _warn_if_nothing_can_be_learnt(self, values: dict[str, float]) -> None:
        if values["retriever_spread"] < 0.05:
            self.progress.say(
                "warning: the retriever's best and worst candidate differ by "
                f"{values['retriever_spread']:.3g} after division by its temperature "
                f"({self.retriever.temperature:g}): it can hardly learn; "
                "lower retriever.temperature"
            )
        if values["scorer_spread"] < 0.2:
            self.progress.say(
                "warning: the scorer's best and worst candidate differ by "
                f"{values['scorer_spread']:.3g} after division by its temperature: the soft labels "
                "are nearly flat; lower scorer.temperature"
            )

    def _record(self, kind: str, values: dict[str, Any]) -> None:
        """Write a line of metrics and tell the trackers; on the main process."""
        self.metrics.write(kind, self.step, values)
        prefix = "" if kind == "train" else f"{kind}/"
        known = {f"{prefix}{name}": value for name, value in values.items() if value is not None}
        for tracker in self.accelerator.trackers:
            tracker.log(known, step=self.step)


# Names on the progress line → in the metrics, for what a step of its kind has.
_SHOWN = {
    "loss": "loss",
    "labelled_loss": "labelled_loss",
    "agreement": "agreement",
    "pairs_per_s": "pairs_per_second",
    "known": "known_share",
    "in_batch_accuracy": "in_batch_accuracy",
}


def _summary(by_rank: list[StepFigures], seconds: dict[str, float]) -> dict[str, float]:
    num_questions = sum(figures.num_questions for figures in by_rank)
    num_pairs = sum(figures.num_pairs for figures in by_rank)
    num_known = sum(figures.num_known for figures in by_rank)
    elapsed = sum(value for phase, value in seconds.items() if phase in STEP_PHASES)
    means = {
        name: sum(figures.sums[name] for figures in by_rank) / num_questions
        for name in by_rank[0].sums
    }
    if num_pairs:
        scoring = {"known_share": num_known / num_pairs, "pairs_per_second": num_pairs / elapsed}
        means |= scoring
    return {
        **means,
        "questions_per_second": num_questions / elapsed,
        **{f"{phase}_seconds": value for phase, value in seconds.items()},
    }
