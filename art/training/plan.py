"""What a configuration will do: who trains, who chooses, and in how many steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from art.config import Config, TrainingConfig
from art.data.batching import epoch_order
from art.data.formats import Question, read_many_questions
from art.data.rows import BadRows
from art.errors import ConfigFaults, DataError
from art.evaluation.labels import is_labelled
from art.files import fingerprint
from art.scorer.teachers import answers_for
from art.training.schedule import Schedule

_HELD_OUT_SHARE = 0.05
_HELD_OUT_RANGE = (16, 500)
# One that training never reaches: what is held out depends on the seed and on nothing else.
_NO_EPOCH = 2**31 - 1


@dataclass(frozen=True)
class Questions:
    """Who trains and who chooses.

    Attributes:
        training: texts to train on; labels are left behind here.
        evaluation: questions to choose on, with whatever labels they have.
        held_out: whether `evaluation` was taken out of the training questions.
        bad_rows: skipped, where the settings say so.
        answers: of whatever the scorer will be asked, where it scores answers; else empty.
    """

    training: list[str]
    evaluation: list[Question]
    held_out: bool
    bad_rows: BadRows = field(default_factory=BadRows)
    answers: dict[str, str] = field(default_factory=dict)


def read_run_questions(config: Config) -> Questions:
    """Read the questions of a run and hold some out if none are given to choose on.

    Raises:
        DataError: a file cannot be read as questions, or answers that the scorer needs are missing.
    """
    kind = config.scorer.kind
    bad_rows = BadRows()
    collector = bad_rows if config.data.skip_bad_rows else None
    training = read_many_questions(config.data.questions, collector)
    answers = answers_for(kind, training, where=", ".join(config.data.questions))
    if config.evaluation.questions:
        evaluation = read_many_questions(config.evaluation.questions, collector)
        if not (config.evaluation.qrels or any(map(is_labelled, evaluation))):
            where = ", ".join(config.evaluation.questions)
            answers = answers_for(kind, evaluation, where=where) | answers
        every = [question.text for question in training]
        return Questions(every, evaluation, held_out=False, bad_rows=bad_rows, answers=answers)
    if len(training) < 2:
        raise DataError(
            "one training question cannot both train and choose",
            where=config.data.questions[0],
            hint="give more, or evaluation.questions",
        )
    order = epoch_order(len(training), seed=config.training.seed, epoch=_NO_EPOCH)
    held_out = set(order[: num_held_out(len(training))].tolist())
    # A question that stands in the file twice must not train and choose.
    texts = {training[i].text for i in held_out}
    return Questions(
        [question.text for question in training if question.text not in texts],
        [
            Question(question.question_id, question.text)
            for i, question in enumerate(training)
            if i in held_out
        ],
        held_out=True,
        bad_rows=bad_rows,
        answers=answers,
    )


def evaluation_fingerprint(
    questions: Sequence[Question], qrels: Mapping[str, Mapping[str, int]] | None
) -> str:
    """Return a fingerprint of the questions that choose and of all their labels."""
    # A set has another order in each process.
    asked = [(q.question_id, q.text, q.answers, sorted(q.positive_passage_ids)) for q in questions]
    return fingerprint(repr(asked), repr(qrels))


def num_held_out(num_questions: int) -> int:
    """Return how many of the training questions are held out where none are given to choose on."""
    low, high = _HELD_OUT_RANGE
    return min(max(round(_HELD_OUT_SHARE * num_questions), low), high, num_questions // 2)


def schedule_of(training: TrainingConfig, num_questions: int) -> Schedule:
    """Return the steps that these settings make of so many questions."""
    return Schedule(
        num_questions=num_questions,
        questions_per_step=training.questions_per_step,
        questions_per_micro_batch=training.questions_per_micro_batch,
        epochs=training.epochs,
        max_steps=training.max_steps,
        peak_learning_rate=training.learning_rate,
        warmup_share=training.warmup_share,
        refresh_steps=training.refresh_steps,
        evaluate_steps=training.evaluate_steps,
        save_steps=training.save_steps,
        seed=training.seed,
    )


def check_passages(config: Config, num_passages: int) -> None:
    """Check the settings against the corpus.

    Raises:
        ConfigFaults: there are fewer passages than are asked for per question.
    """
    top_k = config.training.top_k
    if num_passages < top_k:
        raise ConfigFaults(
            [f"training.top_k: {top_k}, but the corpus has only {num_passages} passages"]
        )


def plan_run(config: Config, *, num_questions: int, world_size: int) -> Schedule:
    """Check the settings against the questions and the processes, and lay out the steps.

    Raises:
        ConfigFaults: they do not fit together; every misfit is listed.
    """
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    faults = []
    if num_questions < training.questions_per_step:
        faults.append(
            f"training.questions_per_step: {training.questions_per_step}, but there are only "
            f"{num_questions} training questions; lower it"
        )
    if micro_batches % world_size:
        faults.append(
            f"training.questions_per_micro_batch: a step has {micro_batches} micro-batches, which "
            f"{world_size} processes cannot share evenly; choose a size that gives a multiple"
        )
    if faults:
        raise ConfigFaults(faults)
    return schedule_of(training, num_questions)


def describe(config: Config, schedule: Schedule, *, num_passages: int, world_size: int) -> str:
    """Return the plan as a few lines for a person."""
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    dropped = f", {schedule.num_dropped} left over in each" if schedule.num_dropped else ""
    num_refreshes = sum(
        "refresh" in schedule.due(step) for step in range(1, schedule.num_steps + 1)
    )
    return (
        f"{schedule.num_questions:,} questions, {num_passages:,} passages, "
        f"{world_size} process{'es' if world_size > 1 else ''}\n"
        f"{schedule.num_steps:,} steps of {training.questions_per_step} questions "
        f"({micro_batches} × {training.questions_per_micro_batch}), "
        f"{training.top_k} passages each; {schedule.steps_per_epoch} steps an epoch{dropped}\n"
        f"index refreshed {num_refreshes} times, every {training.refresh_steps} steps; "
        f"at most {schedule.num_steps * training.questions_per_step * training.top_k:,} pairs "
        "to score"
    )
