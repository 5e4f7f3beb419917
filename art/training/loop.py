"""Training, in the order of events: `train` sets up, `fit` takes the steps, `finish` reports."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import nn

from art import distributed
from art.config import Config
from art.errors import ArtError
from art.evaluation.rankings import read_rankings
from art.retriever.encoders import Retriever
from art.training import checkpoints, recovery
from art.training.checkpoints import TrainingResult
from art.training.interruption import Interruption
from art.training.plan import describe
from art.training.progress import metrics_of
from art.training.run_folder import RunFolder
from art.training.run_log import introduce, log_epoch, log_step
from art.training.selection import Best
from art.training.setup import set_up
from art.training.statistics import StepStatistics
from art.training.trainer import Trainer
from art.training.verdict import Verdict, verdict_of


def train(config: Config, *, interruption: Interruption | None = None) -> TrainingResult:
    """Train by the configured method; an existing run of the same settings goes on.

    Args:
        config: the settings.
        interruption: where the caller listens for signals.

    Raises:
        ArtError: the settings, the data or the disk do not allow it; every process raises it.
        Interrupted: a signal came.
    """
    device = distributed.start(cpu=config.training.cpu)
    run = RunFolder.of(config)
    with run.held_by_main():
        distributed.require_shared(run.path)
        with distributed.fail_together():
            run.claim(config)
        if distributed.broadcast_object(run.result_file.exists()):
            return TrainingResult.read(run.result_file)
        with distributed.fail_together():
            if distributed.is_main():
                recovery.put_damaged_aside(run)
        trainer = set_up(config, run, device)
        with distributed.fail_together():
            if distributed.is_main() and isinstance(trainer.student, Retriever):
                # What was null is known by now.
                taken = dataclasses.asdict(trainer.student.settings)
                run.write_config(config.with_retriever(taken))
        trainer.interruption = interruption or trainer.interruption
        try:
            introduce(trainer, _plan(config, trainer))
            fit(trainer)
        finally:
            trainer.progress.close()  # so that a complaint gets a line of its own
        return finish(trainer, seed=config.training.seed)


def _plan(config: Config, trainer: Trainer) -> str:
    num_passages, world_size = len(trainer.data.files.store or ()), distributed.world_size()
    return describe(config, trainer.schedule, num_passages=num_passages, world_size=world_size)


def fit(trainer: Trainer) -> None:
    """Take the optimiser steps, and before and between them whatever the schedule says is due."""
    with trainer.interruption.after_the_step():
        trainer.do(trainer.state.due)
        while not trainer.is_done:
            statistics = take_step(trainer)
            # The processes tell each other what they saw, and whether a signal came to one of them.
            by_rank = trainer.exchange(statistics)
            trainer.advance(by_rank)
            log_step(trainer, by_rank)
            if trainer.ends_epoch:
                log_epoch(trainer)
                trainer.begin_epoch()
            due = trainer.due()
            if trainer.stop_signal is not None:
                trainer.leave(due)
            trainer.do(due)


def take_step(trainer: Trainer) -> StepStatistics:
    """Compute the gradient of one step of G questions, clip it, and update the student."""
    trainer.optimizer.zero_grad(set_to_none=True)
    step, rank, world_size = trainer.state.step, distributed.rank(), distributed.world_size()
    micro_batches = trainer.schedule.micro_batches(step, rank=rank, world_size=world_size)
    try:
        statistics = trainer.learner.step(
            micro_batches, model=trainer.model, step=step, timer=trainer.timer
        )
    except torch.OutOfMemoryError as error:
        raise ArtError(
            f"the memory of {trainer.student.device} does not suffice for a micro-batch",
            hint="set training.chunk_tokens, lower training.questions_per_micro_batch, or for a "
            "retriever set retriever.activation_checkpointing",
        ) from error
    with trainer.timer("update"):
        statistics.grad_norm = update(trainer)
    return statistics


def update(trainer: Trainer) -> float:
    """Clip the gradient and move the weights, or skip the step where the gradient is not finite.

    Returns:
        The gradient's norm before it was clipped.

    Raises:
        ArtError: too many steps in a row were skipped.
    """
    moving = [p for p in trainer.student.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in moving if p.grad is not None])
    if math.isfinite(norm):  # the same on every process: the gradient is the average
        nn.utils.clip_grads_with_norm_(moving, trainer.limits.max_grad_norm, norm)
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.schedule.learning_rate(trainer.state.step)
        trainer.optimizer.step()
    elif trainer.state.skipped_in_a_row >= trainer.limits.max_skipped_steps:
        wider = "" if trainer.student.dtype == "float32" else ", or set retriever.dtype: float32"
        raise ArtError(
            _diagnosis(trainer),
            hint="in a new output.folder, lower training.learning_rate or raise "
            f"training.warmup_share{wider}",
        )
    return norm.item()


def _diagnosis(trainer: Trainer) -> str:
    towers = {
        name.partition(".")[0].replace("_", " ")
        for name, p in trainer.student.named_parameters()
        if p.grad is not None and not p.grad.isfinite().all()
    }
    state = trainer.state
    return (
        f"the gradients of {state.skipped_in_a_row + 1} steps in a row, up to step "
        f"{state.step + 1}, are not finite: "
        f"{' and '.join(sorted(towers)) or 'their norm overflows'}; computed in "
        f"{trainer.student.dtype}, learning rate "
        f"{trainer.schedule.learning_rate(state.step):.3g}"
    )


def finish(trainer: Trainer, *, seed: int) -> TrainingResult:
    """Put the kept weights where the user looks for them and gather what came of the run.

    Args:
        trainer: of the run.
        seed: of the run.
    """
    # Not `end_training`, which also disbands the processes while there is something left to say.
    for tracker in trainer.accelerator.trackers:
        tracker.finish()
    best = trainer.state.selection.best
    assert best is not None  # step 0 evaluates
    result = None
    with distributed.fail_together():
        if trainer.teacher is not None:
            trainer.teacher.sync()  # the last evaluation's scores are good for other runs
        if distributed.is_main():
            evaluations = trainer.metrics.records("evaluation")
            verdict = _verdict(trainer, best)
            kept = 0 if verdict is not None and verdict.keeps_start else best.step
            result = TrainingResult(
                metric=best.metric,
                best_step=kept,
                last_step=trainer.state.step,
                before=_metrics(evaluations, 0),
                after=_metrics(evaluations, kept),
                beside=_beside(trainer, kept),
                verdict=verdict,
                num_questions=evaluations[0]["num_questions"],
                fingerprints=trainer.state.fingerprints,
                versions=checkpoints.versions(),
                seed=seed,
            )
            checkpoints.publish(trainer.run, kept)
            result.write(trainer.run.result_file)
    result = distributed.broadcast_object(result)
    assert result is not None
    return result


def _verdict(trainer: Trainer, best: Best) -> Verdict | None:
    """Return what the deciding questions say of the chosen weights, where they were asked."""
    run, evaluator = trainer.run, trainer.evaluator
    if best.step == 0 or not evaluator.questions:
        return None
    before, after = (
        evaluator.deciding(read_rankings(run.rankings_file(step))) for step in (0, best.step)
    )
    return verdict_of(best.metric, best.step, before, after, chose_too=evaluator.labelled)


def _beside(trainer: Trainer, kept: int) -> dict[str, dict[str, float]] | None:
    if not trainer.evaluator.fused:
        return None
    fused = trainer.metrics.records("fused")
    return {
        "BM25": _metrics(trainer.metrics.records("BM25"), 0),
        "before": _metrics(fused, 0),
        "after": _metrics(fused, kept),
    }


def _metrics(evaluations: list[dict[str, Any]], step: int) -> dict[str, float]:
    return metrics_of(next(record for record in evaluations if record["step"] == step))
