"""What a run says and logs as it goes: what is about to happen, each step, each epoch."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from art import distributed
from art.training import collapse
from art.training.progress import ProgressLine
from art.training.statistics import StepStatistics
from art.training.trainer import Trainer

_OUTSIDE_OF_STEPS = ("save",)  # phases that a step's rate does not count


def introduce(trainer: Trainer, plan: str) -> None:
    """Say what is about to happen, and begin the metrics of a new run with it.

    Args:
        trainer: of the run.
        plan: its description.
    """
    files, schedule = trainer.data.files, trainer.schedule
    with distributed.fail_together():
        if distributed.is_main() and not trainer.metrics.num_bytes:
            sizes = {
                "num_passages": len(files.store or ()),
                "num_questions": schedule.num_questions,
                "num_steps": schedule.num_steps,
            }
            mixture, num_generated = schedule.mixture, files.questions.num_generated
            if num_generated:  # of an epoch, as the questions are
                sizes["num_generated"] = mixture.of_epoch[1] if mixture else num_generated
            trainer.metrics.write("start", 0, {**sizes, "unix_seconds": int(time.time())})
    step = trainer.state.step
    trainer.progress = ProgressLine(schedule.num_steps, step, enabled=distributed.is_main())
    trainer.progress.say(plan)
    for note in trainer.notes:
        trainer.progress.say(note)
    if step:
        trainer.progress.say(f"going on from the checkpoint of step {step}")


def log_step(trainer: Trainer, by_rank: Sequence[StepStatistics]) -> None:
    """Write a line about the last step: loss, agreement, spread, rates, seconds by phase.

    Args:
        trainer: of the run, the step counted.
        by_rank: what each process saw of it.
    """
    state, step = trainer.state, trainer.state.step
    values = _summary(by_rank, trainer.timer.read())
    values["learning_rate"] = trainer.schedule.learning_rate(step - 1)
    values["grad_norm"] = by_rank[0].grad_norm
    values["skipped_steps"] = state.skipped_steps
    _watch_candidates(trainer, by_rank, values)
    shown = {name: values[key] for name, key in trainer.learner.shown.items() if key in values}
    skipped = {"skipped": state.skipped_steps} if state.skipped_steps else {}
    trainer.progress.step(**shown, **skipped)
    if step == 1:
        for warning in trainer.learner.first_warnings(values):
            trainer.progress.say(f"warning: {warning}")
    if step % trainer.log_steps == 0:
        with distributed.fail_together():
            if distributed.is_main():
                trainer.record("train", values)


def log_epoch(trainer: Trainer) -> None:
    """Say how much of the epoch that ended the teacher had seen before, where it scored any."""
    pairs, teacher = trainer.state.epoch_pairs, trainer.teacher
    if teacher is None or not pairs.asked:
        return
    schedule, step = trainer.schedule, trainer.state.step
    done = step - schedule.num_labelled_steps(step)
    epoch = -(-done // schedule.steps_per_epoch)
    values = {
        "epoch": epoch,
        "num_pairs": pairs.asked,
        "known_share": pairs.known / pairs.asked,
        "num_scored": teacher.num_scored,
        "num_distinct": teacher.num_scores,
    }
    with distributed.fail_together():
        if distributed.is_main():
            trainer.record("epoch", values)
    trainer.progress.say(
        f"epoch {epoch}: {values['known_share']:.1%} of its {pairs.asked:,} pairs were known; "
        f"so far {teacher.num_scored:,} scored, {teacher.num_scores:,} distinct ones "
        "in the log"
    )


def _watch_candidates(
    trainer: Trainer, by_rank: Sequence[StepStatistics], values: dict[str, float]
) -> None:
    retrieved = np.concatenate([statistics.retrieved for statistics in by_rank])
    if retrieved.size:  # not every step searches
        assert trainer.corpus is not None
        values["distinct_share"] = collapse.distinct_share(retrieved)
        trainer.warn_once(collapse.warn_of_candidates(retrieved, len(trainer.corpus.store)))


def _summary(by_rank: Sequence[StepStatistics], seconds: dict[str, float]) -> dict[str, float]:
    num_questions = sum(statistics.num_questions for statistics in by_rank)
    num_pairs = sum(statistics.num_pairs for statistics in by_rank)
    num_known = sum(statistics.num_known for statistics in by_rank)
    elapsed = sum(value for phase, value in seconds.items() if phase not in _OUTSIDE_OF_STEPS)
    means = {
        name: sum(statistics.sums[name] for statistics in by_rank) / count
        for name in by_rank[0].sums
        if (count := sum(one.counts.get(name, one.num_questions) for one in by_rank))
    }
    if num_pairs:
        scoring = {"known_share": num_known / num_pairs, "pairs_per_second": num_pairs / elapsed}
        means |= scoring
    return {
        **means,
        "questions_per_second": num_questions / elapsed,
        **{f"{phase}_seconds": value for phase, value in seconds.items()},
    }
