"""What a configuration will do: who trains, who chooses, and in how many steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from art.config import Config
from art.data.batching import epoch_order
from art.data.formats import Question, read_many_questions
from art.data.rows import BadRows
from art.errors import ConfigFaults, DataError
from art.evaluation.labels import is_labelled
from art.files import fingerprint
from art.teacher.registry import answers_for
from art.training.schedule import Schedule

_NAMES = {
    "art": "training questions",
    "dpr": "labelled training questions",
    "warmup": "passages to cut pairs from",
}
_HELD_OUT_SHARE = 0.05
_HELD_OUT_RANGE = (16, 500)
# Pairs that are scored together, before the steps that ask for them: the more, the more questions
# share a passage, and the more is lost when the run is killed.
_PREFETCHED_PAIRS = 1 << 14
# One that training never reaches: what is held out depends on the seed and on nothing else.
NO_EPOCH = 2**31 - 1


@dataclass(frozen=True)
class Questions:
    """Who trains and who chooses.

    Attributes:
        training: texts to train on; labels are left behind here. Empty where only
            labelled questions or passages train.
        evaluation: questions to choose on, with whatever labels they have; none where something
            else chooses.
        held_out: whether `evaluation` was taken out of the training questions.
        bad_rows: skipped, where the settings say so.
        answers: of whatever the teacher will be asked, where it scores answers; else empty.
    """

    training: list[str]
    evaluation: list[Question]
    held_out: bool
    bad_rows: BadRows = field(default_factory=BadRows)
    answers: dict[str, str] = field(default_factory=dict)


def read_run_questions(config: Config) -> Questions:
    """Read the questions of a run and hold some out if nothing is given to choose on.

    Raises:
        DataError: a file cannot be read as questions, or the teacher needs answers and some lack.
    """
    kind = config.teacher.kind if config.teacher else "question-likelihood"
    bad_rows = BadRows()
    collector = bad_rows if config.data.skip_bad_rows else None
    files = config.data.questions if config.training.method == "art" else []
    training = read_many_questions(files, collector)
    answers = answers_for(kind, training, where=", ".join(files))
    if not asks_corpus(config) or config.evaluation.questions:
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
    held_out = set(hold_out(len(training), seed=config.training.seed).tolist())
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


def num_held_out(num_items: int) -> int:
    """Return how many of what trains are held out where nothing is given to choose on."""
    low, high = _HELD_OUT_RANGE
    return min(max(round(_HELD_OUT_SHARE * num_items), low), high, num_items // 2)


def hold_out(num_items: int, *, seed: int) -> NDArray[np.int64]:
    """Return the positions that are held out, in order: as many as `num_held_out` says."""
    order = epoch_order(num_items, seed=seed, epoch=NO_EPOCH)
    return np.sort(order[: num_held_out(num_items)])


def asks_corpus(config: Config) -> bool:
    """Return whether the run is evaluated by searching the corpus."""
    own_questions = config.training.method == "art" and not config.evaluation.supervised
    return bool(config.evaluation.questions) or own_questions


def holds_out_items(config: Config) -> bool:
    """Return whether labelled questions or passages are held out, to choose on in a pool."""
    given = config.evaluation.questions or config.evaluation.supervised
    return config.training.method != "art" and not given


def learns_from_labels(config: Config) -> bool:
    """Return whether labelled questions train."""
    return config.training.method == "dpr" or config.training.labelled_share > 0


def reads_passages(config: Config) -> bool:
    """Return whether the run needs the corpus; a supervised one may do without."""
    return config.training.method != "dpr" or asks_corpus(config)


def needs_teacher(config: Config, questions: Questions | None) -> bool:
    """Return whether a teacher teaches or judges.

    Args:
        config: the settings.
        questions: of the run; None where they are not at hand and are taken to have labels.

    Raises:
        ConfigFaults: one has to judge, and there is none.
    """
    if config.training.method == "art":
        return True
    asked = questions.evaluation if questions else []
    if not asked or config.evaluation.qrels or any(map(is_labelled, asked)):
        return False
    if config.teacher is None:
        fault = "teacher: evaluation.questions have no labels, so one has to judge; or give labels"
        raise ConfigFaults([fault])
    return True


def schedule_of(config: Config, num_questions: int, *, num_labelled: int = 0) -> Schedule:
    """Return the steps that these settings make of a training set.

    Args:
        config: the settings.
        num_questions: of training: questions, labelled ones, or passages.
        num_labelled: labelled questions beside them, see `training.labelled_share`.
    """
    training = config.training
    if training.method == "art" and training.candidates != "bm25":
        refresh_steps: int | None = training.refresh_steps
    else:
        refresh_steps = training.evaluate_steps if asks_corpus(config) else None
    pairs_per_step = training.questions_per_step * training.top_k
    return Schedule(
        num_questions=num_questions,
        questions_per_step=training.questions_per_step,
        questions_per_micro_batch=training.questions_per_micro_batch,
        epochs=training.epochs,
        max_steps=training.max_steps,
        peak_learning_rate=training.learning_rate,
        warmup_share=training.warmup_share,
        refresh_steps=refresh_steps,
        evaluate_steps=training.evaluate_steps,
        save_steps=training.save_steps,
        prefetch_steps=max(1, _PREFETCHED_PAIRS // pairs_per_step)
        if training.method == "art"
        else 1,
        seed=training.seed,
        labelled_share=training.labelled_share,
        num_labelled=num_labelled,
    )


def check_passages(config: Config, num_passages: int) -> None:
    """Check the settings against the corpus.

    Raises:
        ConfigFaults: there are fewer passages than are asked for per question.
    """
    top_k = config.training.top_k
    if config.training.method == "art" and num_passages < top_k:
        raise ConfigFaults(
            [f"training.top_k: {top_k}, but the corpus has only {num_passages} passages"]
        )


def plan_run(
    config: Config, *, num_questions: int, world_size: int, num_labelled: int = 0
) -> Schedule:
    """Check the settings against the questions and the processes, and lay out the steps.

    Args:
        config: the settings.
        num_questions: see `schedule_of`.
        world_size: W.
        num_labelled: see `schedule_of`.

    Raises:
        ConfigFaults: they do not fit together; every misfit is listed.
    """
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    faults = []
    sets = {_NAMES[training.method]: num_questions}
    if training.labelled_share:
        sets["labelled questions"] = num_labelled
    faults += [
        f"training.questions_per_step: {training.questions_per_step}, but there are only "
        f"{size} {name}; lower it"
        for name, size in sets.items()
        if size < training.questions_per_step
    ]
    if micro_batches % world_size:
        faults.append(
            f"training.questions_per_micro_batch: a step has {micro_batches} micro-batches, which "
            f"{world_size} processes cannot share evenly; choose a size that gives a multiple"
        )
    if faults:
        raise ConfigFaults(faults)
    return schedule_of(config, num_questions, num_labelled=num_labelled)


def describe(config: Config, schedule: Schedule, *, num_passages: int, world_size: int) -> str:
    """Return the plan as a few lines for a person.

    Args:
        config: the settings.
        schedule: the steps.
        num_passages: of the corpus; 0 where the run reads none.
        world_size: W.
    """
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    dropped = f", {schedule.num_dropped} left over in each" if schedule.num_dropped else ""
    sizes = [f"{schedule.num_questions:,} {_ASKED[training.method]}"]
    sizes += [f"{num_passages:,} passages"] if num_passages else []
    return (
        f"{', '.join(sizes)}, {world_size} process{'es' if world_size > 1 else ''}\n"
        f"{schedule.num_steps:,} steps of {training.questions_per_step} questions "
        f"({micro_batches} × {training.questions_per_micro_batch}), "
        f"{_each(config)}; {schedule.steps_per_epoch:,} step"
        f"{'s' if schedule.steps_per_epoch > 1 else ''} an epoch{dropped}\n"
        + "; ".join(_index_and_scores(config, schedule))
    )


_ASKED = {"art": "questions", "dpr": "labelled questions", "warmup": "pairs to cut an epoch"}


def _each(config: Config) -> str:
    training = config.training
    if training.method == "art":
        return f"{training.top_k} passages each"
    if training.method == "warmup":
        return f"pairs by {config.warmup.pairs}"
    plural = "" if training.hard_negatives == 1 else "s"
    return f"a positive and {training.hard_negatives} hard negative{plural} each"


def _index_and_scores(config: Config, schedule: Schedule) -> Iterator[str]:
    steps = range(1, schedule.num_steps + 1)
    num_refreshes = sum("refresh" in schedule.due(step) for step in steps)
    if num_refreshes:
        interval = schedule.refresh_steps
        every = "step" if interval == 1 else f"{interval} steps"
        yield f"index refreshed {num_refreshes} times, every {every}"
    else:
        yield "no index"
    num_labelled = schedule.num_labelled_steps(schedule.num_steps)
    if num_labelled:
        yield f"{num_labelled:,} of the steps on {schedule.num_labelled:,} labelled questions"
    if config.training.method == "art":
        num_asked = (schedule.num_steps - num_labelled) * schedule.questions_per_step
        yield f"at most {num_asked * config.training.top_k:,} pairs to score"
