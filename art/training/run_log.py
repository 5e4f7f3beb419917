"""What a run logs as it goes: what is about to happen, each step, each epoch."""

from __future__ import annotations

import time

import numpy as np

from art import distributed
from art.training import collapse
from art.training.candidates import num_from_retriever
from art.training.checkpoints import EpochPairs
from art.training.job import Job
from art.training.plan import describe
from art.training.progress import ProgressLine
from art.training.steps import STEP_PHASES, StepStatistics

# Names on the progress line → in the metrics, for what a step of its kind has.
_SHOWN = {
    "loss": "loss",
    "labelled_loss": "labelled_loss",
    "agreement": "agreement",
    "known": "known_share",
    "in_batch_accuracy": "in_batch_accuracy",
}


def introduce(job: Job) -> None:
    """Say what is about to happen, and begin the metrics of a new run with it."""
    with distributed.fail_together():
        if distributed.is_main() and not job.metrics.num_bytes:
            sizes = {
                "num_passages": len(job.store or ()),
                "num_questions": job.schedule.num_questions,
                "num_steps": job.schedule.num_steps,
            }
            job.metrics.write("start", 0, {**sizes, "unix_seconds": int(time.time())})
    job.progress = ProgressLine(job.schedule.num_steps, job.step, enabled=distributed.is_main())
    job.progress.say(
        describe(
            job.config,
            job.schedule,
            num_passages=len(job.store or ()),
            world_size=distributed.world_size(),
        )
    )
    for read in (job.store, job.questions):
        if read is not None and read.bad_rows.count:
            job.progress.say(read.bad_rows.report())
    for note in job.notes:
        job.progress.say(f"note: {note}")
    if job.questions.held_out:
        job.progress.say(
            f"choosing on {len(job.questions.evaluation)} training questions held out "
            "(evaluation.questions is empty)"
        )
    elif job.pool is not None and not job.config.evaluation.supervised:
        job.progress.say(
            f"choosing on {job.pool.num_questions} questions held out, each asked of the "
            f"passages of all of them ({job.pool.num_passages:,}): evaluation is given none"
        )
    if job.num_taken_over:
        job.progress.say(
            f"{job.num_taken_over:,} scores taken over from other runs (teacher.known_scores)"
        )
    if job.step:
        job.progress.say(f"going on from the checkpoint of step {job.step}")


def log_step(job: Job, metrics: StepStatistics) -> None:
    """Write a line about a step: loss, agreement, spread, rates, seconds by phase.

    What the processes tell each other for it says too whether a signal came to one of them.
    """
    seconds = job.timer.read()
    gathered = distributed.gather_objects((metrics, job.interruption.signum))
    by_rank = [its_metrics for its_metrics, _ in gathered]
    job.stop_signal = next((signum for _, signum in gathered if signum is not None), None)
    _count_pairs(job, by_rank)
    values = _summary(by_rank, seconds)
    if job.schedule.is_labelled(job.step - 1):  # another loss than that of the other steps
        values["labelled_loss"] = values.pop("loss")
    values["learning_rate"] = job.schedule.learning_rate(job.step - 1)
    values["grad_norm"] = job.grad_norm
    values["skipped_steps"] = job.skipped_steps
    _watch_candidates(job, by_rank, values)
    shown = {name: values[key] for name, key in _SHOWN.items() if key in values}
    skipped = {"skipped": job.skipped_steps} if job.skipped_steps else {}
    job.progress.step(**shown, **skipped)
    if job.step == 1 and "agreement" in values:
        _warn_if_nothing_can_be_learnt(job, values)
    if job.step % job.config.training.log_steps == 0:
        with distributed.fail_together():
            if distributed.is_main():
                job.record("train", values)
    ended = job.schedule.ends_epoch(job.step) or job.step == job.schedule.num_steps
    if ended and job.epoch_pairs.asked:
        _end_epoch(job)


def _watch_candidates(job: Job, by_rank: list[StepStatistics], values: dict[str, float]) -> None:
    training = job.config.training
    num_own = num_from_retriever(training.candidates, training.top_k)
    proposed = np.concatenate([metrics.rows for metrics in by_rank])[:, :num_own]
    if proposed.size:  # a contrastive step has none
        assert job.store is not None
        values["distinct_share"] = collapse.distinct_share(proposed)
        job.warn_once(collapse.warn_of_candidates(proposed, len(job.store)))


def _count_pairs(job: Job, by_rank: list[StepStatistics]) -> None:
    job.epoch_pairs = EpochPairs(
        asked=job.epoch_pairs.asked + sum(metrics.num_pairs for metrics in by_rank),
        known=job.epoch_pairs.known + sum(metrics.num_known for metrics in by_rank),
    )


def _end_epoch(job: Job) -> None:
    """Say how much of an epoch the teacher had seen before, and begin to count anew."""
    assert job.teacher is not None
    done = job.step - job.schedule.num_labelled_steps(job.step)
    epoch = -(-done // job.schedule.steps_per_epoch)
    asked = job.epoch_pairs.asked
    values = {
        "epoch": epoch,
        "num_pairs": asked,
        "known_share": job.epoch_pairs.known / asked,
        "num_scored": job.teacher.num_scored,
        "num_distinct": job.teacher.num_scores,
    }
    job.epoch_pairs = EpochPairs()
    with distributed.fail_together():
        if distributed.is_main():
            job.record("epoch", values)
    job.progress.say(
        f"epoch {epoch}: {values['known_share']:.1%} of its {asked:,} pairs were known; "
        f"so far {job.teacher.num_scored:,} scored, {job.teacher.num_scores:,} distinct ones "
        "in the log"
    )


def _warn_if_nothing_can_be_learnt(job: Job, values: dict[str, float]) -> None:
    if values["retriever_spread"] < 0.05:
        job.progress.say(
            "warning: the retriever's best and worst candidate differ by "
            f"{values['retriever_spread']:.3g} after division by its temperature "
            f"({job.retriever.temperature:g}): it can hardly learn; "
            "lower retriever.temperature"
        )
    if values["teacher_spread"] < 0.2:
        job.progress.say(
            "warning: the teacher's best and worst candidate differ by "
            f"{values['teacher_spread']:.3g} after division by its temperature: the soft labels "
            "are nearly flat; lower teacher.temperature"
        )


def _summary(by_rank: list[StepStatistics], seconds: dict[str, float]) -> dict[str, float]:
    num_questions = sum(metrics.num_questions for metrics in by_rank)
    num_pairs = sum(metrics.num_pairs for metrics in by_rank)
    num_known = sum(metrics.num_known for metrics in by_rank)
    elapsed = sum(value for phase, value in seconds.items() if phase in STEP_PHASES)
    means = {
        name: sum(metrics.sums[name] for metrics in by_rank) / num_questions
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
