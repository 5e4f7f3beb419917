"""Training, as a story: `train` sets up, hands over to `fit`, and `finish` says what came of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from art import distributed
from art.config import Config
from art.errors import ArtError
from art.training import checkpoints, recovery
from art.training.checkpoints import TrainingResult
from art.training.interruption import Interruption
from art.training.job import Job
from art.training.run_folder import RunFolder
from art.training.run_log import introduce, log_step
from art.training.setup import set_up
from art.training.steps import StepStatistics, art_step, dpr_step


def train(config: Config, *, interruption: Interruption | None = None) -> TrainingResult:
    """Train a retriever by the configured method; an existing run of the same settings goes on.

    Args:
        config: the settings.
        interruption: where the caller listens for signals.

    Raises:
        ArtError: the settings, the data or the disk do not allow it; every process raises it.
        Interrupted: a signal came.
    """
    device = distributed.start(cpu=config.training.cpu)
    run = RunFolder(Path(config.output.folder))
    with run.held_by_main():
        with distributed.fail_together():
            run.claim(config)
        if distributed.broadcast_object(run.result_file.exists()):
            return TrainingResult.read(run.result_file)
        with distributed.fail_together():
            if distributed.is_main():
                recovery.put_damaged_aside(run)
        job = set_up(config, run, device)
        job.interruption = interruption or job.interruption
        try:
            fit(job)
        finally:
            job.progress.close()  # so that a complaint gets a line of its own
        return finish(job)


def fit(job: Job) -> None:
    """Run the optimiser steps, and before and between them whatever the schedule says is due."""
    introduce(job)
    with job.interruption.after_the_step():
        job.do(job.still_due)
        while job.step < job.schedule.num_steps and not job.stopped_early:
            metrics = take_step(job)
            job.step += 1
            log_step(job, metrics)
            due = job.schedule.due(job.step)
            if job.stop_signal is not None:
                job.leave(due)
            job.do(due)


def take_step(job: Job) -> StepStatistics:
    """Compute the gradient of one step of G questions, clip it, and update the retriever."""
    schedule = job.schedule
    job.optimizer.zero_grad(set_to_none=True)
    micro_batches = schedule.micro_batches(
        job.step, rank=distributed.rank(), world_size=distributed.world_size()
    )
    shared: dict[str, Any] = {
        "model": job.model,
        "retriever": job.retriever,
        "seed": schedule.seed,
        "step": job.step,
        "timer": job.timer,
        "chunk_tokens": job.config.training.chunk_tokens,
    }
    try:
        if job.items is not None:
            metrics = dpr_step(micro_batches, job.items, **shared)
        else:
            teaching = job.config.teacher
            assert teaching is not None and job.teacher is not None and job.tokens is not None
            metrics = art_step(
                micro_batches,
                job.questions.training,
                propose=job.propose,
                teacher=job.teacher,
                passage_tokens=job.tokens,
                soft_label_temperature=teaching.temperature,
                questions_per_step=schedule.questions_per_step,
                **shared,
            )
    except torch.OutOfMemoryError as error:
        raise ArtError(
            f"the memory of {job.retriever.device} does not suffice for a micro-batch",
            hint="set training.chunk_tokens or retriever.activation_checkpointing, or lower "
            "training.questions_per_micro_batch",
        ) from error
    with job.timer("update"):
        update(job)
    return metrics


def update(job: Job) -> None:
    """Clip the gradient and move the weights, or skip the step where the gradient is not finite.

    Raises:
        ArtError: too many steps in a row were skipped.
    """
    config = job.config.training
    learning = [p for p in job.retriever.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in learning if p.grad is not None])
    job.grad_norm = norm.item()
    if math.isfinite(job.grad_norm):  # the same on every process: the gradient is the average
        nn.utils.clip_grads_with_norm_(learning, config.max_grad_norm, norm)
        for group in job.optimizer.param_groups:
            group["lr"] = job.schedule.learning_rate(job.step)
        job.optimizer.step()
        job.skipped_in_a_row = 0
        return
    job.skipped_steps += 1
    job.skipped_in_a_row += 1
    if job.skipped_in_a_row > config.max_skipped_steps:
        raise ArtError(
            _diagnosis(job),
            hint="in a new output.folder, lower training.learning_rate, raise "
            "training.warmup_share, or set retriever.dtype: float32",
        )


def _diagnosis(job: Job) -> str:
    towers = {
        name.partition(".")[0].replace("_", " ")
        for name, p in job.retriever.named_parameters()
        if p.grad is not None and not p.grad.isfinite().all()
    }
    return (
        f"the gradients of {job.skipped_in_a_row} steps in a row, up to step {job.step + 1}, are "
        f"not finite: {' and '.join(sorted(towers)) or 'their norm overflows'}; computed in "
        f"{job.config.retriever.dtype or 'float32'}, learning rate "
        f"{job.schedule.learning_rate(job.step):.3g}"
    )


def finish(job: Job) -> TrainingResult:
    """Put the chosen weights where the user looks for them and gather what the run has to say."""
    # Not `end_training`, which also disbands the processes while there is something left to say.
    for tracker in job.accelerator.trackers:
        tracker.finish()
    assert job.best is not None  # step 0 evaluates
    result = None
    with distributed.fail_together():
        if job.teacher is not None:
            job.teacher.sync()  # the last evaluation's scores are good for other runs
        if distributed.is_main():
            evaluations = job.metrics.records("evaluation")
            result = TrainingResult(
                metric=job.best.metric,
                best_step=job.best.step,
                last_step=job.step,
                before=_metrics(evaluations, 0),
                after=_metrics(evaluations, job.best.step),
                num_questions=evaluations[0]["num_questions"],
                fingerprints=job.fingerprints,
                versions=checkpoints.versions(),
                seed=job.config.training.seed,
            )
            checkpoints.publish(job.run, job.best.step)
            result.write(job.run.result_file)
    result = distributed.broadcast_object(result)
    assert result is not None
    return result


def _metrics(evaluations: list[dict[str, Any]], step: int) -> dict[str, float]:
    record = next(record for record in evaluations if record["step"] == step)
    others = ("kind", "step", "num_questions", "seconds")
    return {name: value for name, value in record.items() if name not in others}
